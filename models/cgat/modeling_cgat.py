"""Crystal-graph attention without coordinates: energies of decorated prototypes.

After Schmidt et al., Sci. Adv. 7, eabi7948 (2021): attention over neighbours, edges known by rank, not by length. Three
changes make it small and fast. Nodes are Wyckoff orbits, not atoms. Edges are whole shells of neighbours, and because
an edge's embedding enters the attention as a bias (and a gate), the softmax over all edges of a node is, exactly, one
over pairs of orbits whose bias is the log-sum over the shells they share. And all that depends on the prototype alone
is worked out once for all its decorations (`prepare`).

Shapes: B crystals, P prototypes (1, or B, or picked by an index), N orbits, R shells, H heads, d width, s shell width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_cgat import CGATConfig

LEAST, MOST = -5.0, 3.0  # logarithm of the error's scale, in units of `scale`


@dataclass
class CGATOutput(ModelOutput):
    """What a `CGATModel` returns.

    Attributes:
        loss: scalar, where labels were given.
        energy: (B,) formation energy, eV/atom.
        sigma: (B,) its expected deviation: noise of the members and their disagreement, eV/atom.
        above_hull: (B,) energy above the hull as read off directly, eV/atom.
        volume: (B,) Å³/atom.
    """

    loss: torch.Tensor | None = None
    energy: torch.Tensor | None = None
    sigma: torch.Tensor | None = None
    above_hull: torch.Tensor | None = None
    volume: torch.Tensor | None = None


@dataclass
class LayerGraph:
    """What one layer needs of P prototypes.

    Attributes:
        bias: (P, H, N, N) logarithm of the weights of the shells orbit i shares with orbit j.
        gate: (P, H, N, N) factor on what j says to i.
        weight: (P, N, H, R + 1) of each shell.
        edges: of a single prototype, (H, N, N, s) mean embedding of the shells i and j share; else None.
    """

    bias: torch.Tensor
    gate: torch.Tensor
    weight: torch.Tensor
    edges: torch.Tensor | None


@dataclass
class Prepared:
    """Prototypes as one member sees them.

    Attributes:
        nodes: (P, N, d).
        share: (P, N) of the atoms.
        shells: (P, N, R + 1, s) embeddings; the last shell is all that lies beyond the others.
        counts: (P, N, N, R + 1) atoms in them.
        layers: what each layer needs.
    """

    nodes: torch.Tensor
    share: torch.Tensor
    shells: torch.Tensor
    counts: torch.Tensor
    layers: list[LayerGraph]

    def pick(self, index: torch.Tensor) -> "Prepared":
        """The prototypes (B,) of a batch."""
        layers = [LayerGraph(g.bias[index], g.gate[index], g.weight[index], None) for g in self.layers]
        return Prepared(self.nodes[index], self.share[index], self.shells[index], self.counts[index], layers)


class ShellAttention(nn.Module):
    """One pre-norm block: attention over the shells of every orbit, then a feed-forward layer."""

    def __init__(self, config: CGATConfig):
        super().__init__()
        d, s, f = config.hidden_size, config.shell_size, config.intermediate_size
        self.heads, self.dropout = config.num_attention_heads, config.dropout
        self.attention_norm, self.feed_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query_key_value = nn.Linear(d, 3 * d)
        self.out, self.of_edges = nn.Linear(d, d), nn.Linear(config.num_attention_heads * s, d, bias=False)
        self.shell_bias, self.shell_gate = nn.Linear(s, self.heads), nn.Linear(s, self.heads)
        self.up, self.down = nn.Linear(d, f), nn.Linear(f, d)

    def prepare(self, shells: torch.Tensor, counts: torch.Tensor) -> LayerGraph:
        """Embeddings (P, N, R + 1, s) and counts (P, N, N, R + 1) of shells -> what this layer needs of them.

        The last shell is all that lies beyond the others: every orbit hears of every other.
        """
        weight = self.shell_bias(shells).clamp(-10, 10).exp()  # (P, N, R + 1, H)
        sums = counts @ torch.cat([weight, weight * self.shell_gate(shells)], dim=-1)  # (P, N, N, 2 H)
        total, gated = sums.permute(0, 3, 1, 2).chunk(2, dim=1)  # (P, H, N, N)
        total = total.clamp(min=1e-20)
        weight = weight.transpose(2, 3)  # (P, N, H, R + 1)
        edges = None
        if len(shells) == 1:
            shared = weight[0].transpose(0, 1)[:, :, None] * counts[0] / total[0][..., None]  # (H, N, N, R + 1)
            edges = shared @ shells[0]
        return LayerGraph(total.log(), 1 + gated / total, weight, edges)

    def forward(self, x: torch.Tensor, graph: LayerGraph, shells: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """(B, N, d) -> (B, N, d)."""
        b, n, d = x.shape
        q, k, v = self.query_key_value(self.attention_norm(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + graph.bias  # (B, H, N, N)
        attention = logits.softmax(-1)
        said = ((attention * graph.gate) @ v).transpose(1, 2).reshape(b, n, d)  # (B, N, d)
        if graph.edges is not None:  # one prototype: a product of matrices for each of its pairs
            heard = torch.einsum("bhij,hijs->bihs", attention, graph.edges)  # (B, N, H, s)
        else:
            single = (attention * (-graph.bias).exp()).transpose(1, 2)  # (B, N, H, N), of one neighbour of weight one
            heard = ((single @ counts) * graph.weight) @ shells  # (B, N, H, s)
        y = self.out(said) + self.of_edges(heard.reshape(b, n, -1))
        x = x + F.dropout(y, self.dropout, self.training)
        y = self.down(F.gelu(self.up(self.feed_norm(x))))
        return x + F.dropout(y, self.dropout, self.training)


class FeedForward(nn.Module):
    """One pre-norm residual feed-forward layer on the summary."""

    def __init__(self, config: CGATConfig):
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(config.hidden_size), config.dropout
        self.up = nn.Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down = nn.Linear(2 * config.intermediate_size, config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, d) -> (B, d)."""
        return x + F.dropout(self.down(F.gelu(self.up(self.norm(x)))), self.dropout, self.training)


class Member(nn.Module):
    """One network. `features` (elements, F) holds standardised properties; they are saved with the weights."""

    def __init__(self, config: CGATConfig):
        super().__init__()
        d, s = config.hidden_size, config.shell_size
        self.config = config
        self.register_buffer("features", torch.zeros(config.num_elements, config.num_features))
        self.element = nn.Embedding(config.num_elements, d)
        self.of_features = nn.Linear(config.num_features, d, bias=False)
        self.symmetry = nn.Embedding(config.num_symmetries + 1, d)
        self.spacegroup = nn.Embedding(231, d)
        self.size = nn.Embedding(64, d)
        self.of_share = nn.Linear(2, d)
        self.rank = nn.Embedding(config.num_ranks + 1, s)
        self.of_distance = nn.Linear(2 * config.num_waves, s)
        self.of_shells = nn.Linear(s, d)
        self.encoder = nn.ModuleList(ShellAttention(config) for _ in range(config.num_hidden_layers))
        self.pool_key, self.pool_query = nn.Linear(d, d), nn.Linear(d, d)
        self.of_mean, self.of_pool = nn.Linear(d, d), nn.Linear(d, d)
        self.of_composition = nn.Linear(4 * config.num_features, d)
        self.layers = nn.Sequential(*(FeedForward(config) for _ in range(config.num_summary_layers)))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 4)

    def prepare(
        self,
        atoms: torch.Tensor,
        symmetry: torch.Tensor,
        spacegroup: torch.Tensor,
        counts: torch.Tensor,
        distances: torch.Tensor,
    ) -> Prepared:
        """All that depends on prototypes alone; see `CGATModel.forward` for the arguments."""
        atoms, counts = atoms.float(), counts.float()
        share = atoms / atoms.sum(-1, keepdim=True)  # (P, N)
        shells = self.rank.weight[:-1] + self.of_distance(self.waves(distances))  # (P, N, R, s)
        beyond = self.rank.weight[-1].expand(*shells.shape[:2], 1, -1)
        shells = F.gelu(torch.cat([shells, beyond], dim=2))  # (P, N, R + 1, s)
        rest = share[:, None, :, None].expand(-1, share.shape[1], -1, 1)  # (P, N, N, 1)
        near = (counts.sum(2)[..., None] * shells[:, :, :-1]).sum(2) / self.config.num_ranks  # (P, N, s)
        nodes = self.symmetry(symmetry) + self.of_share(torch.stack([share, share.clamp(min=1e-3).log() / 3], dim=-1))
        group = self.spacegroup(spacegroup) + self.size(atoms.sum(-1).long().clamp(max=63))
        nodes = nodes + self.of_shells(near) + group[:, None]
        counts = torch.cat([counts, rest], dim=-1)
        return Prepared(nodes, share, shells, counts, [block.prepare(shells, counts) for block in self.encoder])

    def waves(self, distances: torch.Tensor) -> torch.Tensor:
        """Radial functions of a shell's distance (P, N, R), itself and over that of the first -> (P, N, R, 2 waves)."""
        centres = torch.linspace(0.5, 2.2, self.config.num_waves, device=distances.device)
        ratio = distances / distances[..., :1].clamp(min=1e-3)
        both = torch.stack([distances, ratio], dim=-1)[..., None]  # (P, N, R, 2, 1)
        wide = (-(((both - centres) / 0.12) ** 2)).exp() * (distances > 0)[..., None, None]
        return wide.flatten(-2)

    def forward(self, elements: torch.Tensor, graph: Prepared) -> torch.Tensor:
        """Atomic numbers (B, N) on prepared prototypes -> (B, 4): energy, log of its scale, above hull, volume."""
        known = self.features[elements]  # (B, N, F)
        own = self.element(elements)  # (B, N, d)
        if self.training and self.config.element_dropout:
            own = own * (torch.rand(own.shape[:2], device=own.device) >= self.config.element_dropout)[..., None]
        own = own + self.of_features(known)
        share = graph.share.expand(len(elements), -1)  # (B, N)
        mean = (share[:, None] @ own)[:, 0]  # (B, d)
        x = F.dropout(own + graph.nodes, self.config.dropout, self.training)
        for block, layer in zip(self.encoder, graph.layers, strict=True):
            x = block(x, layer, graph.shells, graph.counts)  # (B, N, d)
        score = (self.pool_key(x) * self.pool_query(mean)[:, None]).sum(-1) * x.shape[-1] ** -0.5  # (B, N)
        weight = (score + share.clamp(min=1e-20).log()).softmax(-1)
        y = self.of_mean((share[:, None] @ x)[:, 0]) + self.of_pool((weight[:, None] @ x)[:, 0])  # (B, d)
        y = y + mean + self.of_composition(statistics(known, share))
        return self.head(self.norm(self.layers(y)))  # (B, 4)


def statistics(known: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Mean, deviation, largest and least of the elements' properties: (B, N, F), (B, N) -> (B, 4 F)."""
    weight = share[..., None]  # (B, N, 1)
    mean = (known * weight).sum(1)  # (B, F)
    deviation = ((known - mean[:, None]).abs() * weight).sum(1)  # (B, F)
    absent = (share <= 0)[..., None]
    most = known.masked_fill(absent, -1e4).amax(1)  # (B, F)
    least = known.masked_fill(absent, 1e4).amin(1)  # (B, F)
    return torch.cat([mean, deviation, most, least], dim=-1)


class CGATModel(PreTrainedModel):
    """An ensemble of attention networks over neighbour shells.

    `references` (elements, 2): formation energy (eV/atom) and volume (Å³/atom) of each element, fitted linearly; the
    networks predict what is left.
    """

    config_class = CGATConfig
    base_model_prefix = "cgat"
    main_input_name = "elements"

    def __init__(self, config: CGATConfig):
        super().__init__(config)
        self.register_buffer("references", torch.zeros(config.num_elements, 2))
        self.members = nn.ModuleList(Member(config) for _ in range(config.num_members))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def prepare(self, **prototypes: torch.Tensor) -> list[Prepared]:
        """Prototypes as each member sees them; give it to `read` with any decorations of them."""
        return [member.prepare(**prototypes) for member in self.members]

    def read(self, elements: torch.Tensor, prepared: list[Prepared], index: torch.Tensor | None = None) -> CGATOutput:
        """Judge decorations of prepared prototypes.

        Args:
            elements: (B, N) atomic numbers of the orbits, 0 where padded.
            prepared: of one prototype for all, or of several, by member; of the first members alone, they alone are
                asked.
            index: (B,) which of them each crystal is a decoration of.
        """
        graphs = prepared if index is None else [graph.pick(index) for graph in prepared]
        members = self.members[: len(graphs)]
        raw = torch.stack([m(elements, g) for m, g in zip(members, graphs, strict=True)])  # (M, B, 4)
        return self.combine(raw.float(), elements, graphs[0].share)

    def forward(
        self,
        elements: torch.Tensor,
        atoms: torch.Tensor,
        symmetry: torch.Tensor,
        spacegroup: torch.Tensor,
        counts: torch.Tensor,
        distances: torch.Tensor,
        labels: dict[str, torch.Tensor] | None = None,
    ) -> CGATOutput:
        """Predict crystals on prototypes of their own.

        Args:
            elements: (B, N) atomic numbers of the orbits, 0 where padded.
            atoms: (B, N) atoms of each orbit in the primitive cell, 0 where padded.
            symmetry: (B, N) site symmetries.
            spacegroup: (B,) International Tables numbers.
            counts: (B, N, N, R) atoms of orbit j in shell r around an atom of orbit i; all zero where unknown.
            distances: (B, N, R) radii of the shells over the edge of the volume per atom.
            labels: `energy`, `above_hull` (eV/atom), `volume` (Å³/atom), (B,) each, NaN where unknown.
        """
        if self.training and self.config.shell_dropout:
            kept = torch.rand(len(elements), device=elements.device) >= self.config.shell_dropout
            counts, distances = counts * kept[:, None, None, None], distances * kept[:, None, None]
        graphs = self.prepare(atoms=atoms, symmetry=symmetry, spacegroup=spacegroup, counts=counts, distances=distances)
        raw = torch.stack([m(elements, g) for m, g in zip(self.members, graphs, strict=True)]).float()  # (M, B, 4)
        out = self.combine(raw, elements, graphs[0].share)
        if labels is not None:
            out.loss = self.loss(raw, self.base(elements, graphs[0].share), labels)
        return out

    def base(self, elements: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Energy and volume by the elements' references, (B, 2)."""
        return (share.expand(len(elements), -1)[..., None] * self.references[elements]).sum(1)

    def combine(self, raw: torch.Tensor, elements: torch.Tensor, share: torch.Tensor) -> CGATOutput:
        """The members' mean; their noise and their disagreement added in squares. `raw` (M, B, 4)."""
        base, scale = self.base(elements, share), self.config.scale
        noise = 2 * (2 * raw[..., 1].clamp(LEAST, MOST)).exp().mean(0)  # variance of Laplace's distribution
        spread = raw[..., 0].var(0, unbiased=False)
        return CGATOutput(
            energy=base[:, 0] + scale * raw[..., 0].mean(0),
            sigma=scale * (noise + spread).sqrt(),
            above_hull=scale * raw[..., 2].mean(0),
            volume=base[:, 1].clamp(min=2.0) * raw[..., 3].mean(0).clamp(-3, 3).exp(),
        )

    def loss(self, raw: torch.Tensor, base: torch.Tensor, labels: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sum over members of the weighted losses, means over labelled crystals.

        The likelihood is Laplace's, weighted by the scale to the power beta (Seitzer et al., arXiv:2203.09168): the
        plain one neglects what it cannot fit yet, and a scale without a gradient is never trained.
        """
        config = self.config
        wanted = (labels["energy"] - base[:, 0]) / config.scale  # (B,)
        log_b = raw[..., 1].clamp(LEAST, MOST)  # (M, B)
        nll = (raw[..., 0] - wanted).abs() * (-log_b).exp() + log_b
        total = mean_known((config.beta * log_b.detach()).exp() * nll, wanted)
        above = labels["above_hull"] / config.scale
        total = total + config.hull_weight * mean_known((raw[..., 2] - above).abs(), above)
        volume = (labels["volume"] / base[:, 1].clamp(min=2.0)).log()
        return total + config.volume_weight * mean_known((raw[..., 3] - volume).abs(), volume)


def mean_known(values: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Sum over members of the mean over labelled crystals: (M, B), (B,) -> scalar."""
    rows = ~label.isnan()
    return values[:, rows].sum() / max(1, int(rows.sum()))


__all__ = ["CGATModel", "CGATOutput"]
