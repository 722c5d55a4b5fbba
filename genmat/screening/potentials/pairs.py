"""Graphs of directed bonds and the driver shared by potentials whose energy is a function of bond vectors.

An undirected bond is kept once, as the vector from its second atom to its first. The directed bonds of a batch are
laid out as (2, n_bonds): row 0 runs second -> first along the vector, row 1 runs first -> second against it. In a batch
the bonds of a crystal keep their order, so that its sums, and every bit of its result, do not depend on its company.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from genmat.errors import GenmatError
from genmat.screening.potentials.base import Evaluation
from genmat.screening.potentials.neighbours import half_list

if TYPE_CHECKING:
    from pymatgen.core import Structure

FEW_ROWS = 4  # matrix products of fewer rows take another path in the library, and round differently
SHORTEST = 1e-3  # Å: atoms nearer than this have no direction between them


@dataclass(frozen=True)
class PairGraph:
    """Bonds of one crystal or of several side by side; bonds below the inner cutoff come first.

    Args:
        species: (n_atoms,) row of the element in the model's table.
        owner: (n_atoms,) crystal an atom belongs to.
        n_atoms: (n_crystals,).
        first, second: (n_bonds,) atoms of each undirected bond.
        vectors: (n_bonds, 3) position(first) - position(second), Å, float64.
        n_short: number of bonds up to the inner cutoff.
        orbit: (n_atoms,) atoms with the same number are equivalent by symmetry; one of each orbit is evaluated.
    """

    species: np.ndarray
    owner: np.ndarray
    n_atoms: np.ndarray
    first: np.ndarray
    second: np.ndarray
    vectors: np.ndarray
    n_short: int
    orbit: np.ndarray

    @cached_property
    def sites(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First atom of each orbit, row of every atom's orbit among them, and atoms in each orbit."""
        return np.unique(self.orbit, return_index=True, return_inverse=True, return_counts=True)[1:]


class PairModel(Protocol):
    """What `evaluate_pairs` drives."""

    name: str
    cutoff: float  # Å
    inner_cutoff: float  # Å
    rows: Mapping[int, int]  # atomic number -> row of the model's element table
    device: torch.device
    batch_atoms: int

    def site_energies(self, graph: PairGraph, vectors: torch.Tensor) -> torch.Tensor:
        """(n_bonds, 3) Å on the device -> (n_sites,) eV."""
        ...


def pair_graph(structure: Structure, model: PairModel, orbit: np.ndarray | None = None) -> PairGraph:
    """The bonds of one crystal, whose atoms are all different unless orbits are given.

    Raises:
        GenmatError: disordered sites, elements the model does not know, coordinates that are no numbers.
    """
    try:
        numbers = [site.specie.Z for site in structure]
    except AttributeError:
        raise GenmatError(f"{structure.formula}: disordered sites have no energy; order the structure") from None
    if strange := sorted({z for z in numbers if z not in model.rows}):
        raise GenmatError(f"{structure.formula}: {model.name} does not know Z = {strange[0]}; leave the element out")
    positions, lattice = structure.cart_coords, structure.lattice.matrix
    if not (np.isfinite(positions).all() and np.isfinite(lattice).all()):
        raise GenmatError(f"{structure.formula}: coordinates are no numbers; check the structure")
    bonds = half_list(positions, lattice, model.cutoff)
    vectors = positions[bonds.first] - positions[bonds.second] - bonds.image @ lattice
    squared = np.einsum("ij,ij->i", vectors, vectors)
    if squared.min(initial=np.inf) < SHORTEST**2:
        raise GenmatError(f"{structure.formula}: atoms on top of each other; remove one of them")
    short = np.flatnonzero(squared <= model.inner_cutoff**2)
    order = np.concatenate([short, np.flatnonzero(squared > model.inner_cutoff**2)])
    return PairGraph(
        species=np.array([model.rows[z] for z in numbers]),
        owner=np.zeros(len(numbers), dtype=np.int64),
        n_atoms=np.array([len(numbers)]),
        first=bonds.first[order],
        second=bonds.second[order],
        vectors=vectors[order],
        n_short=len(short),
        orbit=np.arange(len(numbers)) if orbit is None else np.unique(orbit, return_inverse=True)[1],
    )


def collate_pairs(graphs: Sequence[PairGraph]) -> PairGraph:
    """Put several graphs side by side; the short bonds of all come first."""
    if len(graphs) == 1:
        return graphs[0]
    atoms = np.array([len(g.species) for g in graphs])
    offset = np.cumsum(atoms) - atoms

    def bonds(values: list[np.ndarray]) -> np.ndarray:
        heads = [v[: g.n_short] for v, g in zip(values, graphs, strict=True)]
        tails = [v[g.n_short :] for v, g in zip(values, graphs, strict=True)]
        return np.concatenate(heads + tails)

    return PairGraph(
        species=np.concatenate([g.species for g in graphs]),
        owner=np.repeat(np.arange(len(graphs)), atoms),
        n_atoms=atoms,
        first=bonds([g.first + o for g, o in zip(graphs, offset, strict=True)]),
        second=bonds([g.second + o for g, o in zip(graphs, offset, strict=True)]),
        vectors=bonds([g.vectors for g in graphs]),
        n_short=sum(g.n_short for g in graphs),
        orbit=np.concatenate([g.orbit + o for g, o in zip(graphs, offset, strict=True)]),
    )


def evaluate_pairs(
    model: PairModel,
    structures: Sequence[Structure],
    gradients: bool,
    orbits: Sequence[np.ndarray | None] | None = None,
) -> Evaluation:
    """Evaluate crystals in batches of about ``model.batch_atoms`` sites: eV, eV/Å, eV/Å³.

    Args:
        model: gives the energy of each site.
        structures: ordered crystals.
        gradients: False leaves forces and stresses out.
        orbits: per crystal (n_atoms,) labels of equivalent atoms; one atom of each orbit is evaluated and counted as
            often as it occurs. Energies are the same; the slopes are those of this shorter sum, right along every
            displacement and strain that keeps the symmetry, so they must be projected on those.
    """
    given = orbits if orbits is not None else [None] * len(structures)
    graphs = [pair_graph(s, model, o) for s, o in zip(structures, given, strict=True)]
    energies = np.zeros(len(graphs))
    forces: list[np.ndarray] = []
    stresses = np.zeros((len(graphs) if gradients else 0, 3, 3))
    done = 0
    for batch in _batches(graphs, model.batch_atoms):
        span = slice(done, done + len(batch))
        energies[span], force, virial = _evaluate_batch(model, collate_pairs(batch), gradients)
        if gradients:
            volumes = np.array([s.volume for s in structures[span]])
            forces.extend(force)
            stresses[span] = virial / volumes[:, None, None]
        done += len(batch)
    return Evaluation(energies, forces, stresses)


def _evaluate_batch(
    model: PairModel, graph: PairGraph, gradients: bool
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """(crystals,) eV, forces, (crystals, 3, 3) dE/dstrain in eV."""
    with one_thread(), torch.set_grad_enabled(gradients):
        vectors = torch.tensor(graph.vectors, dtype=torch.float32, device=model.device, requires_grad=gradients)
        first, _, times = graph.sites
        site = model.site_energies(graph, vectors) * torch.from_numpy(times).to(vectors)
        slope = None
        if gradients and len(vectors):
            slope = torch.autograd.grad(site.sum(), vectors)[0].double().cpu().numpy()
    n = len(graph.n_atoms)
    energies = np.bincount(graph.owner[first], site.detach().double().cpu().numpy(), minlength=n)
    if not gradients:
        return energies, [], np.zeros((0, 3, 3))
    force = np.zeros((len(graph.species), 3))
    virial = np.zeros((n, 3, 3))
    if slope is not None:
        owner = graph.owner[graph.first]
        for axis in range(3):  # a bond vector is position(first) - position(second)
            force[:, axis] -= np.bincount(graph.first, slope[:, axis], minlength=len(force))
            force[:, axis] += np.bincount(graph.second, slope[:, axis], minlength=len(force))
        for a in range(3):
            for b in range(3):
                virial[:, a, b] = np.bincount(owner, graph.vectors[:, a] * slope[:, b], minlength=n)
    virial = (virial + virial.transpose(0, 2, 1)) / 2
    return energies, np.split(force, np.cumsum(graph.n_atoms)[:-1]), virial


def _batches(graphs: list[PairGraph], most_atoms: int) -> Iterator[list[PairGraph]]:
    batch: list[PairGraph] = []
    size = 0
    for graph in graphs:
        sites = len(graph.sites[0])
        if batch and size + sites > most_atoms:
            yield batch
            batch, size = [], 0
        batch.append(graph)
        size += sites
    if batch:
        yield batch


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """(rows, in) @ (in, out) + (out,); on a CPU every row is the same, bit for bit, whatever the number of rows."""
    rows = len(x)
    if rows < FEW_ROWS:
        x = torch.nn.functional.pad(x, (0, 0, 0, FEW_ROWS - rows))
    made = x @ weight if bias is None else torch.addmm(bias, x, weight)
    return made[:rows] if rows < FEW_ROWS else made


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: several make these small kernels slower, and results must not depend on the machine's load."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device() -> torch.device:
    """The first GPU where torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
