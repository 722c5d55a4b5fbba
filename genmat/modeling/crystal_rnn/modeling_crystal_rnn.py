"""A gated recurrent network (Cho et al., arXiv:1406.1078) over crystal sentences.

The same feature embeddings and the same factored head as the transformer beside it, on a recurrent state of fixed
size: what one forgets, it cannot look up again. Decoding costs the same for every token.

Shapes: B sentences, T tokens, d embedding width, h state width, L layers, V vocabulary, K kinds.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_crystal_rnn import CrystalRNNConfig


class TokenEmbedding(nn.Module):
    """Embedding of a token as the sum of the embeddings of its features.

    `features` (V, F) holds rows of `weight`; row 0 is "does not apply" and adds nothing. It is saved with the weights,
    so a checkpoint needs no tokenizer to know what its tokens are.
    """

    def __init__(self, config: CrystalRNNConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_feature_values, config.embedding_size))
        self.register_buffer("features", torch.zeros(config.vocab_size, config.num_features, dtype=torch.int32))

    def matrix(self) -> torch.Tensor:
        """The embedding of every token, (V, d)."""
        return F.embedding_bag(self.features, self.weight, mode="sum", padding_idx=0)  # (V, F) -> (V, d)


class RecurrentCache:
    """The recurrent state (L, B, h) of a batch, in the place where a transformer keeps keys and values."""

    is_compileable = False

    def __init__(self):
        self.state: torch.Tensor | None = None
        self.length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens read so far."""
        return self.length

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Rows `beam_idx` (B,) survive, in that order (beam search)."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only some rows of the batch."""
        if self.state is not None:
            self.state = self.state[:, indices].contiguous()  # (L, B', h)


class FactoredHead(nn.Module):
    """log p(token) = log p(kind) + log p(token | kind), the tokens scored against their own embeddings."""

    def __init__(self, config: CrystalRNNConfig):
        super().__init__()
        self.slices = [(int(lo), int(hi)) for lo, hi in config.kind_slices]
        self.query = nn.Linear(config.hidden_size, config.embedding_size, bias=False)
        self.kind = nn.Linear(config.hidden_size, len(self.slices))
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, h: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the next token: state (..., h), embedding (V, d) -> (..., V)."""
        kinds = F.log_softmax(self.kind(h).float(), dim=-1)  # (..., K)
        scores = (self.query(h) @ embedding.T + self.bias).float()  # (..., V)
        parts = [
            F.log_softmax(scores[..., lo:hi], dim=-1) + kinds[..., k, None] for k, (lo, hi) in enumerate(self.slices)
        ]
        return torch.cat(parts, dim=-1)

    def loss(self, h: torch.Tensor, targets: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """-log p of targets (N,) after h (N, h), (N,); scores only the tokens of each target's kind."""
        kinds = torch.zeros_like(targets)  # (N,)
        for lo, _ in self.slices[1:]:
            kinds += targets >= lo
        losses = F.cross_entropy(self.kind(h).float(), kinds, reduction="none")  # (N,)
        query = self.query(h)  # (N, d)
        for k, (lo, hi) in enumerate(self.slices):
            rows = (kinds == k).nonzero().squeeze(-1)  # (n,)
            if len(rows) == 0:
                continue
            scores = query[rows] @ embedding[lo:hi].T + self.bias[lo:hi]  # (n, hi - lo)
            within = F.cross_entropy(scores.float(), targets[rows] - lo, reduction="none")  # (n,)
            losses = losses.index_add(0, rows, within)
        return losses


class CrystalRNNPreTrainedModel(PreTrainedModel):
    """Weight initialisation and what transformers needs to know."""

    config_class = CrystalRNNConfig
    base_model_prefix = "model"

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GRU):
            for name, weight in module.named_parameters():
                if "bias" in name:
                    nn.init.zeros_(weight)
                else:
                    nn.init.orthogonal_(weight)
        elif isinstance(module, TokenEmbedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, FactoredHead):
            nn.init.zeros_(module.bias)


class CrystalRNNForCausalLM(CrystalRNNPreTrainedModel, GenerationMixin):
    """Next-token model of crystal sentences; its logits are normalised log-probabilities."""

    def __init__(self, config: CrystalRNNConfig):
        super().__init__(config)
        self.embed = TokenEmbedding(config)
        self.gru = nn.GRU(
            config.embedding_size,
            config.hidden_size,
            config.num_hidden_layers,
            batch_first=True,
            dropout=config.dropout if config.num_hidden_layers > 1 else 0.0,
        )
        self.head = FactoredHead(config)
        self._matrix = None
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # the model makes its own cache: a state, not keys and values

    def new_cache(self) -> RecurrentCache:
        """An empty state."""
        return RecurrentCache()

    def get_input_embeddings(self):
        """The feature table; its rows are features, not tokens."""
        return self.embed

    def get_output_embeddings(self):
        """None: the output matrix is the input matrix, built from the features in every pass."""

    def embedding_matrix(self) -> torch.Tensor:
        """(V, d); built once and kept while no gradient is wanted."""
        if self.training or torch.is_grad_enabled():
            return self.embed.matrix()
        weight = self.embed.weight
        key = (weight._version, weight.device, weight.dtype)  # new weights, by whatever way, make a new matrix
        if self._matrix is None or self._matrix[0] != key:
            self._matrix = key, self.embed.matrix()
        return self._matrix[1]

    def hidden_states(self, input_ids, embedding, attention_mask=None, cache: RecurrentCache | None = None):
        """Tokens (B, T) -> states after each of them (B, T, h)."""
        x = F.embedding(input_ids, embedding) * self.config.embedding_size**0.5  # (B, T, d)
        x = F.dropout(x, self.config.dropout, self.training)
        state = cache.state if cache is not None else None  # (L, B, h)
        padded = attention_mask is not None and not bool(attention_mask[:, -x.shape[1] :].all())
        run = self.read_padded if padded else lambda x, state, mask: self.gru(x, state)
        mask = attention_mask[:, -x.shape[1] :].bool() if attention_mask is not None and padded else None  # (B, T)
        y, state = run(x, state, mask)  # (B, T, h), (L, B, h)
        if cache is not None:
            cache.state, cache.length = state, cache.length + x.shape[1]
        return F.dropout(y, self.config.dropout, self.training)

    def read_padded(self, x, state, mask):
        """Token by token, the state untouched by padding: (B, T, d), mask (B, T) -> (B, T, h), (L, B, h)."""
        if state is None:
            state = x.new_zeros(self.config.num_hidden_layers, x.shape[0], self.config.hidden_size)
        outputs = []
        for t in range(x.shape[1]):
            y, new = self.gru(x[:, t : t + 1], state)  # (B, 1, h), (L, B, h)
            state = torch.where(mask[None, :, t, None], new, state)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: RecurrentCache | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """Next-token log-probabilities, and the loss where labels are given.

        Args:
            input_ids: (B, T); with a cache, only the tokens it has not read.
            attention_mask: (B, S), 0 on padding, past tokens included. Right padding needs none in training.
            labels: (B, T), -100 where ignored; shifted here. While training, logits are not computed.
            logits_to_keep: only the last n positions get logits; 0 means all.
            num_items_in_batch: divisor of the loss under gradient accumulation; default the number of labels.
        """
        if use_cache is None:
            use_cache = self.config.use_cache and labels is None
        if use_cache and past_key_values is None:
            past_key_values = RecurrentCache()
        embedding = self.embedding_matrix()  # (V, d)
        h = self.hidden_states(input_ids, embedding, attention_mask, past_key_values if use_cache else None)

        loss = None
        if labels is not None:
            targets = labels[:, 1:].reshape(-1)  # (B (T-1),)
            keep = (targets != -100).nonzero().squeeze(-1)  # (N,)
            losses = self.head.loss(h[:, :-1].reshape(-1, h.shape[-1])[keep], targets[keep], embedding)  # (N,)
            loss = losses.sum() / (len(keep) if num_items_in_batch is None else num_items_in_batch)
        logits = None
        if not (self.training and labels is not None):
            logits = self.head(h[:, -logits_to_keep:], embedding)  # (B, T or n, V)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values if use_cache else None)


__all__ = ["CrystalRNNForCausalLM", "CrystalRNNPreTrainedModel"]
