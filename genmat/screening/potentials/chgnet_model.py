"""The forward pass of CHGNet, rewritten for speed on a CPU: 0.3.0, and the shapes of its sisters.

Same weights, same function as ``chgnet.model.CHGNet`` (Deng et al., Nat. Mach. Intell. 5, 1031, 2023), with
three rearrangements that change nothing but rounding:

- the first linear layer of a gated MLP acts on a concatenation [centre, bond, neighbour]; its blocks are applied to
  atoms and bonds before gathering, so the large product over directed bonds disappears;
- bonds above 3 Å have zero weight in the bond graph and are left out of the bond convolution;
- energies depend on bond vectors alone: one backward pass to those gives forces and stress.

On a CPU every number is the same, bit for bit, whatever other crystals share the batch: sums run in the crystal's own
order, and the few kernels that treat short or odd inputs differently are kept away from them (`_linear`, `_envelope`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genmat.screening.potentials.engine import linear
from genmat.screening.potentials.neighbours import ATOM_CUTOFF, BOND_CUTOFF, CrystalGraph

N_CONV = 4


@dataclass(frozen=True)
class Shape:
    """What the weights do not tell: where the atom graph ends and how steeply.

    Args:
        cutoff: Å, longest bond of the atom graph.
        envelope: power of the polynomial cutoff.
        readout: numbers of the linear layers of the readout in the checkpoint.
    """

    cutoff: float = ATOM_CUTOFF
    envelope: int = 8
    readout: tuple[int, ...] = (0, 2, 4, 7)


def prepare_weights(state: Mapping[str, Tensor], shape: Shape | None = None) -> dict[str, Tensor]:
    """Regroup a CHGNet state dict: core and gate branches side by side, first layers split by input block.

    Layer norms and output biases are taken along where the checkpoint has them (0.2.0: biases, no norms).
    """
    shape = shape or Shape()
    w: dict[str, Tensor] = {
        "species": state["atom_embedding.embedding.weight"],  # (94, 64)
        "reference": state["composition_model.fc.weight"][0],  # (94,) eV/atom
        "freq_ag": state["bond_basis_expansion.rbf_expansion_ag.frequencies"],  # (31,)
        "freq_bg": state["bond_basis_expansion.rbf_expansion_bg.frequencies"],  # (31,)
        "freq_angle": state["angle_basis_expansion.fourier_expansion.frequencies"],  # (15,)
        "bond_in": torch.cat([state["bond_embedding.weight"], state["bond_weights_ag.weight"]]).T,  # (31, 128)
        "weight_bg": state["bond_weights_bg.weight"].T,  # (31, 64)
        "angle_in": state["angle_embedding.weight"].T,  # (31, 64)
    }
    if "readout_norm.weight" in state:
        w["norm"] = torch.stack([state["readout_norm.weight"], state["readout_norm.bias"]])
    for i in range(N_CONV):
        _gated(w, state, f"atom{i}", f"atom_conv_layers.{i}.twoBody_atom", ("centre", "bond", "neighbour"))
        _output(w, state, f"atom{i}", f"atom_conv_layers.{i}")
    for i in range(N_CONV - 1):
        _gated(w, state, f"bond{i}", f"bond_conv_layers.{i}.twoBody_bond", ("one", "two", "angle", "centre"))
        _output(w, state, f"bond{i}", f"bond_conv_layers.{i}")
    for i in range(N_CONV - 2):  # the last angle update reaches no output
        _gated(w, state, f"angle{i}", f"angle_layers.{i}.twoBody_bond", ("one", "two", "angle", "centre"))
    for i, layer in enumerate(shape.readout):
        w[f"read{i}"] = state[f"mlp.layers.{layer}.weight"].T
        w[f"read{i}.bias"] = state[f"mlp.layers.{layer}.bias"]
    return {name: value.detach().float().contiguous() for name, value in w.items()}


def _output(w: dict[str, Tensor], state: Mapping[str, Tensor], name: str, path: str) -> None:
    w[f"{name}.out"] = state[f"{path}.mlp_out.layers.1.weight"].T
    if f"{path}.mlp_out.layers.1.bias" in state:
        w[f"{name}.out.bias"] = state[f"{path}.mlp_out.layers.1.bias"]


def _gated(w: dict[str, Tensor], state: Mapping[str, Tensor], name: str, path: str, blocks: tuple[str, ...]) -> None:
    layer = 0 if f"{path}.mlp_core.layers.0.weight" in state else 1  # hidden layer, or none behind a dropout
    pair = [state[f"{path}.mlp_{branch}.layers.{layer}.weight"] for branch in ("core", "gate")]
    first = torch.cat(pair).T  # (64 * blocks, 128)
    for i, block in enumerate(blocks):
        w[f"{name}.{block}"] = first[64 * i : 64 * (i + 1)]
    w[f"{name}.bias"] = torch.cat([state[f"{path}.mlp_{b}.layers.{layer}.bias"] for b in ("core", "gate")])
    if layer == 0:
        for branch in ("core", "gate"):
            w[f"{name}.{branch}"] = state[f"{path}.mlp_{branch}.layers.3.weight"].T
            w[f"{name}.{branch}.bias"] = state[f"{path}.mlp_{branch}.layers.3.bias"]
    for branch, norm in (("core", "bn1"), ("gate", "bn2")):
        if f"{path}.{norm}.weight" not in state:
            continue
        w[f"{name}.{branch}.norm"] = torch.stack([state[f"{path}.{norm}.weight"], state[f"{path}.{norm}.bias"]])


def site_energies(w: Mapping[str, Tensor], g: CrystalGraph, vectors: Tensor, shape: Shape | None = None) -> Tensor:
    """Energy of every atom, eV, element reference included.

    Args:
        w: from `prepare_weights`.
        g: one graph or several collated.
        vectors: (n_bonds, 3) Å, the differentiable copy of ``g.vectors``.
        shape: of the checkpoint; default that of 0.3.0.

    Returns:
        (n_atoms,) eV.
    """
    shape = shape or Shape()
    n_bonds, n_short = len(g.first), g.n_short
    ends = torch.from_numpy(np.stack([g.first, g.second]))  # (2, bonds): centres of bonds and their reverses
    flipped = ends.flip(0)  # (2, bonds): the neighbours
    species = torch.from_numpy(g.species)

    length = vectors.norm(dim=1)  # (bonds,)
    basis = _bessel(length, w["freq_ag"], shape.cutoff, shape.envelope)  # (bonds, 31)
    bond, weight = linear(basis, w["bond_in"]).split(64, dim=1)  # (bonds, 64) each
    angles = _Angles(w, g, vectors[:n_short], length[:n_short], shape.envelope) if g.angle_centre.size else None

    atom = w["species"][species]  # (atoms, 64)
    for i in range(N_CONV):
        atom = _atom_conv(w, f"atom{i}", atom, bond, weight, ends, flipped)
        if angles is None or i == N_CONV - 1:
            continue
        short = angles.bond_conv(w, f"bond{i}", atom, bond[:n_short])
        bond = torch.cat([short, bond[n_short:]]) if n_short < n_bonds else short
        if f"bond{i}.out.bias" in w:
            bond = bond + angles.crystals[:, None] * w[f"bond{i}.out.bias"]
        if i < N_CONV - 2:
            angles.update(w, f"angle{i}", atom, bond[:n_short])
    x = F.layer_norm(atom, (64,), w["norm"][0], w["norm"][1]) if "norm" in w else atom  # (atoms, 64)
    last = len(shape.readout) - 1
    for i in range(last):
        x = F.silu(linear(x, w[f"read{i}"], w[f"read{i}.bias"]))
    return (x * w[f"read{last}"][:, 0]).sum(1) + w[f"read{last}.bias"] + w["reference"][species]


def _envelope(scaled: Tensor, p: int) -> Tensor:
    """Polynomial cutoff, 1 at 0 and 0 with two derivatives at 1 (Gasteiger et al., ICLR 2020, eq. 8)."""
    power = math.prod([scaled] * p)  # not **: its vectorised and its scalar kernel differ in the last bit
    value = 1 + power * (-(p + 1) * (p + 2) / 2 + scaled * (p * (p + 2) - scaled * (p * (p + 1) / 2)))
    return torch.where(scaled < 1, value, torch.zeros_like(scaled))


def _bessel(length: Tensor, freq: Tensor, cutoff: float, envelope: int) -> Tensor:
    """(bonds,) Å -> (bonds, 31) smoothed radial Bessel functions."""
    scaled = length / cutoff
    front = _envelope(scaled, envelope) * (math.sqrt(2 / cutoff) / length)
    return torch.sin(scaled[:, None] * freq) * front[:, None]


def _mix(w: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Normalise both branches of a gated MLP and multiply: (rows, 128) -> (rows, 64)."""
    return _gate(w, name, x[:, :64], x[:, 64:])


def _gate(w: Mapping[str, Tensor], name: str, core: Tensor, gate: Tensor) -> Tensor:
    if f"{name}.core.norm" not in w:
        return F.silu(core) * torch.sigmoid(gate)
    (core_scale, core_shift), (gate_scale, gate_shift) = w[f"{name}.core.norm"], w[f"{name}.gate.norm"]
    core = F.silu(F.layer_norm(core, (64,), core_scale, core_shift))
    return core * torch.sigmoid(F.layer_norm(gate, (64,), gate_scale, gate_shift))


def _hidden(w: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Second layer of a gated MLP and its gate: (rows, 128) pre-activations -> (rows, 64)."""
    x = F.silu(x)
    core = linear(x[:, :64], w[f"{name}.core"], w[f"{name}.core.bias"])
    gate = linear(x[:, 64:], w[f"{name}.gate"], w[f"{name}.gate.bias"])
    return _gate(w, name, core, gate)


def _atom_conv(
    w: Mapping[str, Tensor], name: str, atom: Tensor, bond: Tensor, weight: Tensor, ends: Tensor, flipped: Tensor
) -> Tensor:
    """Gather messages over directed bonds: (atoms, 64) -> (atoms, 64)."""
    n = ends.shape[1]
    centre = linear(atom, w[f"{name}.centre"], w[f"{name}.bias"])  # (atoms, 128)
    neighbour = linear(atom, w[f"{name}.neighbour"])  # (atoms, 128)
    along = linear(bond, w[f"{name}.bond"])  # (bonds, 128)
    x = centre.index_select(0, ends.view(-1)) + neighbour.index_select(0, flipped.view(-1))  # (2 bonds, 128)
    x = (x.view(2, n, 128) + along).view(2 * n, 128)
    message = (_hidden(w, name, x).view(2, n, 64) * weight).view(2 * n, 64)
    gathered = torch.zeros_like(atom).index_add(0, ends.view(-1), message)
    updated = atom + linear(gathered, w[f"{name}.out"])
    return updated + w[f"{name}.out.bias"] if f"{name}.out.bias" in w else updated


class _Angles:
    """Features of the angles, both orders of every pair of bonds, and the two layers that use them."""

    def __init__(
        self, w: Mapping[str, Tensor], g: CrystalGraph, vectors: Tensor, length: Tensor, envelope: int
    ) -> None:
        pair = torch.from_numpy(g.angle_bonds)  # (2, half)
        sign = torch.from_numpy(g.angle_signs).float()
        unit = vectors / length[:, None]  # (short, 3)
        cosine = (unit[pair[0]] * unit[pair[1]]).sum(1) * (sign[0] * sign[1]) * (1 - 1e-6)
        phase = torch.acos(cosine)[:, None] * w["freq_angle"]  # (half, 15)
        constant = phase.new_full((len(phase), 1), math.sqrt(0.5))
        basis = torch.cat([constant, torch.sin(phase), torch.cos(phase)], dim=1) / math.sqrt(math.pi)
        self.feature = linear(basis, w["angle_in"])  # (half, 64), the same for both orders until the first update
        self.one, self.two = pair.reshape(-1), pair.flip(0).reshape(-1)  # (angles,) = both orders
        self.centre = torch.from_numpy(g.angle_centre).repeat(2)
        self.weight = linear(_bessel(length, w["freq_bg"], BOND_CUTOFF, envelope), w["weight_bg"])  # (short, 64)
        if "bond0.out.bias" in w:  # (bonds,) 1 in crystals with angles: only there the bias reaches the bonds
            self.crystals = torch.from_numpy(np.isin(g.bond_owner, g.owner[g.angle_centre])).float()

    def _input(self, w: Mapping[str, Tensor], name: str, atom: Tensor, bond: Tensor) -> Tensor:
        centre = linear(atom, w[f"{name}.centre"], w[f"{name}.bias"])
        angle = linear(self.feature, w[f"{name}.angle"])
        if len(angle) < len(self.one):
            angle = angle.repeat(2, 1)
        one = linear(bond, w[f"{name}.one"]).index_select(0, self.one)
        two = linear(bond, w[f"{name}.two"]).index_select(0, self.two)
        return one + two + angle + centre.index_select(0, self.centre)  # (angles, 128)

    def bond_conv(self, w: Mapping[str, Tensor], name: str, atom: Tensor, bond: Tensor) -> Tensor:
        """(short, 64) -> (short, 64)."""
        message = _hidden(w, name, self._input(w, name, atom, bond))
        # the weight of the bond that receives the message is common to its sum
        message = message * self.weight.index_select(0, self.two)
        gathered = torch.zeros_like(bond).index_add(0, self.one, message) * self.weight
        return bond + linear(gathered, w[f"{name}.out"])

    def update(self, w: Mapping[str, Tensor], name: str, atom: Tensor, bond: Tensor) -> None:
        """Replace the angle features by their updated ones, (angles, 64)."""
        change = _mix(w, name, self._input(w, name, atom, bond))
        half = self.feature if len(self.feature) == len(change) else self.feature.repeat(2, 1)
        self.feature = half + change
