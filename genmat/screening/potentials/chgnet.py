"""CHGNet 0.3.0 from the weights inside the `chgnet` package, evaluated by a lean batched engine.

CHGNet energies are on the Materials Project scale: PBE/PBE+U with the MP2020 corrections already learnt
(Deng et al., Nat. Mach. Intell. 5, 1031, 2023). They are never corrected a second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from genmat.errors import GenmatError
from genmat.screening.potentials.base import Evaluation, PotentialInfo
from genmat.screening.potentials.chgnet_model import prepare_weights, site_energies
from genmat.screening.potentials.neighbours import CrystalGraph, collate, crystal_graph, half_list

if TYPE_CHECKING:
    from pymatgen.core import Structure

WEIGHTS = Path("pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar")
SHA256 = "d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1"
BATCH_ATOMS = 128  # larger batches leave the cache and are slower on a CPU

# MPtrj holds 89 elements: no Po, At, Rn, Fr, Ra (Deng et al. 2023, fig. 3)
_UNSEEN = {"Po", "At", "Rn", "Fr", "Ra"}

# eV/atom, `chgnet.model.CHGNet.predict_structure` of chgnet 0.4.2 on the built-in crystals
GOLDEN = {"NaCl": -3.668, "Si": -5.3138, "Fe": -8.3565, "SrTiO3": -8.4236, "LiFePO4": -7.5252, "MoS2": -7.5284}


class CHGNetPotential:
    """Energies, forces and stresses of CHGNet 0.3.0, equal to ``chgnet``'s own to rounding."""

    def __init__(self) -> None:
        from pymatgen.core.periodic_table import Element

        self._weights = _load_weights()
        self.info = PotentialInfo(
            name="chgnet",
            version="0.3.0",
            functional="PBE/PBE+U with MP2020 corrections",
            licence="BSD-3-Clause (modified)",
            elements=frozenset(Element.from_Z(z).symbol for z in range(1, 95)) - _UNSEEN,
            stress_unit="GPa",
            golden=GOLDEN,
        )

    def evaluate(self, structures: Sequence[Structure], *, gradients: bool = True) -> Evaluation:
        """Evaluate crystals in batches of about 128 atoms.

        Args:
            structures: ordered crystals of any size.
            gradients: False returns energies alone, at less than half the cost.

        Returns:
            `Evaluation` in eV, eV/Å, eV/Å³.

        Raises:
            GenmatError: a species is disordered or beyond Z = 94.
        """
        graphs = [_graph(s) for s in structures]
        energies = np.zeros(len(graphs))
        forces: list[np.ndarray] = []
        stresses = np.zeros((len(graphs) if gradients else 0, 3, 3))
        done = 0
        for batch in _batches(graphs):
            part = _evaluate_batch(self._weights, collate(batch), gradients)
            span = slice(done, done + len(batch))
            energies[span] = part[0]
            if gradients:
                volumes = np.array([s.volume for s in structures[span]])
                forces.extend(part[1])
                stresses[span] = part[2] / volumes[:, None, None]
            done += len(batch)
        return Evaluation(energies, forces, stresses)


def _evaluate_batch(
    weights: dict[str, torch.Tensor], graph: CrystalGraph, gradients: bool
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """(crystals,) eV, forces, (crystals, 3, 3) dE/dstrain in eV."""
    with _one_thread(), torch.set_grad_enabled(gradients):
        vectors = torch.tensor(graph.vectors, dtype=torch.float32, requires_grad=gradients)
        site = site_energies(weights, graph, vectors)
        slope = torch.autograd.grad(site.sum(), vectors)[0].double().numpy() if gradients and len(vectors) else None
    n = len(graph.n_atoms)
    energies = np.bincount(graph.owner, site.detach().double().numpy(), minlength=n)
    if not gradients:
        return energies, [], np.zeros((0, 3, 3))
    force = np.zeros((len(graph.species), 3))
    virial = np.zeros((n, 3, 3))
    if slope is not None:
        for axis in range(3):  # a bond vector is position(first) - position(second)
            force[:, axis] -= np.bincount(graph.first, slope[:, axis], minlength=len(force))
            force[:, axis] += np.bincount(graph.second, slope[:, axis], minlength=len(force))
        for a in range(3):
            for b in range(3):
                virial[:, a, b] = np.bincount(graph.bond_owner, graph.vectors[:, a] * slope[:, b], minlength=n)
    virial = (virial + virial.transpose(0, 2, 1)) / 2
    return energies, np.split(force, np.cumsum(graph.n_atoms)[:-1]), virial


def _graph(structure: Structure) -> CrystalGraph:
    try:
        numbers = np.array([site.specie.Z for site in structure])
    except AttributeError:
        raise GenmatError(f"{structure.formula}: disordered sites have no CHGNet energy; order the structure") from None
    if numbers.max(initial=0) > 94:
        raise GenmatError(f"{structure.formula}: CHGNet knows elements up to Pu; remove the structure")
    positions, lattice = structure.cart_coords, structure.lattice.matrix
    return crystal_graph(numbers, positions, lattice, half_list(positions, lattice))


def _batches(graphs: list[CrystalGraph]) -> Iterator[list[CrystalGraph]]:
    batch: list[CrystalGraph] = []
    size = 0
    for graph in graphs:
        if batch and size + len(graph.species) > BATCH_ATOMS:
            yield batch
            batch, size = [], 0
        batch.append(graph)
        size += len(graph.species)
    if batch:
        yield batch


@lru_cache(maxsize=1)
def _load_weights() -> dict[str, torch.Tensor]:
    """The wheel's own checkpoint, refused unless its hash is the known one."""
    spec = find_spec("chgnet")
    if spec is None or not spec.submodule_search_locations:
        raise GenmatError("chgnet: the package is not installed; run `pip install chgnet`")
    path = Path(next(iter(spec.submodule_search_locations))) / WEIGHTS
    if not path.is_file():
        raise GenmatError(f"{path.name}: missing from the chgnet package; install chgnet>=0.3.8,<0.5")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise GenmatError(f"{path.name}: not the published CHGNet 0.3.0 weights; reinstall chgnet")
    state = torch.load(path, map_location="cpu", weights_only=True)["model"]["state_dict"]
    return prepare_weights(state)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread: several make these small kernels slower, and results must not depend on the machine's load."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
