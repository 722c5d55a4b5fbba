"""The forward pass of TensorNet, rewritten for speed on a CPU.

Same weights, same function as ``matgl.models.TensorNet`` (Simeon, De Fabritiis, NeurIPS 2023; matgl's adaptation),
rearranged:

- the filters of an interaction layer depend on the bond length alone: they are tabulated once and read off with cubic
  Hermite interpolation, whose error is below the rounding of single precision;
- a tensor is kept as its scalar, its axial vector and its five traceless symmetric components (9 numbers) instead of
  three 3 x 3 matrices (27), so messages over bonds cost a third;
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

from genmat.screening.potentials.m3gnet_model import smooth_bessel_mix
from genmat.screening.potentials.pairs import PairGraph

KNOTS = 1024  # of the tabulated filters: error 1e-8 of their size
PARTS = (1, 3, 5)  # components of scalar, axial vector, traceless symmetric tensor


def _split_matrix() -> np.ndarray:
    """(9, 9): row-major 3 x 3 tensor -> scalar, axial vector (x, y, z), symmetric (xx, yy, xy, xz, yz)."""
    m = np.zeros((9, 9))
    m[0, [0, 4, 8]] = 1 / 3
    for row, (plus, minus) in enumerate(((7, 5), (2, 6), (3, 1)), start=1):
        m[row, plus], m[row, minus] = 0.5, -0.5
    m[4, 0] = m[5, 4] = 1.0
    m[4:6] -= m[0]
    for row, pair in enumerate(((1, 3), (2, 6), (5, 7)), start=6):
        m[row, list(pair)] = 0.5
    return m


def prepare_weights(state: Mapping[str, Tensor], options: Mapping[str, Any], target: bool) -> dict[str, Any]:
    """Regroup a state dict and tabulate the filters.

    Args:
        state: of the matgl `Potential` (keys begin with ``model.``).
        options: ``init_args`` of the model: cutoff (Å), max_n, nblocks, units, group.
        target: trained where messages are summed at the end of a bond (before matgl 3). Seen from the other end the
            two atoms of a pair change places and the axial part, odd in the bond vector, its sign.
    """
    units, n = options["units"], options["nblocks"]
    e = "model.tensor_embedding"
    pair = state[f"{e}.emb2.weight"].T  # (2 units, units): atom that receives, its neighbour
    here, there = (pair[units:], pair[:units]) if target else (pair[:units], pair[units:])
    sign = -1.0 if target else 1.0
    species = state[f"{e}.emb.weight"]
    split = torch.from_numpy(_split_matrix()).float()
    w: dict[str, Any] = {
        "units": units,
        "n_blocks": n,
        "cutoff": float(options["cutoff"]),
        "mix": torch.from_numpy(smooth_bessel_mix(options["max_n"], float(options["cutoff"]))),
        "split": split,
        "join": torch.linalg.inv(split.double()),
        "here": species @ here + state[f"{e}.emb2.bias"],  # (elements, units)
        "there": species @ there,
        "distance": torch.cat(
            [s * state[f"{e}.distance_proj{i}.weight"].T for i, s in ((1, 1.0), (2, sign), (3, 1.0))], dim=1
        ),  # (max_n, 3 units)
        "distance.bias": torch.cat(
            [s * state[f"{e}.distance_proj{i}.bias"] for i, s in ((1, 1.0), (2, sign), (3, 1.0))]
        ),
        "norm": torch.stack([state[f"{e}.init_norm.weight"], state[f"{e}.init_norm.bias"]]),
        "scalar0": state[f"{e}.linears_scalar.0.weight"].T,
        "scalar0.bias": state[f"{e}.linears_scalar.0.bias"],
        "scalar1": _by_part(state[f"{e}.linears_scalar.1.weight"]).T,
        "scalar1.bias": _by_part(state[f"{e}.linears_scalar.1.bias"]),
        "out_norm": torch.stack([state["model.out_norm.weight"], state["model.out_norm.bias"]]),
        "linear": state["model.linear.weight"].T,
        "linear.bias": state["model.linear.bias"],
        "reference": state["element_refs.property_offset"],  # (elements,) eV
        "scale": state["data_std"],
    }
    for part in range(3):
        w[f"embed.{part}"] = state[f"{e}.linears_tensor.{part}.weight"].T
    for i in range(n):
        for k in range(6):
            w[f"layer{i}.{k}"] = state[f"model.layers.{i}.linears_tensor.{k}.weight"].T
    for layer in range(4):
        for branch in ("layers", "gates"):
            w[f"read{layer}.{branch}"] = state[f"model.final_layer.gated.{branch}.{2 * layer}.weight"].T
            w[f"read{layer}.{branch}.bias"] = state[f"model.final_layer.gated.{branch}.{2 * layer}.bias"]
    w["filters"] = _tabulate(state, n, w["mix"], w["cutoff"])  # (knots - 1, 4, blocks * 3 * units)
    return {k: v.detach().float().contiguous() if isinstance(v, Tensor) else v for k, v in w.items()}


def _by_part(values: Tensor) -> Tensor:
    """matgl orders (unit, part); here (part, unit)."""
    return values.unflatten(0, (-1, 3)).transpose(0, 1).flatten(0, 1)


def _tabulate(state: Mapping[str, Tensor], n_blocks: int, mix: Tensor, cutoff: float) -> Tensor:
    """Filters of all layers as power series around each knot but the last: (knots - 1, 4, values).

    The cubic through value and slope at both ends of an interval, in powers of the position 0 … 1 within it.
    """
    r = torch.linspace(0, cutoff, KNOTS, dtype=torch.float64)

    def filters(r: Tensor) -> Tensor:
        k = torch.arange(1, len(mix) + 1, dtype=torch.float64) / cutoff
        radial = torch.sinc(r[:, None] * k) @ mix.double()  # (knots, max_n)
        envelope = 0.5 * (torch.cos(math.pi * r / cutoff) + 1)
        made = []
        for i in range(n_blocks):
            x = radial
            for layer in range(3):
                path = f"model.layers.{i}.linears_scalar.{layer}"
                weight, bias = state[f"{path}.weight"].double(), state[f"{path}.bias"].double()
                if layer == 2:
                    weight, bias = _by_part(weight), _by_part(bias)
                x = F.silu(F.linear(x, weight, bias))
            made.append(x * envelope[:, None])
        return torch.cat(made, dim=1)

    made = torch.func.jvp(filters, (r,), (torch.full_like(r, cutoff / (KNOTS - 1)),))
    value, slope = made[0], made[1]
    f0, f1, d0, d1 = value[:-1], value[1:], slope[:-1], slope[1:]
    return torch.stack([f0, d0, 3 * (f1 - f0) - 2 * d0 - d1, 2 * (f0 - f1) + d0 + d1], dim=1)


def site_energies(w: Mapping[str, Any], g: PairGraph, vectors: Tensor) -> Tensor:
    """Energy of every atom, eV, element reference included.

    Args:
        w: from `prepare_weights`.
        g: one graph or several collated.
        vectors: (n_bonds, 3) Å, the differentiable copy of ``g.vectors``.

    Returns:
        (n_atoms,) eV.
    """
    device = vectors.device
    half = torch.from_numpy(np.stack([g.second, g.first])).to(device)  # (2, bonds): where directed bonds start
    start, end = half.reshape(-1), half.flip(0).reshape(-1)  # (2 bonds,)
    species = torch.from_numpy(g.species).to(device)
    length = vectors.norm(dim=1)  # (bonds,)

    x = _embedding(w, species, vectors / length[:, None], length, start, end)  # (atoms, 9, units) row-major 3 x 3
    filters = _read_filters(w, length)  # (bonds, blocks, 3, units)
    for i in range(w["n_blocks"]):
        x = _interaction(w, f"layer{i}", x, filters[:, i], start, end)
    parts = w["split"] @ x  # (atoms, 9, units)
    scalar = torch.cat([3 * parts[:, 0] ** 2, *_norms(parts)], dim=1)  # (atoms, 3 units)
    scalar = F.layer_norm(scalar, scalar.shape[1:], w["out_norm"][0], w["out_norm"][1])
    core = gate = torch.addmm(w["linear.bias"], scalar, w["linear"])  # (atoms, units)
    for layer in range(4):
        core = torch.addmm(w[f"read{layer}.layers.bias"], core, w[f"read{layer}.layers"])
        gate = torch.addmm(w[f"read{layer}.gates.bias"], gate, w[f"read{layer}.gates"])
        if layer < 3:
            core, gate = F.silu(core), F.silu(gate)
    return (core * torch.sigmoid(gate))[:, 0] * w["scale"] + w["reference"][species]


def _norms(parts: Tensor) -> tuple[Tensor, Tensor]:
    """Squared Frobenius norms of the antisymmetric and the traceless symmetric part, (atoms, units) each."""
    xx, yy = parts[:, 4], parts[:, 5]
    axial = 2 * (parts[:, 1:4] ** 2).sum(1)
    return axial, 2 * (xx * xx + yy * yy + xx * yy + (parts[:, 6:] ** 2).sum(1))


def _read_filters(w: Mapping[str, Any], length: Tensor) -> Tensor:
    """(bonds,) Å -> (bonds, blocks, 3, units)."""
    scaled = length * ((KNOTS - 1) / w["cutoff"])
    knot = scaled.detach().long().clamp(0, KNOTS - 2)
    t = (scaled - knot)[:, None]
    powers = torch.cat([torch.ones_like(t), t, t * t, t**3], dim=1)  # (bonds, 4)
    read = torch.bmm(powers[:, None], w["filters"].index_select(0, knot))
    return read.view(-1, w["n_blocks"], 3, w["units"])


def _embedding(
    w: Mapping[str, Any], species: Tensor, unit: Tensor, length: Tensor, start: Tensor, end: Tensor
) -> Tensor:
    """(atoms, 9, units) tensors from the neighbours' elements, distances and directions."""
    units = w["units"]
    k = torch.arange(1, len(w["mix"]) + 1, device=length.device, dtype=length.dtype) * (math.pi / w["cutoff"])
    phase = length[:, None] * k
    radial = (torch.sin(phase) / phase) @ w["mix"]  # (bonds, max_n)
    envelope = (0.5 * (torch.cos(math.pi / w["cutoff"] * length) + 1))[:, None]
    distance = torch.addmm(w["distance.bias"], radial, w["distance"]) * envelope  # (bonds, 3 units)
    pair = w["here"][species].index_select(0, start) + w["there"][species].index_select(0, end)  # (2 bonds, units)
    message = pair.view(2, -1, 1, units) * distance.view(-1, 3, units)  # (2, bonds, 3, units)
    ux, uy, uz = unit.unbind(1)
    even = torch.stack([ux * ux - 1 / 3, uy * uy - 1 / 3, ux * uy, ux * uz, uy * uz], dim=1)  # (bonds, 5)
    odd = torch.stack([unit, -unit])[..., None]  # (2, bonds, 3, 1)
    made = torch.cat(
        [message[:, :, :1], message[:, :, 1:2] * odd, message[:, :, 2:] * even[..., None]], dim=2
    )  # (2, bonds, 9, units)
    parts = made.new_zeros(len(species), 9, units).index_add(0, start, made.view(-1, 9, units))
    norm = ((w["join"] @ parts) ** 2).sum(1)  # (atoms, units)
    norm = F.layer_norm(norm, (units,), w["norm"][0], w["norm"][1])
    for i in range(2):
        norm = F.silu(torch.addmm(w[f"scalar{i}.bias"], norm, w[f"scalar{i}"]))
    gates = norm.view(-1, 3, units)
    return w["join"] @ torch.cat([gates[:, i : i + 1] * p for i, p in enumerate(_linear(w, "embed", 0, parts))], dim=1)


def _linear(w: Mapping[str, Any], name: str, first: int, parts: Tensor) -> list[Tensor]:
    """Mix units within scalar, axial and symmetric part: (atoms, 9, units) -> (atoms, 1 | 3 | 5, units)."""
    return [p @ w[f"{name}.{first + i}"] for i, p in enumerate(parts.split(PARTS, dim=1))]


def _interaction(w: Mapping[str, Any], name: str, x: Tensor, filters: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """One layer, (atoms, 9, units) -> (atoms, 9, units); filters (bonds, 3, units)."""
    x = x / ((x * x).sum(1, keepdim=True) + 1)
    parts = torch.cat(_linear(w, name, 0, w["split"] @ x), dim=1)
    along = parts.index_select(0, end).view(2, -1, 9, w["units"])  # (2, bonds, 9, units)
    weighted = [p * filters[:, i : i + 1] for i, p in enumerate(along.split(PARTS, dim=2))]
    message = torch.zeros_like(parts).index_add(0, start, torch.cat(weighted, dim=2).view(-1, 9, w["units"]))
    both = w["join"] @ torch.stack([parts, message])  # (2, atoms, 9, units)
    product = _times(both[0], both[1]) + _times(both[1], both[0])
    product = (w["split"] @ product) / ((product * product).sum(1, keepdim=True) + 1)
    change = w["join"] @ torch.cat(_linear(w, name, 3, product), dim=1)
    return x + change + _times(change, change)


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Product of 3 x 3 tensors, unit by unit: (atoms, 9, units)."""
    a, b = a.unflatten(1, (3, 3)), b.unflatten(1, (3, 3))
    return (a[:, :, :, None] * b[:, None]).sum(2).flatten(1, 2)
