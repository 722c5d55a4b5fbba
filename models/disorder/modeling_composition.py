"""Networks that read a composition, element by element, and tell what a crystal of it may be.

The input is a list of atomic numbers and their amounts, as written (whole or fractional). The transformer sees it as a
set (Vaswani et al., arXiv:1706.03762, without positions; for compositions Wang et al., npj Comput. Mater. 7, 77
(2021)), the recurrent network as a sentence ordered by electronegativity. Both are told in three ways what is there:
the element (a table and known properties), its fraction, and its absolute amount, because the whole numbers of a
formula, more than its fractions, decide which symmetries fit. A summary token carries the stoichiometry without names
(ABC3) and the spread of the elements' properties.

Shapes: B compositions, T elements, d width, F features, C classes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_composition import CompositionConfig

PRIMES = (1009, 9176, 50021, 7919, 104729, 611953, 15485863, 32452843, 49979687, 67867967, 86028121, 122949823)
WAVES = 8


@dataclass
class CompositionOutput(ModelOutput):
    """What a `CompositionModel` returns.

    Attributes:
        loss: scalar, where labels were given.
        predictions: by task: "classes" log-probabilities (B, C); "number" (B,) in its unit; "chance" logits (B,).
    """

    loss: torch.Tensor | None = None
    predictions: dict | None = None


def whole(amounts: torch.Tensor) -> torch.Tensor:
    """Which amounts (B, T) are whole numbers, (B, T) bool."""
    return (amounts - amounts.round()).abs() < 1e-3


def pattern(amounts: torch.Tensor, size: int) -> torch.Tensor:
    """Row of the stoichiometry table: a hash of the sorted amounts (B, T), (B,) in [0, size)."""
    ordered = amounts.sort(dim=-1, descending=True).values[:, : len(PRIMES)]  # (B, T), padding last
    primes = torch.tensor(PRIMES[: ordered.shape[1]], device=amounts.device)  # (T,)
    mixed = ((ordered.double() * 1000).round().long() * primes).sum(-1)  # (B,)
    return (mixed * 2654435761 % 4294967291) % size


class CompositionEmbedding(nn.Module):
    """Elements and amounts -> one token an element, behind a summary token.

    `features` (elements, F) holds standardised properties; it is saved with the weights.
    """

    def __init__(self, config: CompositionConfig):
        super().__init__()
        d = config.hidden_size
        self.sizes = config.num_amounts, config.num_patterns
        self.dropout, self.element_dropout = config.dropout, config.element_dropout
        self.register_buffer("features", torch.zeros(config.num_elements, config.num_features))
        self.element = nn.Embedding(config.num_elements, d)
        self.amount = nn.Embedding(config.num_amounts + 2, d)
        self.total = nn.Embedding(4 * config.num_amounts + 2, d)
        self.count = nn.Embedding(32, d)
        self.pattern = nn.Embedding(config.num_patterns, d)
        self.of_features = nn.Linear(config.num_features, d, bias=False)
        self.of_fractions = nn.Linear(2 * WAVES + 3, d)
        self.of_statistics = nn.Linear(4 * config.num_features, d)

    def rows(self, amounts: torch.Tensor, size: int) -> torch.Tensor:
        """Table rows of amounts: whole ones below `size` their own, then larger, then fractional."""
        rows = amounts.round().long().clamp(max=size)
        return torch.where(whole(amounts), rows, size + 1)

    def forward(self, input_ids: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
        """Atomic numbers and amounts (B, T), 0 where padded -> (B, 1 + T, d)."""
        total = amounts.sum(-1, keepdim=True)  # (B, 1)
        share = amounts / total  # (B, T)
        known = self.features[input_ids]  # (B, T, F)
        tokens = self.elements(input_ids) + self.amount(self.rows(amounts, self.sizes[0]))
        tokens = tokens + self.of_fractions(self.waves(amounts, share))  # (B, T, d)
        summary = self.of_statistics(statistics(known, share, input_ids > 0))  # (B, d)
        summary = (
            summary + self.count((input_ids > 0).sum(-1).clamp(max=31)) + self.pattern(pattern(amounts, self.sizes[1]))
        )
        fractional = ~(whole(amounts) | (input_ids == 0)).all(-1)  # (B,)
        totals = total[:, 0].round().long().clamp(max=4 * self.sizes[0])
        summary = summary + self.total(torch.where(fractional, 4 * self.sizes[0] + 1, totals))
        return F.dropout(torch.cat([summary[:, None], tokens], dim=1), self.dropout, self.training)

    def elements(self, input_ids: torch.Tensor) -> torch.Tensor:
        """What is known of each element and what was learnt of it, (B, T) -> (B, T, d)."""
        if not self.training:  # one table for all
            return F.embedding(input_ids, self.element.weight + self.of_features(self.features))
        own = self.element(input_ids)  # (B, T, d)
        if self.element_dropout:
            own = own * (torch.rand(own.shape[:2], device=own.device) >= self.element_dropout)[..., None]
        return own + self.of_features(self.features[input_ids])

    def waves(self, amounts: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Fraction and amount as smooth features: (B, T) each -> (B, T, 2 WAVES + 3)."""
        angle = share[..., None] * (torch.pi * 2.0 ** torch.arange(WAVES, device=share.device))  # (B, T, WAVES)
        rest = amounts - amounts.floor()
        plain = torch.stack([share, share.clamp(min=1e-5).log() / 3, torch.where(whole(amounts), 0.0, rest)], dim=-1)
        return torch.cat([angle.sin(), angle.cos(), plain], dim=-1)


def statistics(known: torch.Tensor, share: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean, deviation, largest and least of the elements' properties: (B, T, F), (B, T), (B, T) -> (B, 4 F)."""
    weight = share[:, None]  # (B, 1, T)
    mean = torch.bmm(weight, known)  # (B, 1, F)
    deviation = torch.bmm(weight, (known - mean).abs())  # (B, 1, F)
    if bool(mask.all()):
        least, most = known.aminmax(dim=1)  # 2 x (B, F)
    else:
        most = known.masked_fill(~mask[..., None], -1e4).amax(1)  # (B, F)
        least = known.masked_fill(~mask[..., None], 1e4).amin(1)  # (B, F)
    return torch.cat([mean[:, 0], deviation[:, 0], most, least], dim=-1)


class Block(nn.Module):
    """One pre-norm transformer block; `first_only` computes the summary token's row alone."""

    def __init__(self, config: CompositionConfig):
        super().__init__()
        d, f = config.hidden_size, config.intermediate_size
        self.heads, self.dropout = config.num_attention_heads, config.dropout
        self.attention_norm, self.feed_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query, self.key_value, self.out = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, f), nn.Linear(f, d)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, d) -> (B, H, T, d / H)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None, first_only: bool) -> torch.Tensor:
        """(B, T, d) -> (B, T or 1, d); `mask` (B, 1, 1, T) is None where nothing is padded."""
        if first_only and not self.training:
            return self.feed(x[:, :1] + self.summary(self.attention_norm(x), mask)[:, None])
        y = self.attention_norm(x)  # (B, T, d)
        key, value = self.key_value(y).chunk(2, dim=-1)  # 2 x (B, T, d)
        if first_only:
            x, y = x[:, :1], y[:, :1]  # (B, 1, d)
        y = F.scaled_dot_product_attention(self.split(self.query(y)), self.split(key), self.split(value), mask)
        y = self.out(y.transpose(1, 2).reshape(x.shape))  # (B, T or 1, d)
        return self.feed(x + F.dropout(y, self.dropout, self.training))

    def feed(self, x: torch.Tensor) -> torch.Tensor:
        """The feed-forward layer, (B, T or 1, d) -> the same."""
        y = self.down(F.gelu(self.up(self.feed_norm(x))))  # (B, T or 1, d)
        return x + F.dropout(y, self.dropout, self.training)

    def summary(self, y: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """What the summary token, the first of `y` (B, T, d), attends to, (B, d), in a third of the multiplications.

        With one query, keys and values need not be computed: q · (K y) = (Kᵀ q) · y, and Σ a (V y) = V Σ a y. The keys'
        bias adds the same to every score.
        """
        d = y.shape[-1]
        key, value = self.key_value.weight.view(2, self.heads, d // self.heads, d)  # 2 x (H, d / H, d)
        query = self.query(y[:, 0]).view(len(y), self.heads, -1).transpose(0, 1)  # (H, B, d / H)
        probe = torch.bmm(query, key) * (d // self.heads) ** -0.5  # (H, B, d)
        scores = probe.transpose(0, 1) @ y.transpose(1, 2)  # (B, H, T)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, 0], float("-inf"))
        mean = (scores.softmax(-1) @ y).transpose(0, 1)  # (H, B, d)
        found = torch.bmm(mean, value.transpose(1, 2)).transpose(0, 1).reshape(len(y), d)  # (B, d)
        return self.out(found + self.key_value.bias[d:])


class SetEncoder(nn.Module):
    """Transformer over the set of tokens; reads the summary token."""

    def __init__(self, config: CompositionConfig):
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 1 + T, d) and which elements are there (B, T) -> (B, d)."""
        if bool(mask.all()):
            padding = None
        else:
            padding = F.pad(mask, (1, 0), value=True)[:, None, None]  # (B, 1, 1, 1 + T)
        for i, block in enumerate(self.blocks):
            x = block(x, padding, first_only=i == len(self.blocks) - 1)
        return x[:, 0]


class SentenceEncoder(nn.Module):
    """Gated recurrent network in both directions (Cho et al., arXiv:1406.1078), the summary token added behind."""

    def __init__(self, config: CompositionConfig):
        super().__init__()
        d, layers = config.hidden_size, config.num_hidden_layers
        drop = config.dropout if layers > 1 else 0.0
        self.gru = nn.GRU(d, d, layers, batch_first=True, bidirectional=True, dropout=drop)
        self.up, self.down = nn.Linear(3 * d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 1 + T, d) and which elements are there (B, T) -> (B, d)."""
        lengths = mask.sum(-1)  # (B,)
        packed = nn.utils.rnn.pack_padded_sequence(x[:, 1:], lengths.cpu(), batch_first=True, enforce_sorted=False)
        last = self.gru(packed)[1][-2:]  # (2, B, d), the last states of both directions
        y = torch.cat([x[:, 0], last[0], last[1]], dim=-1)  # (B, 3 d)
        return x[:, 0] + self.down(F.gelu(self.up(y)))


class FeedForward(nn.Module):
    """One pre-norm residual feed-forward layer on the summary."""

    def __init__(self, config: CompositionConfig):
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(config.hidden_size), config.dropout
        self.up = nn.Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down = nn.Linear(2 * config.intermediate_size, config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, d) -> (B, d)."""
        return x + F.dropout(self.down(F.gelu(self.up(self.norm(x)))), self.dropout, self.training)


class Member(nn.Module):
    """One network: embedding, encoder ("transformer" or "gru"), feed-forward layers, a linear head for every task."""

    def __init__(self, config: CompositionConfig, encoder: str):
        super().__init__()
        self.embed = CompositionEmbedding(config)
        self.encoder = SetEncoder(config) if encoder == "transformer" else SentenceEncoder(config)
        self.layers = nn.Sequential(*(FeedForward(config) for _ in range(config.num_summary_layers)))
        self.norm = nn.LayerNorm(config.hidden_size)
        sizes = {name: len(task.get("labels", "1")) for name, task in (config.tasks or {}).items()}
        self.head = nn.ModuleDict({name: nn.Linear(config.hidden_size, size) for name, size in sizes.items()})
        self.dropout = config.dropout

    def forward(
        self, input_ids: torch.Tensor, amounts: torch.Tensor, tasks: list[str] | None = None
    ) -> dict[str, torch.Tensor]:
        """Raw outputs of the heads of `tasks` (default all), (B, C) or (B,)."""
        h = self.encoder(self.embed(input_ids, amounts), input_ids > 0)  # (B, d)
        h = self.norm(self.layers(h))  # (B, d)
        h = F.dropout(h, self.dropout, self.training)
        return {name: self.head[name](h).squeeze(-1) for name in tasks or self.head}


class CompositionModel(PreTrainedModel):
    """Several tasks from one composition; members are averaged."""

    config_class = CompositionConfig
    base_model_prefix = "members"
    main_input_name = "input_ids"

    def __init__(self, config: CompositionConfig):
        super().__init__(config)
        turns = ("transformer", "gru") if config.encoder == "both" else (config.encoder,)
        self.members = nn.ModuleList(Member(config, turns[i % len(turns)]) for i in range(config.num_members))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, (Block, FeedForward)):  # residual branches start small
            for last in (module.down, module.out) if isinstance(module, Block) else (module.down,):
                nn.init.normal_(last.weight, std=0.02 / (2 * self.config.num_hidden_layers) ** 0.5)

    def forward(
        self,
        input_ids: torch.LongTensor,
        amounts: torch.FloatTensor,
        labels: dict[str, torch.Tensor] | None = None,
        tasks: list[str] | None = None,
        members: int | None = None,
        **kwargs,
    ) -> CompositionOutput:
        """Predict every task.

        Args:
            input_ids: (B, T) atomic numbers, 0 where padded (on the right).
            amounts: (B, T) amounts of the formula, 0 where padded.
            labels: by task: "classes" (B, C), 1 for every right answer, a row of zeros where unknown; "number" (B,) in
                the task's unit and "chance" (B,) 0 or 1, NaN where unknown.
            tasks: names of the tasks wanted, default all.
            members: how many networks are asked, the first ones; default all. One is faster, all are better.
        """
        raw = [member(input_ids, amounts, tasks) for member in self.members[:members]]
        loss = None
        if labels is not None:
            loss = torch.stack([self.loss(outputs, labels) for outputs in raw]).sum()
        return CompositionOutput(loss=loss, predictions=self.combine(raw))

    def combine(self, raw: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The members' average: probabilities of classes and chances, numbers."""
        out = {}
        for name in raw[0]:
            task = self.config.tasks[name]
            values = torch.stack([outputs[name].float() for outputs in raw])  # (M, B) or (M, B, C)
            if task["kind"] == "classes":
                logp = values.log_softmax(-1)  # (M, B, C)
                out[name] = logp[0] if len(raw) == 1 else logp.logsumexp(0) - torch.tensor(float(len(raw))).log()
            elif task["kind"] == "chance":
                out[name] = values.sigmoid().mean(0).clamp(1e-7, 1 - 1e-7).logit()
            else:
                value = values.mean(0) * task["std"] + task["mean"]
                out[name] = value.exp() if task.get("log") else value
        return out

    def loss(self, outputs: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]) -> torch.Tensor:
        """Weighted sum of the tasks' mean losses over the rows with a label."""
        total = next(iter(outputs.values())).new_zeros(())
        for name, task in self.config.tasks.items():
            if name in labels:
                total = total + task.get("weight", 1.0) * self.task_loss(task, outputs[name].float(), labels[name])
        return total

    def task_loss(self, task: dict, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Mean loss of one task over its labelled rows."""
        if task["kind"] == "classes":
            rows = label.sum(-1) > 0  # (B,)
            label, logp = label[rows].float(), output[rows].log_softmax(-1)  # (b, C)
            if task.get("spread"):
                each = -(label / label.sum(-1, keepdim=True) * logp).sum(-1)  # (b,)
            else:
                each = -logp.masked_fill(label == 0, -1e4).logsumexp(-1)  # (b,)
            smooth = self.config.label_smoothing
            each = (1 - smooth) * each - smooth * logp.mean(-1)
        else:
            rows = ~label.isnan()  # (B,)
            target, value = label[rows].float(), output[rows]  # (b,)
            if task["kind"] == "chance":
                each = F.binary_cross_entropy_with_logits(value, target, reduction="none")
            else:
                target = target.log() if task.get("log") else target
                each = F.smooth_l1_loss(value, (target - task["mean"]) / task["std"], reduction="none", beta=0.1)
        return each.sum() / max(1, len(each))


__all__ = ["CompositionModel", "CompositionOutput"]
