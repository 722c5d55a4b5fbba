"""A small decoder-only transformer over crystal sentences.

Pre-norm blocks with rotary positions (Su et al., arXiv:2104.09864), grouped-query attention (Ainslie et al.,
arXiv:2305.13245) and gated feed-forward layers (Shazeer, arXiv:2002.05202). Two things are particular to crystals:

* A token is the sum of its features. "221a" and "216a" share the embeddings of their site symmetry, multiplicity and
  degrees of freedom, so a site means the same across space groups; neighbouring bins of a length share theirs.
  The same sums are the output matrix.
* The next token is predicted as p(kind) p(token | kind) (class-based softmax, Goodman, 2001): exact, normalised over
  the whole vocabulary, and training only scores the tokens of the kind that really follows.

Shapes: B sentences, T tokens, d width, H query heads, G key/value heads, V vocabulary, K kinds.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_crystal_gpt import CrystalGPTConfig


class TokenEmbedding(nn.Module):
    """Embedding of a token as the sum of the embeddings of its features.

    `features` (V, F) holds rows of `weight`; row 0 is "does not apply" and adds nothing. It is saved with the weights,
    so a checkpoint needs no tokenizer to know what its tokens are.
    """

    def __init__(self, config: CrystalGPTConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_feature_values, config.hidden_size))
        self.register_buffer("features", torch.zeros(config.vocab_size, config.num_features, dtype=torch.int32))

    def matrix(self) -> torch.Tensor:
        """The embedding of every token, (V, d)."""
        return F.embedding_bag(self.features, self.weight, mode="sum", padding_idx=0)  # (V, F) -> (V, d)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain."""

    def __init__(self, size: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., d) -> (..., d)."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def rotary(x: torch.Tensor, positions: torch.Tensor, theta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine tables (B or 1, 1, T, D) for positions (B or 1, T) of heads of width D = x.shape[-1]."""
    half = x.shape[-1] // 2
    frequency = theta ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)  # (D/2,)
    angle = positions[:, None, :, None].float() * frequency  # (B, 1, T, D/2)
    angle = torch.cat([angle, angle], dim=-1)  # (B, 1, T, D)
    return angle.cos().to(x.dtype), angle.sin().to(x.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate pairs of components by their position's angle; (B, H, T, D) -> (B, H, T, D)."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, config: CrystalGPTConfig, layer: int):
        super().__init__()
        self.layer = layer
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.width = config.hidden_size // config.num_attention_heads
        self.theta = config.rope_theta
        self.qkv = nn.Linear(config.hidden_size, (self.heads + 2 * self.groups) * self.width, bias=False)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x, cos_sin, mask, cache: Cache | None) -> torch.Tensor:
        """(B, T, d) -> (B, T, d); `mask` (B or 1, 1, T, S) is None where plain causality does."""
        B, T, d = x.shape
        qkv = self.qkv(x).view(B, T, self.heads + 2 * self.groups, self.width).transpose(1, 2)  # (B, H+2G, T, D)
        q, k, v = qkv.split([self.heads, self.groups, self.groups], dim=1)  # (B, H, T, D), 2 x (B, G, T, D)
        q, k = rotate(q, *cos_sin), rotate(k, *cos_sin)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)  # (B, G, S, D), S tokens so far
        causal = mask is None and T > 1
        if T == 1 and mask is None:  # one new token: its H/G queries of a group are a short sequence over the same keys
            q = q.reshape(B, self.groups, -1, self.width)  # (B, G, H/G, D)
            y = F.scaled_dot_product_attention(q, k, v).reshape(B, T, d)
        else:
            gqa = self.heads != self.groups
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=gqa)
            y = y.transpose(1, 2).reshape(B, T, d)
        return self.out(y)


class FeedForward(nn.Module):
    """Gated feed-forward layer (SwiGLU)."""

    def __init__(self, config: CrystalGPTConfig):
        super().__init__()
        self.up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, d) -> (B, T, d)."""
        gate, value = self.up(x).chunk(2, dim=-1)  # 2 x (B, T, f)
        return self.down(F.silu(gate) * value)


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: CrystalGPTConfig, layer: int):
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(config.hidden_size), Attention(config, layer)
        self.feed_norm, self.feed = RMSNorm(config.hidden_size), FeedForward(config)
        self.dropout = config.dropout

    def forward(self, x, cos_sin, mask, cache: Cache | None) -> torch.Tensor:
        """(B, T, d) -> (B, T, d)."""
        x = x + F.dropout(self.attention(self.attention_norm(x), cos_sin, mask, cache), self.dropout, self.training)
        return x + F.dropout(self.feed(self.feed_norm(x)), self.dropout, self.training)


class FactoredHead(nn.Module):
    """log p(token) = log p(kind) + log p(token | kind), the tokens scored against their own embeddings."""

    def __init__(self, config: CrystalGPTConfig):
        super().__init__()
        self.slices = [(int(lo), int(hi)) for lo, hi in config.kind_slices]
        self.query = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.kind = nn.Linear(config.hidden_size, len(self.slices))
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, h: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the next token: h (..., d), embedding (V, d) -> (..., V)."""
        kinds = F.log_softmax(self.kind(h).float(), dim=-1)  # (..., K)
        scores = (self.query(h) @ embedding.T + self.bias).float()  # (..., V)
        parts = [
            F.log_softmax(scores[..., lo:hi], dim=-1) + kinds[..., k, None] for k, (lo, hi) in enumerate(self.slices)
        ]
        return torch.cat(parts, dim=-1)

    def loss(self, h: torch.Tensor, targets: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """-log p of targets (N,) after h (N, d), (N,); scores only the tokens of each target's kind."""
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


class CrystalGPTPreTrainedModel(PreTrainedModel):
    """Weight initialisation and what transformers needs to know."""

    config_class = CrystalGPTConfig
    base_model_prefix = "model"
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, TokenEmbedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)
        elif isinstance(module, FactoredHead):
            nn.init.zeros_(module.bias)
        if isinstance(module, (Attention, FeedForward)):  # residual branches start small: GPT-2's 1/sqrt(2 layers)
            last = module.out if isinstance(module, Attention) else module.down
            nn.init.normal_(last.weight, std=std / (2 * self.config.num_hidden_layers) ** 0.5)


class CrystalGPTForCausalLM(CrystalGPTPreTrainedModel, GenerationMixin):
    """Next-token model of crystal sentences; its logits are normalised log-probabilities."""

    def __init__(self, config: CrystalGPTConfig):
        super().__init__(config)
        self.embed = TokenEmbedding(config)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size)
        self.head = FactoredHead(config)
        self._matrix = None
        self.post_init()

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

    def hidden_states(self, input_ids, embedding, attention_mask=None, position_ids=None, cache: Cache | None = None):
        """Tokens (B, T) -> last hidden states (B, T, d)."""
        T = input_ids.shape[1]
        past = cache.get_seq_length() if cache is not None else 0
        mask = None
        if attention_mask is not None and not bool(attention_mask.all()):
            mask = causal_mask(attention_mask, T)  # (B, 1, T, S)
            if position_ids is None:
                position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -T:]  # (B, T)
        elif T > 1 and past > 0:
            mask = causal_mask(torch.ones(1, past + T, device=input_ids.device), T)  # (1, 1, T, S)
        if position_ids is None:
            position_ids = torch.arange(past, past + T, device=input_ids.device)[None]  # (1, T)
        x = F.embedding(input_ids, embedding) * self.config.hidden_size**0.5  # (B, T, d)
        x = F.dropout(x, self.config.dropout, self.training)
        head = x.new_empty(1, self.config.hidden_size // self.config.num_attention_heads)
        cos_sin = rotary(head, position_ids, self.config.rope_theta)  # 2 x (B or 1, 1, T, D)
        for block in self.blocks:
            x = block(x, cos_sin, mask, cache)  # (B, T, d)
        return self.norm(x)

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """Next-token log-probabilities, and the loss where labels are given.

        Args:
            input_ids: (B, T).
            attention_mask: (B, S), 0 on padding, past tokens included. Right padding needs none in training.
            labels: (B, T), -100 where ignored; shifted here. While training, logits are not computed.
            logits_to_keep: only the last n positions get logits; 0 means all.
            num_items_in_batch: divisor of the loss under gradient accumulation; default the number of labels.
        """
        if use_cache is None:
            use_cache = self.config.use_cache and labels is None
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        embedding = self.embedding_matrix()  # (V, d)
        h = self.hidden_states(
            input_ids, embedding, attention_mask, position_ids, past_key_values if use_cache else None
        )

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


def causal_mask(attention_mask: torch.Tensor, T: int) -> torch.Tensor:
    """True where the last T of S tokens may look: (B, S) -> (B, 1, T, S).

    Padding looks at itself, so that no row is empty.
    """
    S = attention_mask.shape[-1]
    order = torch.arange(S, device=attention_mask.device)
    causal = order[None, :] <= order[S - T :, None]  # (T, S)
    itself = order[None, :] == order[S - T :, None]  # (T, S)
    return (causal & attention_mask.bool()[:, None, None, :]) | itself


__all__ = ["CrystalGPTForCausalLM", "CrystalGPTPreTrainedModel"]
