"""Cluster expansion of the energies of orderings (icet), cross-validated, and refused where it cannot be trusted.

Energies per primitive cell against cluster vectors, by ridge regression; ranges of pairs, triplets and quadruplets and
the strength of the ridge are those of the smallest leave-one-out error, which has a closed form. Needs the ``ce`` extra
(Angqvist et al., Adv. Theory Simul. 2, 1900015, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.errors import GenmatError
from genmat.screening.ordering.ensemble import Ensemble, Outcome, settled
from genmat.screening.ordering.enumerate import Ordering, cell_vectors
from genmat.screening.ordering.parent import VACANCY, Parent

if TYPE_CHECKING:
    from ase import Atoms

RANGES = ((1.2,), (1.6,), (1.6, 1.2), (1.85, 1.2), (2.1, 1.6), (1.85, 1.2, 1.2), (2.1, 1.6, 1.2))
"""Largest distance of pairs, triplets, quadruplets, in units of the nearest distance of shared sites."""
RIDGES = tuple(10.0**k for k in range(-6, 0))
FEWEST = 12  # orderings below which no expansion is tried
GHOST = "X"  # what icet calls a vacancy
EMPHASIS = 4.0  # weight of orderings of the composition itself: Monte Carlo visits no other
LEVEL = 2e-4  # eV per atom: orderings closer than this are not told apart


@dataclass(frozen=True)
class Expansion:
    """A cluster expansion, or why there is none.

    Attributes:
        n: orderings it was fitted to.
        parameters: of the fit.
        cutoffs: Å, of pairs, triplets, ….
        cv: eV/atom, root mean square leave-one-out error at the composition of the ensemble.
        gap: eV/atom, the ordering gap it has to resolve.
        refusal: why it must not be used; None when it may.
        model: icet's `ClusterExpansion` (eV per primitive cell and its number of sites).
    """

    n: int
    parameters: int
    cutoffs: tuple[float, ...]
    cv: float
    gap: float
    refusal: str | None
    model: Any = None


def expand(given: Ensemble, outcome: Outcome, orderings: Sequence[Ordering]) -> Expansion:
    """Fit the energies of an outcome; see `Expansion.refusal` before using it.

    Args:
        given: the ensemble whose gap and ground state the expansion must reproduce.
        outcome: energies of all of `orderings`; those that left the lattice are not used.
        orderings: of the ensemble and others.

    Raises:
        GenmatError: icet is not installed, or too few orderings have an energy.
    """
    icet = require_icet()
    energies = {c.id: c.results["energy_per_atom"] * len(c.structure) for c in outcome.candidates if settled(c)}
    used = [o for o in orderings if o.id in energies]
    if outcome.thermodynamics is None or len(used) < FEWEST:
        raise GenmatError(
            f"{len(used)} orderings with an energy: too few for an expansion; raise --max-atoms or --most"
        )
    crystals = [atoms_of(given.parent, o) for o in used]
    y = np.array([energies[o.id] / o.cells for o in used])
    target = {o.id for o in used if _alike(o, given)}
    members = np.array([o.id in target for o in used])
    weights = np.where(members, EMPHASIS, 1.0)
    per_atom = given.atoms / given.cells
    best: tuple[float, Any, np.ndarray, tuple[float, ...]] | None = None
    for ranges in RANGES:
        cutoffs = tuple(r * nearest(given.parent) for r in ranges)
        space = icet.ClusterSpace(primitive(given.parent), list(cutoffs), choices(given.parent))
        if len(space) > 0.7 * len(used):
            continue
        matrix = np.array([space.get_cluster_vector(crystal) for crystal in crystals])
        for ridge in RIDGES:
            parameters, left_out = ridge_fit(matrix, y, ridge, weights)
            error = float(np.sqrt(np.mean(left_out[members] ** 2))) / per_atom
            if best is None or error < best[0] * 0.98:  # a longer range has to earn its parameters
                best = (error, space, parameters, cutoffs)
    if best is None:
        raise GenmatError(f"{len(used)} orderings: too few for an expansion; raise --max-atoms or --most")
    error, space, parameters, cutoffs = best
    model = icet.ClusterExpansion(space, parameters / len(given.parent.coords))
    predicted = {o.id: space.get_cluster_vector(c) @ parameters for o, c in zip(used, crystals, strict=True)}
    gap = outcome.thermodynamics.gap
    refusal = _refusal(error, gap, {k: v for k, v in predicted.items() if k in target}, energies, used, per_atom)
    return Expansion(len(used), len(parameters), cutoffs, error, gap, refusal, model)


def _refusal(
    error: float,
    gap: float,
    predicted: dict[str, float],
    energies: dict[str, float],
    used: Sequence[Ordering],
    per_atom: float,
) -> str | None:
    """Why an expansion with these predictions (eV per primitive cell) must not be used."""
    if error > gap:
        return f"leave-one-out error of {1000 * error:.1f} meV/atom exceeds the ordering gap of {1000 * gap:.1f}"
    cells = {o.id: o.cells for o in used}
    true = {name: energies[name] / cells[name] / per_atom for name in predicted}
    chosen, lowest = min(predicted, key=predicted.__getitem__), min(true, key=true.__getitem__)
    if true[chosen] - true[lowest] > LEVEL:
        return (
            f"it prefers {chosen} to the potential's ground state {lowest}, "
            f"{1000 * (true[chosen] - true[lowest]):.1f} meV/atom lower"
        )
    return None


def _alike(ordering: Ordering, given: Ensemble) -> bool:
    """Whether an ordering has the composition of the ensemble, sublattice by sublattice."""
    return all(
        n * given.cells == m * ordering.cells
        for held, wanted in zip(ordering.counts, given.counts, strict=True)
        for n, m in zip(held, wanted, strict=True)
    )


def ridge_fit(
    matrix: np.ndarray, y: np.ndarray, ridge: float, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression with an unpenalised constant (the first column).

    Args:
        matrix: (n, p) cluster vectors, first column one.
        y: (n,).
        ridge: penalty per row, in units of the columns' mean square.
        weights: (n,) of the rows' squared errors; all alike when None.

    Returns:
        parameters (p,), leave-one-out residuals (n,): residual / (1 - leverage).
    """
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    scale = np.sqrt(np.average((matrix - np.average(matrix, axis=0, weights=w)) ** 2, axis=0, weights=w)) + 1e-12
    scale[0] = 1.0
    x = matrix / scale
    penalty = ridge * w.sum() * np.eye(x.shape[1])
    penalty[0, 0] = 0.0
    solved = np.linalg.solve(x.T @ (w[:, None] * x) + penalty, x.T * w)
    inner = solved @ y
    leverage = np.einsum("ij,ji->i", x, solved)
    return inner / scale, (y - x @ inner) / np.maximum(1 - leverage, 1e-6)


def primitive(parent: Parent) -> Atoms:
    """The parent's primitive cell, the first species on every site."""
    from ase import Atoms

    symbols = [_name(parent.species(i)[0]) for i in range(len(parent.coords))]
    return Atoms(symbols, scaled_positions=parent.coords, cell=parent.matrix, pbc=True)


def choices(parent: Parent) -> list[list[str]]:
    """Who may sit on each site of `primitive`."""
    return [[_name(s) for s in parent.species(i)] for i in range(len(parent.coords))]


def atoms_of(parent: Parent, ordering: Ordering) -> Atoms:
    """An ordering on the undistorted parent, vacancies included."""
    from ase import Atoms

    shifts, active = cell_vectors(ordering.superlattice), {int(site): k for k, site in enumerate(parent.active)}
    symbols, coords = [], []
    for site, place in enumerate(parent.coords):
        for index, shift in enumerate(shifts):
            colour = ordering.colours[active[site] * ordering.cells + index] if site in active else 0
            symbols.append(_name(parent.species(site)[colour]))
            coords.append((place + shift) @ np.linalg.inv(ordering.superlattice))
    return Atoms(symbols, scaled_positions=coords, cell=ordering.superlattice @ parent.matrix, pbc=True)


def nearest(parent: Parent) -> float:
    """Å, shortest distance between shared sites."""
    sites = parent.coords[parent.active]
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    gaps = (sites[:, None, None] - sites[None, :, None] + shifts) @ parent.matrix
    lengths = np.linalg.norm(gaps, axis=-1)
    return float(lengths[lengths > 1e-3].min())


def _name(species: str) -> str:
    return GHOST if species == VACANCY else species


def require_icet() -> Any:
    """The icet package.

    Raises:
        GenmatError: it is not installed.
    """
    try:
        import icet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise GenmatError(
            "--transition: icet is not installed; run `pip install genmat[ce]` (it needs a C++ compiler)"
        ) from None
    return icet
