"""Minimise the energy of a crystal over positions and cell, inside the subspace its symmetry leaves free.

A trust-region quasi-Newton method (damped BFGS: Nocedal & Wright, Numerical Optimization, ch. 4 and 18) started from a
model Hessian of springs between neighbours, exponentially softer with distance (the preconditioner of Packwood et al.,
J. Chem. Phys. 144, 164109, 2016, extended to strain). It needs a fraction of the steps of FIRE, and almost all of the
time of a relaxation is spent in the potential.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genmat.screening.flight import Point, RelaxationError, fly

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

SPRING = 6.0  # eV/Å² between nearest neighbours; rescaled from the first step
SPRING_DECAY = 3.0
SIDEWAYS = 0.15  # stiffness across a spring relative to along it
TRUST_START, TRUST_MAX = 0.15, 0.4  # Å, largest displacement of an atom in one step
TRUST_CAREFUL = 0.1  # Å, the same in a second attempt
STRAIN_LENGTH = 4.0  # Å: a strain of 0.05 counts as a displacement of 0.2 Å
NOISE = 1e-4  # eV, single-precision scatter of an energy
PROMISE = 1e-4  # eV/atom the model may still expect to gain where a minimisation ends
SMALLEST_VOLUME = 1.5  # Å³/atom; a third of the densest solid's

# the six independent strains, as (3, 3) symmetric unit matrices
_STRAINS = np.zeros((6, 3, 3))
for _k, (_a, _b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
    _STRAINS[_k, _a, _b] = _STRAINS[_k, _b, _a] = 1.0 if _a == _b else np.sqrt(0.5)


class _Runaway(RelaxationError):
    """The cell exploded or collapsed, after so many steps and seconds."""

    steps, seconds = 0, 0.0


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended.

    Args:
        structure: final geometry.
        energy: eV, whole cell.
        max_force: eV/Å, the largest of all atomic forces and of virial / n_atoms (as ASE's FrechetCellFilter).
        converged: ``max_force`` reached the goal.
        steps: evaluations spent.
        hessian: (dof, dof) eV/Å², of all 3 n_atoms + 6 degrees of freedom.
        energy_start: eV before the first step.
        seconds: spent in the potential.
    """

    structure: Structure
    energy: float
    max_force: float
    converged: bool
    steps: int
    hessian: np.ndarray
    energy_start: float
    seconds: float = 0.0


Descent = Generator["Structure", Point, Minimum]
"""A minimisation that yields the crystals to be evaluated, is sent what the potential says, and returns the end."""


def symmetric_subspace(structure: Structure, rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the displacements and strains that keep every operation.

    Args:
        structure: n atoms.
        rotations: (g, 3, 3) integer matrices acting on fractional column vectors.
        translations: (g, 3).

    Returns:
        (3 n + 6, m): columns span the invariant subspace, strains in the basis of six symmetric matrices.

    Raises:
        RelaxationError: an operation does not map the crystal onto itself.
    """
    n = len(structure)
    frac, matrix = structure.frac_coords, structure.lattice.matrix
    species = np.array([site.specie.Z for site in structure])
    inverse = np.linalg.inv(matrix)
    internal, cell = np.zeros((3 * n, 3 * n)), np.zeros((6, 6))
    for w, t in zip(rotations, translations, strict=True):
        cart = matrix.T @ w @ inverse.T  # rotation of Cartesian column vectors
        gap = (frac @ w.T + t)[:, None] - frac[None]
        gap -= np.round(gap)
        distance = np.linalg.norm(gap @ matrix, axis=2) + 1e3 * (species[:, None] != species[None])
        image = distance.argmin(axis=1)
        if distance.min(axis=1).max() > 0.05 or len(set(image)) < n:
            raise RelaxationError("symmetry operations do not fit the structure")
        for i, j in enumerate(image):
            internal[3 * j : 3 * j + 3, 3 * i : 3 * i + 3] += cart
        turned = np.einsum("ab,kbc,dc->kad", cart, _STRAINS, cart)
        cell += np.einsum("jab,kab->jk", _STRAINS, turned)
    basis = [_fixed_space(internal / len(rotations)), _fixed_space(cell / len(rotations))]
    out = np.zeros((3 * n + 6, basis[0].shape[1] + basis[1].shape[1]))
    out[: 3 * n, : basis[0].shape[1]] = basis[0]
    out[3 * n :, basis[0].shape[1] :] = basis[1]
    return out


def _fixed_space(projector: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)
    return vectors[:, values > 0.5]


def spring_hessian(structure: Structure) -> np.ndarray:
    """Model Hessian (3 n + 6, 3 n + 6), eV/Å² (strains: eV), positive semi-definite."""
    from genmat.screening.potentials.neighbours import half_list

    n, matrix = len(structure), structure.lattice.matrix
    bonds = half_list(structure.cart_coords, matrix, 6.0)
    vectors = structure.cart_coords[bonds.first] - structure.cart_coords[bonds.second] - bonds.image @ matrix
    length = np.linalg.norm(vectors, axis=1)
    nearest = np.full(n, np.inf)
    np.minimum.at(nearest, bonds.first, length)
    np.minimum.at(nearest, bonds.second, length)
    nearest = np.clip(nearest, 1.5, 5.0)
    scale = length / ((nearest[bonds.first] + nearest[bonds.second]) / 2)
    keep = scale < 2.0
    first, second, vectors, length = bonds.first[keep], bonds.second[keep], vectors[keep], length[keep]
    stiffness = SPRING * np.exp(-SPRING_DECAY * np.maximum(scale[keep] - 1, -0.2))
    unit = vectors / length[:, None]
    # change of each bond vector with the unknowns, as three rows per bond: u_first - u_second + vector @ strain
    rows = np.zeros((len(first), 3, 3 * n + 6))
    index = np.arange(len(first))
    for axis in range(3):
        rows[index, axis, 3 * first + axis] += 1.0
        rows[index, axis, 3 * second + axis] -= 1.0
    rows[:, :, 3 * n :] = np.einsum("ba,kac->bck", vectors, _STRAINS)
    along = np.einsum("ba,bad->bd", unit, rows) * np.sqrt(stiffness * (1 - SIDEWAYS))[:, None]
    every = (rows * np.sqrt(stiffness * SIDEWAYS)[:, None, None]).reshape(-1, 3 * n + 6)
    return along.T @ along + every.T @ every


def minimise(
    structure: Structure,
    potential: Potential,
    *,
    basis: np.ndarray | None = None,
    hessian: np.ndarray | None = None,
    fmax: float = 0.05,
    max_steps: int = 200,
) -> Minimum:
    """Relax positions and cell of one crystal; arguments and errors as `descend`, the potential evaluated by itself."""
    descent = descend(structure, basis=basis, hessian=hessian, fmax=fmax, max_steps=max_steps)
    return next(fly([descent], potential, width=1))


def descend(
    structure: Structure,
    *,
    basis: np.ndarray | None = None,
    hessian: np.ndarray | None = None,
    fmax: float = 0.05,
    max_steps: int = 200,
    budget: float = np.inf,
) -> Descent:
    """Relax positions and cell, evaluated by whoever drives this generator (`fly`).

    Args:
        structure: starting geometry.
        basis: (3 n + 6, m) allowed directions; all when None.
        hessian: starting Hessian, for instance of an earlier stage; springs when None.
        fmax: eV/Å, goal for the forces inside the allowed directions and for virial / n_atoms.
        max_steps: evaluations at most.
        budget: seconds in the potential after which to give up.

    Raises:
        RelaxationError: energies that are no numbers, explosion, collapse, dissociation, time out.
    """
    arguments = {"fmax": fmax, "max_steps": max_steps, "budget": budget}
    try:
        return (yield from _descend(structure, basis, hessian, TRUST_MAX, **arguments))
    except _Runaway as error:  # long steps jumped over a barrier, or molecules were crushed before they could turn
        fled, steps, seconds = str(error), error.steps, error.seconds
    arguments = {"fmax": fmax, "max_steps": max_steps - steps, "budget": budget - seconds}
    inner = yield from _descend(structure, _atoms_only(structure, basis), hessian, TRUST_CAREFUL, **arguments)
    steps, seconds = steps + inner.steps, seconds + inner.seconds
    arguments = {"fmax": fmax, "max_steps": max_steps - steps, "budget": budget - seconds}
    end = yield from _descend(inner.structure, basis, inner.hessian, TRUST_CAREFUL, **arguments)
    if not end.converged:
        raise RelaxationError(fled)
    steps, seconds = steps + end.steps, seconds + end.seconds
    return replace(end, energy_start=inner.energy_start, steps=steps, seconds=seconds)


def _descend(
    structure: Structure,
    basis: np.ndarray | None,
    hessian: np.ndarray | None,
    longest: float,
    *,
    fmax: float,
    max_steps: int,
    budget: float,
) -> Descent:
    """One attempt, with steps of at most ``longest`` Å; what it spent goes with a `_Runaway`."""
    problem = _Problem(structure, basis)
    model = spring_hessian(structure) if hessian is None else hessian
    origin = np.zeros(problem.dof)
    first = problem.judge(origin, (yield problem.geometry(origin)))
    steps, seconds = 1, first.seconds
    search = _Search(problem, first, problem.reduce(model), fresh=hessian is None, longest=longest)
    try:
        while steps < max_steps and not search.ended(fmax):
            if seconds > budget:
                raise RelaxationError(f"time budget used up after {steps} steps")
            x = search.propose()
            there = problem.judge(x, (yield problem.geometry(x)))
            steps, seconds = steps + 1, seconds + there.seconds
            search.learn(there)
    except _Runaway as error:
        error.steps, error.seconds = steps, seconds
        raise
    end, learnt = search.here, problem.expand(search.h, model)
    return Minimum(
        problem.geometry(end.x), end.energy, end.worst, end.worst <= fmax, steps, learnt, first.energy, seconds
    )


def _atoms_only(structure: Structure, basis: np.ndarray | None) -> np.ndarray:
    """The allowed directions that leave the cell as it is."""
    atoms = 3 * len(structure)
    if basis is None:
        return np.eye(atoms + 6)[:, :atoms]
    return basis[:, ~basis[atoms:].any(axis=0)]


class _Search:
    """Where a minimisation stands: the best place so far, the model Hessian there and how far it is trusted."""

    def __init__(self, problem: _Problem, here: _Place, h: np.ndarray, *, fresh: bool, longest: float) -> None:
        self.problem, self.here, self.h, self.fresh, self.longest = problem, here, h, fresh, longest
        self.trust, self.stuck = min(TRUST_START, longest), False
        self._look()

    def _look(self) -> None:
        """Newton step of the model from here, and the energy (eV) it promises."""
        if not len(self.h):
            self.newton, self.promise = self.here.x, 0.0
            return
        values, vectors = np.linalg.eigh(self.h)
        values = np.maximum(np.abs(values), 1e-3 * max(abs(values[-1]), 1.0))
        slope = vectors.T @ self.here.gradient
        self.newton, self.promise = -vectors @ (slope / values), float((slope**2 / values).sum() / 2)

    def ended(self, fmax: float) -> bool:
        """No force above ``fmax`` (eV/Å) and hardly an energy to gain, or no way on."""
        settled = self.here.worst <= fmax and self.promise <= PROMISE * self.problem.n
        return settled or self.stuck or not len(self.h)

    def propose(self) -> np.ndarray:
        """The next place to look at."""
        size = self.problem.size(self.newton)
        self.clipped = size > self.trust
        self.step = self.newton * (self.trust / size) if self.clipped else self.newton
        return self.here.x + self.step

    def learn(self, there: _Place) -> None:
        """Correct the model by what was found, and move there unless it is uphill."""
        here, step = self.here, self.step
        change, expected = there.energy - here.energy, here.gradient @ step + step @ self.h @ step / 2
        self.h = _update(self.h, step, there.gradient - here.gradient, self.fresh)
        self.fresh = False
        if change > NOISE and not there.worst < 0.5 * here.worst:  # uphill: stay, look closer
            self.trust = 0.35 * self.problem.size(step)
            self.stuck = self.trust < 1e-5
        else:
            ratio = change / min(expected, -1e-12)
            if ratio < 0.25 and change > -NOISE:
                self.trust = max(0.5 * self.trust, 5e-3)
            elif ratio > 0.6 and self.clipped:
                self.trust = min(1.8 * self.trust, self.longest)
            self.here = there
        self._look()


def _update(h: np.ndarray, s: np.ndarray, y: np.ndarray, fresh: bool) -> np.ndarray:
    """Damped BFGS (Powell): stays positive definite whatever the curvature met."""
    hs = h @ s
    shs, sy = s @ hs, s @ y
    if fresh and sy > 0:  # the springs know directions, not strength
        factor = float(np.clip(sy / shs, 0.2, 5.0))
        h, hs, shs = h * factor, hs * factor, shs * factor
    if sy < 0.2 * shs:
        theta = 0.8 * shs / (shs - sy)
        y = theta * y + (1 - theta) * hs
        sy = s @ y
    return h - np.outer(hs, hs) / shs + np.outer(y, y) / sy


@dataclass(frozen=True)
class _Place:
    """A point of a problem: energy (eV), gradient, largest generalised force (eV/Å), seconds its evaluation took."""

    x: np.ndarray
    energy: float
    gradient: np.ndarray
    worst: float
    seconds: float


class _Problem:
    """Energy and gradient as functions of the free directions around a starting geometry.

    Unknowns: displacements u (Å) in the undeformed crystal and a symmetric strain e; positions (X + u)(1 + e).
    """

    def __init__(self, structure: Structure, basis: np.ndarray | None) -> None:
        self.structure, self.species, self.basis = structure, structure.species, basis
        self.n = len(structure)
        self.positions, self.matrix = structure.cart_coords, structure.lattice.matrix
        self.volume = structure.volume
        self.dof = 3 * self.n + 6 if basis is None else basis.shape[1]

    def reduce(self, full: np.ndarray) -> np.ndarray:
        """A Hessian of all degrees of freedom, in the allowed directions."""
        return full if self.basis is None else self.basis.T @ full @ self.basis

    def expand(self, h: np.ndarray, model: np.ndarray) -> np.ndarray:
        """Put what was learnt in the allowed directions into the model of all."""
        if self.basis is None:
            return h
        b = self.basis
        return model + b @ (h - b.T @ model @ b) @ b.T

    def unpack(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        full = x if self.basis is None else self.basis @ x
        return full[: 3 * self.n].reshape(-1, 3), np.einsum("k,kab->ab", full[3 * self.n :], _STRAINS)

    def size(self, x: np.ndarray) -> float:
        """Largest displacement, Å; a strain counts as if over 4 Å."""
        moved, strain = self.unpack(x)
        return max(float(np.linalg.norm(moved, axis=1).max()), STRAIN_LENGTH * float(np.abs(strain).max()), 1e-12)

    def geometry(self, x: np.ndarray) -> Structure:
        """The crystal at ``x``.

        Raises:
            RelaxationError: its volume left what a relaxation can mean.
        """
        from pymatgen.core import Lattice, Structure

        moved, strain = self.unpack(x)
        deform = np.eye(3) + strain
        swell = np.linalg.det(deform)
        if not 0.2 < swell < 5:
            raise _Runaway("cell exploded" if swell > 1 else "cell collapsed")
        if swell < 1 and swell * self.volume < SMALLEST_VOLUME * self.n:
            raise _Runaway("cell collapsed")
        positions = (self.positions + moved) @ deform
        return Structure(Lattice(self.matrix @ deform), self.species, positions, coords_are_cartesian=True)

    def judge(self, x: np.ndarray, point: Point) -> _Place:
        """What the potential said about ``geometry(x)``, as energy and gradient of this problem.

        Raises:
            RelaxationError: not all of it are numbers.
        """
        energy, force = point.energy, point.forces
        _, strain = self.unpack(x)
        deform = np.eye(3) + strain
        virial = point.stress * (self.volume * np.linalg.det(deform))
        if not (np.isfinite(energy) and np.isfinite(force).all() and np.isfinite(virial).all()):
            raise RelaxationError("potential returned no number")
        full = np.empty(3 * self.n + 6)
        full[: 3 * self.n] = -(force @ deform).ravel()  # deform is symmetric
        full[3 * self.n :] = np.einsum("kab,ab->k", _STRAINS, np.linalg.solve(deform, virial))
        gradient = full if self.basis is None else self.basis.T @ full
        # net force is the potential's rounding, not a reason to go on
        inside = full if self.basis is None else self.basis @ gradient
        atoms = inside[: 3 * self.n].reshape(-1, 3)
        pull = np.linalg.norm(atoms - atoms.mean(0), axis=1).max()
        stretch = np.linalg.norm(np.einsum("k,kab->ab", inside[3 * self.n :], _STRAINS), axis=1).max() / self.n
        return _Place(x, energy, gradient, float(max(pull, stretch)), point.seconds)
