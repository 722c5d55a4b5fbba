"""The forward pass of M3GNet, rewritten for speed on a CPU.

Same weights, same function as ``matgl.models.M3GNet`` (Chen, Ong, Nat. Comput. Sci. 2, 718, 2022), rearranged:

- the three-body sum over pairs of bonds needs no pairs: its angular basis is a Legendre polynomial of the angle
  between two bonds, so by the addition theorem of spherical harmonics it is a product of one sum per atom with the
  harmonics of each bond, less the bond's own share. Work grows with the bonds, not with their square;
- the first linear layer of a gated MLP acts on a concatenation [source, destination, bond]; its blocks are applied to
  atoms and bonds before gathering;
- energies depend on bond vectors alone: one backward pass to those gives forces and stress.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genmat.screening.potentials.engine import linear
from genmat.screening.potentials.pairs import PairGraph

MAX_N = MAX_L = 3
WIDE, WIDER = 16, 32  # columns the 9 and 27 basis functions are padded to, see `pairs`
# rows: spherical Bessel order, columns: its first zeros (Abramowitz & Stegun, table 10.6)
ROOTS = (
    (3.141592653589793, 6.283185307179586, 9.42477796076938),
    (4.493409457909064, 7.725251836937707, 10.904121659428899),
    (5.763459196894550, 9.095011330476355, 12.322940970566582),
)
# amplitude of the harmonics of order l at the pole: Y_l0(cos) = _POLE[l] * P_l(cos)
_POLE = tuple(math.sqrt((2 * order + 1) / (4 * math.pi)) for order in range(MAX_L))


def smooth_bessel_mix(n: int, cutoff: float) -> np.ndarray:
    """(n + 1, n) coefficients that turn sin(k pi r/c)/(k pi r/c), k = 1 … n + 1, into the smooth radial basis.

    Kocer, Mason, Erturk, AIP Adv. 10, 015021 (2020), eqs. 10-14: value and two derivatives vanish at the cutoff.
    """
    raw = np.zeros((n + 1, n))
    for i in range(n):
        size = (-1) ** i * math.sqrt(2) * math.pi / cutoff**1.5 * (i + 1) * (i + 2) / math.hypot(i + 1, i + 2)
        raw[i, i] = raw[i + 1, i] = size
    e = [i**2 * (i + 2) ** 2 / (4 * (i + 1) ** 4 + 1) for i in range(n)]
    d = [1.0]
    for i in range(1, n):
        d.append(1 - e[i] / d[-1])
    mixed = raw.copy()
    for i in range(1, n):
        mixed[:, i] = (raw[:, i] + math.sqrt(e[i] / d[i - 1]) * mixed[:, i - 1]) / math.sqrt(d[i])
    return mixed


def bessel_norms(cutoff: float) -> np.ndarray:
    """(3, 3) factors sqrt(2/c^3) / |j_{l+1}(z_ln)| of the plain radial basis."""
    from scipy.special import spherical_jn

    return np.array(
        [[math.sqrt(2 / cutoff**3) / abs(spherical_jn(order + 1, z)) for z in ROOTS[order]] for order in range(MAX_L)]
    )


def prepare_weights(state: Mapping[str, Tensor], options: Mapping[str, Any], target: bool) -> dict[str, Any]:
    """Regroup a state dict: value and gate branches side by side, first layers split by input block.

    Args:
        state: of the matgl `Potential` (keys begin with ``model.``).
        options: ``init_args`` of the model: cutoff (Å), threebody_cutoff (Å), nblocks, use_smooth.
        target: node updates are summed at the end of a bond (weights made before matgl 3), else at its start.
    """
    n = options["nblocks"]
    cutoff = float(options["cutoff"])
    w: dict[str, Any] = {
        "n_blocks": n,
        "cutoff": cutoff,
        "inner": float(options["threebody_cutoff"]),
        "smooth": bool(options["use_smooth"]),
        "target": target,
        "species": state["model.embedding.layer_node_embedding.weight"],  # (elements, 64)
        "bond_in": pad(state["model.embedding.layer_edge_embedding.layers.0.weight"].T, WIDE),  # (16, 64)
        "bond_in.bias": state["model.embedding.layer_edge_embedding.layers.0.bias"],
        "mix": pad(torch.from_numpy(smooth_bessel_mix(MAX_N * MAX_L, cutoff)), WIDE, WIDE),
        "roots": torch.tensor(ROOTS),
        "norms": torch.from_numpy(bessel_norms(cutoff)),
        "reference": state["element_refs.property_offset"],  # (elements,) eV
        "scale": state["data_std"],
    }
    radial = []
    for i in range(n):
        three = f"model.three_body_interactions.{i}"
        w[f"three{i}.atom"] = pad(state[f"{three}.update_network_atom.layers.0.weight"].T, 64, WIDE)
        w[f"three{i}.atom.bias"] = pad(state[f"{three}.update_network_atom.layers.0.bias"], WIDE)
        pair = [state[f"{three}.update_network_bond.{branch}.0.weight"] for branch in ("layers", "gates")]
        w[f"three{i}.bond"] = pad(torch.cat(pair).T, WIDE)  # (16, 128)
        for kind in ("edge", "node"):
            _gated(w, state, f"{kind}{i}", f"model.graph_layers.{i}.conv.{kind}_update_func")
            radial.append(state[f"model.graph_layers.{i}.conv.{kind}_weight_func.weight"])
    w["radial"] = pad(torch.cat(radial).T, WIDE)  # (16, 64 * 2 * blocks)
    for layer in range(4):
        for branch in ("layers", "gates"):
            w[f"read{layer}.{branch}"] = state[f"model.final_layer.gated.{branch}.{2 * layer}.weight"].T
            w[f"read{layer}.{branch}.bias"] = state[f"model.final_layer.gated.{branch}.{2 * layer}.bias"]
    return {k: v.detach().float().contiguous() if isinstance(v, Tensor) else v for k, v in w.items()}


def _gated(w: dict[str, Any], state: Mapping[str, Tensor], name: str, path: str) -> None:
    pair = [state[f"{path}.{branch}.0.weight"] for branch in ("layers", "gates")]
    first = torch.cat(pair).T  # (192, 2 * hidden)
    w[f"{name}.source"], w[f"{name}.destination"], w[f"{name}.bond"] = first[:64], first[64:128], first[128:]
    w[f"{name}.bias"] = torch.cat([state[f"{path}.{branch}.0.bias"] for branch in ("layers", "gates")])
    for layer in (2, 4):
        for branch in ("layers", "gates"):
            w[f"{name}.{branch}{layer}"] = state[f"{path}.{branch}.{layer}.weight"].T
            w[f"{name}.{branch}{layer}.bias"] = state[f"{path}.{branch}.{layer}.bias"]


def site_energies(w: Mapping[str, Any], g: PairGraph, vectors: Tensor) -> Tensor:
    """Energy of every atom, eV, element reference included.

    Args:
        w: from `prepare_weights`.
        g: one graph or several collated.
        vectors: (n_bonds, 3) Å, the differentiable copy of ``g.vectors``.

    Returns:
        (n_sites,) eV: of one atom of each orbit.
    """
    device = vectors.device
    first, row, _ = g.sites
    half = np.stack([g.second, g.first])  # (2, bonds): where directed bonds start
    seen = np.isin(half[::-1] if w["target"] else half, first) if len(first) < len(row) else np.ones_like(half, bool)
    short_ids = np.flatnonzero(seen[:, : g.n_short])  # among (2, short): directed bonds whose messages are needed
    rows, bonds = np.nonzero(seen)
    order = np.concatenate([np.flatnonzero(bonds < g.n_short), np.flatnonzero(bonds >= g.n_short)])
    rows, bonds = rows[order], bonds[order]  # short ones first
    start, end = (torch.from_numpy(row[half[r, bonds]]).to(device) for r in (rows, 1 - rows))  # (edges,) sites
    along = torch.from_numpy(bonds).to(device)  # (edges,) undirected bond of each
    species = torch.from_numpy(g.species[first]).to(device)

    length = vectors.norm(dim=1)  # (bonds,)
    basis = _smooth(length, w) if w["smooth"] else _bessel(length, w)  # (bonds, 16)
    gates = linear(basis, w["radial"]).index_select(0, along).split(64, dim=1)  # 2 per block, (edges, 64)
    bond = F.silu(linear(basis, w["bond_in"], w["bond_in.bias"])).index_select(0, along)  # (edges, 64)
    atom = w["species"][species]  # (sites, 64)
    three = _ThreeBody(w, g, row, short_ids, vectors, length, basis) if len(short_ids) else None
    for i in range(w["n_blocks"]):
        if three is not None:
            change = three.update(w, f"three{i}", atom)  # (short edges, 64)
            bond = torch.cat([bond[: len(change)] + change, bond[len(change) :]])
        bond = bond + _gated_mlp(w, f"edge{i}", atom, bond, start, end) * gates[2 * i]
        message = _gated_mlp(w, f"node{i}", atom, bond, start, end) * gates[2 * i + 1]
        atom = atom.index_add(0, end if w["target"] else start, message)
    core, gate = read_out(w, atom)
    return core * gate * w["scale"] + w["reference"][species]


def read_out(w: Mapping[str, Any], atom: Tensor) -> tuple[Tensor, Tensor]:
    """The last gated layers, (atoms, features) -> (atoms,) value and (atoms,) gate."""
    core = gate = atom
    for layer in range(3):
        core = F.silu(linear(core, w[f"read{layer}.layers"], w[f"read{layer}.layers.bias"]))
        gate = F.silu(linear(gate, w[f"read{layer}.gates"], w[f"read{layer}.gates.bias"]))
    core = (core * w["read3.layers"][:, 0]).sum(1) + w["read3.layers.bias"]
    gate = (gate * w["read3.gates"][:, 0]).sum(1) + w["read3.gates.bias"]
    return core, torch.sigmoid(gate[:, None].repeat(1, WIDE))[:, 0]  # whole vectors: their ends round differently


def pad(values: Tensor, *shape: int) -> Tensor:
    """Fill up with zeros to ``shape`` (leading dimensions)."""
    made = values.new_zeros(*shape, *values.shape[len(shape) :])
    made[tuple(slice(n) for n in values.shape)] = values
    return made


def _bessel(length: Tensor, w: Mapping[str, Any]) -> Tensor:
    """(bonds,) Å -> (bonds, 16): 9 spherical Bessel functions j_l(z_ln r/c), normalised, l slow and n fast."""
    x = (length.clamp(max=w["cutoff"]) / w["cutoff"])[:, None, None] * w["roots"]  # (bonds, l, n)
    sin, cos, inverse = torch.sin(x), torch.cos(x), 1 / x
    j0 = sin[:, 0] * inverse[:, 0]
    j1 = (sin[:, 1] * inverse[:, 1] - cos[:, 1]) * inverse[:, 1]
    j2 = ((3 * inverse[:, 2] * inverse[:, 2] - 1) * sin[:, 2] - 3 * inverse[:, 2] * cos[:, 2]) * inverse[:, 2]
    return F.pad((torch.stack([j0, j1, j2], dim=1) * w["norms"]).flatten(1), (0, WIDE - MAX_N * MAX_L))


def _smooth(length: Tensor, w: Mapping[str, Any]) -> Tensor:
    """(bonds,) Å -> (bonds, 16), 9 of them used, see `smooth_bessel_mix`."""
    k = torch.arange(1, len(w["mix"]) + 1, device=length.device, dtype=length.dtype) * (math.pi / w["cutoff"])
    x = length[:, None] * k
    return linear(torch.sin(x) / x, w["mix"])


def _gated_mlp(w: Mapping[str, Any], name: str, atom: Tensor, bond: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Three gated layers over directed bonds, (edges, 64) -> (edges, 64)."""
    source = linear(atom, w[f"{name}.source"], w[f"{name}.bias"]).index_select(0, start)
    x = linear(bond, w[f"{name}.bond"]).add_(source)
    x = F.silu(x + linear(atom, w[f"{name}.destination"]).index_select(0, end))  # (edges, 2 hidden)
    core, gate = x.chunk(2, dim=1)
    core = F.silu(linear(core, w[f"{name}.layers2"], w[f"{name}.layers2.bias"]))
    gate = F.silu(linear(gate, w[f"{name}.gates2"], w[f"{name}.gates2.bias"]))
    core = F.silu(linear(core, w[f"{name}.layers4"], w[f"{name}.layers4.bias"]))
    return core * torch.sigmoid(linear(gate, w[f"{name}.gates4"], w[f"{name}.gates4.bias"]))


class _ThreeBody:
    """Sums over the other bonds of an atom, weighted by both cutoffs and by Legendre polynomials of the angle."""

    def __init__(
        self,
        w: Mapping[str, Any],
        g: PairGraph,
        row: np.ndarray,
        ids: np.ndarray,
        vectors: Tensor,
        length: Tensor,
        basis: Tensor,
    ) -> None:
        """Args: ids, the directed short bonds, of all (2, short), that are to be changed."""
        device, short = vectors.device, g.n_short
        half = np.stack([g.second, g.first])[:, :short]
        self.n_atoms = len(g.species)
        self.start = torch.from_numpy(half.reshape(-1)).to(device)  # (2 short,) atoms: each has a sum of its own
        self.end = torch.from_numpy(row[half[::-1].reshape(-1)]).to(device)  # (2 short,) sites
        self.ids = torch.from_numpy(ids).to(device) if len(ids) < 2 * short else None
        self.harmonics = _harmonics(vectors[:short] / length[:short, None])  # (2 short, 9), l = 0, 1, 1, 1, 2 ...
        ratio = length[:short] / w["inner"]
        cutoff = (1 - ratio * ratio * ratio * (10 - ratio * (15 - 6 * ratio))).repeat(2)[:, None]  # (2 short, 1)
        self.radial = basis[:short].repeat(2, 1) * cutoff  # (2 short, 16)
        self.cutoff = self._chosen(cutoff)
        orders = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2])
        column = (MAX_N * orders[:, None] + torch.arange(MAX_N)).reshape(-1)  # (27,) column (l, n) of each (l, m, n)
        pole = pad(torch.tensor(_POLE).repeat_interleave(MAX_N), WIDE)
        fold = torch.zeros(WIDER, WIDE)
        fold[torch.arange(len(column)), column] = pole[column]
        spread = self.harmonics.repeat_interleave(MAX_N, dim=1)  # (2 short, 27)
        self.spread = F.pad(spread, (0, WIDER - len(column)))  # (2 short, 32)
        self.column = F.pad(column, (0, WIDER - len(column))).to(device)
        self.pole, self.fold = pole.to(device), fold.to(device)

    def _chosen(self, values: Tensor) -> Tensor:
        return values if self.ids is None else values.index_select(0, self.ids)

    def update(self, w: Mapping[str, Any], name: str, atom: Tensor) -> Tensor:
        """Change of the chosen short bonds, (short edges, 64)."""
        neighbour = torch.sigmoid(linear(atom, w[f"{name}.atom"], w[f"{name}.atom.bias"]))  # (sites, 16)
        share = neighbour.index_select(0, self.end) * self.radial  # (2 short, 16): what each bond contributes
        total = share.new_zeros(self.n_atoms, WIDER).index_add(
            0, self.start, share.index_select(1, self.column) * self.spread
        )
        around = total.index_select(0, self._chosen(self.start)) * self._chosen(self.spread)
        others = linear(around, self.fold) - self._chosen(share) * self.pole
        core, gate = linear(others * self.cutoff, w[f"{name}.bond"]).chunk(2, dim=1)
        return F.silu(core) * torch.sigmoid(gate)


def _harmonics(unit: Tensor) -> Tensor:
    """(short, 3) unit vectors -> (2 short, 9), both directions: products over m add up to P_l(cos)."""
    x, y, z = unit.unbind(1)
    root = math.sqrt(3)
    even = torch.stack(
        [
            root * x * y,
            root * y * z,
            root * x * z,
            0.5 * root * (x * x - y * y),
            1.5 * z * z - 0.5,
        ],
        dim=1,
    )
    one = torch.ones_like(x)[:, None]
    return torch.cat([torch.cat([one, unit, even], dim=1), torch.cat([one, -unit, even], dim=1)])
