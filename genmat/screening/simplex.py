"""Least-energy mixtures by the simplex method, thousands of them in step.

The energy of the hull at a composition x is the linear programme min e.w over weights w >= 0 with A w = x, where the
columns of A (elements, phases) are the compositions of the phases and e their energies. All programmes of one number
of elements pivot together as arrays (revised primal simplex, Dantzig's rule; Dantzig, Linear Programming and
Extensions, 1963, ch. 9); the elements themselves are the first basis. What comes out is not believed but checked:
no phase lies below the plane of chemical potentials of the basis (dual feasible), and the weights are not negative
and give the composition (primal feasible). What fails the check goes to HiGHS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genmat.errors import GenmatError

OPTIMAL = 1e-10  # eV/atom below its plane before a phase enters the basis
FEASIBLE = 1e-9  # eV/atom a phase may lie below a plane, and the (negative) weight accepted as zero
PIVOT = 1e-9  # smaller ones make a basis singular
MAX_PIVOTS = 200


@dataclass(frozen=True)
class Columns:
    """The linear programme of a chemical system.

    Args:
        ids: (n,) numbers of the phases; the first d are the elements at 0 eV/atom.
        matrix: (d, n) atomic fractions.
        energies: (n,) eV/atom.
    """

    ids: np.ndarray
    matrix: np.ndarray
    energies: np.ndarray


@dataclass(frozen=True)
class Vertices:
    """Optimal bases: (Q, d) columns, (Q, d, d) inverses and (Q, d) planes in eV per atom; ``valid`` (Q,) if checked."""

    basis: np.ndarray
    inverse: np.ndarray
    planes: np.ndarray
    valid: np.ndarray


def runs(owner: np.ndarray) -> list[tuple[int, int, int]]:
    """(owner, from, to) for every run of equal owners."""
    if not len(owner):
        return []
    first = np.flatnonzero(np.diff(owner, prepend=owner[0] - 1))
    return list(zip(owner[first].tolist(), first.tolist(), [*first[1:].tolist(), len(owner)], strict=True))


def lowest_mixtures(systems: list[Columns], owner: np.ndarray, targets: np.ndarray) -> Vertices:
    """Optimal basis for every target.

    Args:
        systems: linear programmes, all of d elements.
        owner: (Q,) ascending, the system of each target.
        targets: (Q, d) atomic fractions, all positive.
    """
    basis = _pivot(systems, owner, targets)
    found = _finish(systems, owner, targets, basis)
    for i in np.flatnonzero(~found.valid).tolist():
        basis[i] = _highs(systems[owner[i]], targets[i], basis[i])
    if found.valid.all():
        return found
    return _finish(systems, owner, targets, basis)


def _pivot(systems: list[Columns], owner: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(Q, d) columns of the last basis of each programme."""
    n, d = targets.shape
    basis = np.tile(np.arange(d), (n, 1))
    inverse = np.tile(np.eye(d), (n, 1, 1))
    weights, costs = targets.copy(), np.zeros((n, d))
    alive = np.arange(n)  # programmes not at their optimum, whose arrays these are; results are written on leaving
    result = basis.copy()
    for _ in range(MAX_PIVOTS):
        planes = np.einsum("qi,qij->qj", costs, inverse)
        entering, below = _price(systems, owner[alive], planes)
        go = below < -OPTIMAL
        if not go.all():
            result[alive[~go]] = basis[~go]
            alive, basis, inverse, weights = alive[go], basis[go], inverse[go], weights[go]
            costs, entering = costs[go], entering[go]
        if not len(alive):
            return result
        column, cost = _columns(systems, owner[alive], entering)
        step = np.einsum("qij,qj->qi", inverse, column)
        ratio = np.divide(weights, step, out=np.full_like(weights, np.inf), where=step > PIVOT)
        leaving = (ratio - 1e-12 * step).argmin(axis=1)  # of equal ratios the larger pivot
        row = np.arange(len(alive))
        basis[row, leaving], costs[row, leaving] = entering, cost
        step_leaving = step[row, leaving]
        step[row, leaving] -= 1.0
        pivot_row = inverse[row, leaving] / step_leaving[:, None]
        pivot_weight = weights[row, leaving] / step_leaving
        inverse -= step[:, :, None] * pivot_row[:, None, :]
        weights -= step * pivot_weight[:, None]
    result[alive] = basis
    return result


def _price(systems: list[Columns], owner: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The phase lowest under each plane (Q, d), and how far it lies above it (negative: below), eV/atom."""
    entering, below = np.empty(len(owner), int), np.empty(len(owner))
    for system, a, b in runs(owner):
        columns = systems[system]
        reduced = columns.energies - planes[a:b] @ columns.matrix
        entering[a:b] = reduced.argmin(axis=1)
        below[a:b] = reduced.min(axis=1)
    return entering, below


def _columns(systems: list[Columns], owner: np.ndarray, entering: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compositions (Q, d) and energies (Q,) of one phase for each target."""
    spans = runs(owner)
    matrix = [systems[system].matrix[:, entering[a:b]] for system, a, b in spans]
    costs = [systems[system].energies[entering[a:b]] for system, a, b in spans]
    return np.concatenate(matrix, axis=1).T, np.concatenate(costs)


def invert(matrices: np.ndarray) -> np.ndarray:
    """Inverses of (Q, d, d) matrices; rows of NaN where there is none."""
    try:
        return np.linalg.inv(matrices)
    except np.linalg.LinAlgError:
        regular = np.abs(np.linalg.det(matrices)) > 0
        inverse = np.full_like(matrices, np.nan)
        inverse[regular] = np.linalg.inv(matrices[regular])
        return inverse


def _finish(systems: list[Columns], owner: np.ndarray, targets: np.ndarray, basis: np.ndarray) -> Vertices:
    """Bases with freshly computed inverses and planes, checked against all phases of their systems."""
    n, d = targets.shape
    column, cost = _columns(systems, np.repeat(owner, d), basis.ravel())
    matrices = column.reshape(n, d, d).transpose(0, 2, 1)
    inverse = invert(matrices)
    planes = np.einsum("qi,qij->qj", cost.reshape(n, d), inverse)
    weights = np.einsum("qij,qj->qi", inverse, targets)
    with np.errstate(invalid="ignore"):
        _, below = _price(systems, owner, planes)
        rest = np.abs(np.einsum("qij,qj->qi", matrices, weights) - targets).max(axis=1)
        valid = (below >= -FEASIBLE) & (weights.min(axis=1) >= -FEASIBLE) & (rest < FEASIBLE)
    return Vertices(basis, inverse, planes, valid)


def _highs(columns: Columns, target: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The (d,) columns of an optimal basis by scipy's HiGHS, completed where fewer phases mix."""
    from scipy.optimize import linprog

    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(
        columns.energies, A_eq=columns.matrix, b_eq=target, bounds=(0, None), method="highs-ds", options=tight
    )
    if found.status != 0:
        raise GenmatError(f"hull: {found.message}; report the composition")
    reduced = columns.energies - found.eqlin.marginals @ columns.matrix
    order = np.lexsort((reduced, -np.round(found.x, 9)))  # mixing phases, then those nearest to the plane
    chosen: list[int] = []
    for j in order.tolist():
        if np.linalg.matrix_rank(columns.matrix[:, [*chosen, j]], tol=PIVOT) > len(chosen):
            chosen.append(j)
        if len(chosen) == len(target):
            break
    return np.array(chosen)
