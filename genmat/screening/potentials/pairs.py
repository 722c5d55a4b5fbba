"""Graphs of directed bonds and the driver shared by potentials whose energy is a function of bond vectors.

An undirected bond is kept once, as the vector from its second atom to its first. The directed bonds of a batch are
laid out as (2, n_bonds): row 0 runs second -> first along the vector, row 1 runs first -> second against it. In a batch
the bonds of a crystal keep their order, so that its sums, and every bit of its result, do not depend on its company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from genmat.errors import GenmatError
from genmat.screening.potentials.base import Evaluation
from genmat.screening.potentials.engine import Part, evaluate_batch, evaluate_in_batches
from genmat.screening.potentials.neighbours import half_list, join_bonds

if TYPE_CHECKING:
    from pymatgen.core import Structure

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
        return join_bonds(values, [g.n_short for g in graphs])

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

    def evaluate(batch: list[PairGraph]) -> Part:
        graph = collate_pairs(batch)
        first, _, times = graph.sites

        def energies(vectors: torch.Tensor) -> torch.Tensor:
            return model.site_energies(graph, vectors) * torch.from_numpy(times).to(vectors)

        return evaluate_batch(graph, first, energies, model.device, gradients)

    return evaluate_in_batches(structures, graphs, lambda g: len(g.sites[0]), model.batch_atoms, evaluate, gradients)
