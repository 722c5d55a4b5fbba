"""Relax candidates with a potential: first inside their symmetry, then, after a small rattle, freely.

The result of one candidate depends on that candidate, the settings and the seed alone: crystals share a batch only
where the potential's numbers do not depend on their company (`genmat.screening.flight.best_width`), the rattle is
seeded by the id, and the budget is counted in steps (seconds are an emergency exit).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.prototype import bearable, from_structure
from genmat.crystal.realise import realise
from genmat.errors import GenmatError, RunError
from genmat.screening.flight import Flight, RelaxationError, best_width, fly
from genmat.screening.optimise import Minimum, descend, symmetric_subspace
from genmat.screening.potentials.base import correction_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

SYMPREC = 0.1  # Å
KEEP_SYMMETRY = 1e-3  # eV/atom the free stage must gain before the symmetric crystal is given up
FREE_GOAL = 0.5  # of fmax: a rattled saddle may already fulfil fmax itself, and would be taken for a minimum
MIN_DISTANCE = 0.5  # Å
REACH = 6.0  # Å: an atom without a neighbour this near has left the crystal
MOST_IMAGES = 300_000  # periodic copies of atoms within 6 Å of a cell; 200 atoms in a usual cell have 70,000
MOST_NEIGHBOURS = 600  # of an atom within 6 Å; a solid of 4 Å³/atom has 226
MOST_TRIPLETS = (
    150_000  # pairs of bonds below 3 Å at one atom, in the whole cell; 200 atoms of a usual solid have 40,000
)
LOWEST_ENERGY = -20.0  # eV/atom: twice the cohesion of any solid; below it a potential has broken down


@dataclass(frozen=True)
class RelaxSettings:
    """How to relax; see `relax` for the meaning of each."""

    fmax: float = 0.05
    max_steps: int = 200
    time_budget_s: float = 3600.0
    symmetric_first: bool = True
    rattle: float = 0.02
    seed: int = 0
    max_atoms: int = 200


def relax(
    candidates: Iterable[Candidate],
    potential: Potential,
    *,
    fmax: float = 0.05,
    max_steps: int = 200,
    time_budget_s: float = 3600.0,
    symmetric_first: bool = True,
    rattle: float = 0.02,
    seed: int = 0,
    workers: int = 1,
    max_atoms: int = 200,
    width: int | None = None,
) -> Iterator[Candidate]:
    """Relax positions and cell of every candidate.

    Args:
        candidates: with a structure, or a protostructure with geometry; failed ones pass unchanged.
        potential: kept resident in every worker.
        fmax: eV/Å, goal for forces and for virial per atom.
        max_steps: evaluations per candidate, both stages together; beyond it ``converged`` is False.
        time_budget_s: seconds per candidate in the potential, after which it fails.
        symmetric_first: relax inside the space group found (0.1 Å) before rattling.
        rattle: Å, standard deviation of the displacements before the free stage; 0 skips that stage.
        seed: of the rattle, together with the candidate's id.
        workers: processes, one torch thread each; a worker that dies is replaced and its candidate tried once more.
        max_atoms: larger primitive cells fail.
        width: candidates in flight per process; None = as many as suit the potential (`best_width`).

    Yields:
        Each candidate once, as soon as it is done, in any order: with the relaxed primitive structure, its new
        protostructure and ``energy_per_atom``, ``energy_initial_per_atom`` (eV/atom), ``max_force`` (eV/Å),
        ``relax_steps``, ``converged``, ``volume_change`` (fraction), ``potential``, ``spacegroup_initial``; or failed
        with the reason. Never an exception. Energies include the correction the potential needs before its energies
        are compared; where there is one, ``correction_per_atom`` (eV/atom) tells it.
    """
    settings = RelaxSettings(fmax, max_steps, time_budget_s, symmetric_first, rattle, seed, max_atoms)
    if workers <= 1 and getattr(potential, "python", None) is None:  # else it runs whole where the potential is
        width = best_width(potential) if width is None else width
        yield from fly((relaxation(candidate, potential, settings) for candidate in candidates), potential, width)
        return
    from genmat.screening.pool import run_pool

    yield from run_pool(candidates, potential, settings, workers)


def relax_one(candidate: Candidate, potential: Potential, settings: RelaxSettings | None = None) -> Candidate:
    """Relax one candidate; any problem becomes its failure."""
    return next(fly([relaxation(candidate, potential, settings or RelaxSettings())], potential))


def relaxation(candidate: Candidate, potential: Potential, settings: RelaxSettings) -> Flight[Candidate]:
    """The relaxation of one candidate, to be driven by `fly`; any problem becomes its failure."""
    if candidate.failure is not None:
        return candidate
    try:
        return (yield from _relaxation(candidate, potential, settings))
    except RunError:  # nothing of this candidate's
        raise
    except (RelaxationError, GenmatError) as error:
        return candidate.fail("relax", str(error))
    except Exception as error:  # a third-party potential may raise anything; the campaign goes on
        return candidate.fail("relax", f"{type(error).__name__}: {error}")


def _relaxation(candidate: Candidate, potential: Potential, settings: RelaxSettings) -> Flight[Candidate]:
    start = _starting_structure(candidate)
    strange = sorted({s.symbol for s in start.composition} - set(potential.info.elements))
    if strange:
        raise RelaxationError(f"{potential.info.name} does not cover {', '.join(strange)}")
    _check_size(start)
    crystal, operations, number = symmetrise(start)
    if len(crystal) > settings.max_atoms:
        raise RelaxationError(f"{len(crystal)} atoms, more than {settings.max_atoms}")
    _check_geometry(crystal)

    minimum = yield from _two_stages(candidate.id, crystal, operations, settings)
    _check_geometry(minimum.structure)
    if minimum.energy / len(crystal) < LOWEST_ENERGY:
        raise RelaxationError("energy fell below anything physical")
    done = candidate.replace(structure=minimum.structure, protostructure=from_structure(minimum.structure, SYMPREC))
    correction = correction_of(potential, minimum.structure)
    if correction:
        done = done.add(correction_per_atom=correction)
    return done.add(
        energy_per_atom=minimum.energy / len(crystal) + correction,
        energy_initial_per_atom=minimum.energy_start / len(crystal) + correction,
        max_force=minimum.max_force,
        relax_steps=minimum.steps,
        converged=minimum.converged,
        volume_change=minimum.structure.volume / crystal.volume - 1,
        potential=potential.info.source,
        spacegroup_initial=number,
    )


def _two_stages(name: str, crystal: Structure, operations: tuple, settings: RelaxSettings) -> Flight[Minimum]:
    """The better of both minima, with the evaluations of both; its ``energy_start`` is that of the crystal given."""
    goal = {"fmax": settings.fmax, "max_steps": settings.max_steps, "budget": settings.time_budget_s}
    if not settings.symmetric_first or len(operations[0]) == 1:
        return (yield from descend(crystal, **goal))
    bound = yield from descend(crystal, basis=symmetric_subspace(crystal, *operations), **goal)
    left = settings.max_steps - bound.steps
    if settings.rattle <= 0 or left < 1:
        return bound
    goal = {"fmax": settings.fmax * FREE_GOAL, "max_steps": left, "budget": settings.time_budget_s - bound.seconds}
    free = yield from descend(
        rattled(bound.structure, settings.rattle, name, settings.seed), hessian=bound.hessian, **goal
    )
    spent = bound.steps + free.steps
    settled = free.max_force <= settings.fmax
    if (bound.energy - free.energy) / len(crystal) > KEEP_SYMMETRY:
        return replace(free, converged=settled, steps=spent, energy_start=bound.energy_start)
    return replace(bound, converged=bound.converged and settled, steps=spent)


def symmetrise(structure: Structure, symprec: float = SYMPREC) -> tuple[Structure, tuple[np.ndarray, np.ndarray], int]:
    """Primitive cell with exact symmetry, its operations and its space group.

    Where the symmetry cannot be made exact, the structure comes back as it is, in P1.

    Returns:
        structure, (rotations (g, 3, 3), translations (g, 3)) on fractional columns, space group number.
    """
    import moyopy
    from pymatgen.core import Lattice, Structure

    def dataset(lattice: np.ndarray, coords: np.ndarray, numbers: list[int], tolerance: float):
        cell = moyopy.Cell(np.asarray(lattice).tolist(), np.asarray(coords).tolist(), numbers)
        return moyopy.MoyoDataset(cell, symprec=tolerance)

    try:
        numbers = [site.specie.Z for site in structure]
        symprec = bearable(structure.lattice.matrix, structure.frac_coords, symprec)
        small = dataset(structure.lattice.matrix, structure.frac_coords, numbers, symprec).prim_std_cell
        exact = dataset(small.basis, small.positions, list(small.numbers), 1e-3)
        crystal = Structure(Lattice(small.basis), small.numbers, small.positions)
        operations = (np.array(exact.operations.rotations), np.array(exact.operations.translations))
        symmetric_subspace(crystal, *operations)
        return crystal, operations, int(exact.number)
    except Exception:  # moyopy raises types of its own; without symmetry the crystal can still be relaxed
        return structure, (np.eye(3)[None], np.zeros((1, 3))), 1


def rattled(structure: Structure, size: float, name: str, seed: int) -> Structure:
    """Copy with Gaussian displacements (Å, standard deviation ``size``) and strains (``size`` per Å).

    Seeded by ``name`` and ``seed``. The strains cost about the energy of the displacements; much smaller ones leave
    forces below any fmax, and an unstable cell would pass for a minimum.
    """
    from pymatgen.core import Lattice, Structure

    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    positions = structure.cart_coords + rng.normal(scale=size, size=(len(structure), 3))
    strain = rng.normal(scale=size, size=(3, 3))
    deform = np.eye(3) + (strain + strain.T) / 2
    lattice = Lattice(structure.lattice.matrix @ deform)
    return Structure(lattice, structure.species, positions @ deform, coords_are_cartesian=True)


def _starting_structure(candidate: Candidate) -> Structure:
    """The candidate's crystal with plain elements (no oxidation states or isotopes)."""
    from pymatgen.core import Element, Structure

    structure = candidate.structure
    if structure is None:
        if candidate.protostructure is None:
            raise RelaxationError("neither structure nor protostructure")
        structure = realise(candidate.protostructure)
    if not structure.is_ordered:
        raise RelaxationError("disordered: partial occupancies; order it first (genmat order)")
    try:
        numbers = [site.specie.Z for site in structure]
        plain = [Element.from_Z(z) for z in numbers]
    except (AttributeError, ValueError):
        raise RelaxationError("a site without an element") from None
    if not (np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()):
        raise RelaxationError("coordinates that are no numbers")
    if structure.volume < 1e-3:
        raise RelaxationError("cell without volume")
    coords = np.array(structure.frac_coords)
    if np.abs(coords).max() > 2:  # the search for neighbours would walk all the way
        coords -= np.floor(coords)
    return Structure(structure.lattice, plain, coords)


def _check_size(structure: Structure) -> None:
    """Refuse cells so flat or skewed that finding their neighbours alone would take for ever."""
    heights = 1 / np.linalg.norm(np.linalg.inv(structure.lattice.matrix), axis=0)
    images = len(structure) * np.prod(2 * np.ceil(REACH / heights) + 1)
    if images > MOST_IMAGES:
        raise RelaxationError(f"cell of heights {', '.join(f'{h:.2g}' for h in heights)} Å, too flat")


def _check_geometry(structure: Structure) -> None:
    """Atoms neither on top of each other, nor crowded, nor out of each other's reach."""
    from genmat.screening.potentials.neighbours import half_list

    _check_size(structure)
    bonds = half_list(structure.cart_coords, structure.lattice.matrix, REACH)
    vectors = structure.cart_coords[bonds.first] - structure.cart_coords[bonds.second]
    length = np.linalg.norm(vectors - bonds.image @ structure.lattice.matrix, axis=1)
    if length.min(initial=np.inf) < MIN_DISTANCE:
        raise RelaxationError(f"atoms {length.min():.2f} Å apart, closer than {MIN_DISTANCE} Å")
    ends = np.stack([bonds.first, bonds.second])
    neighbours, near = (np.bincount(e.ravel(), minlength=len(structure)) for e in (ends, ends[:, length < 3.0]))
    if neighbours.max(initial=0) > MOST_NEIGHBOURS or (near * (near - 1) // 2).sum() > MOST_TRIPLETS:
        raise RelaxationError(f"crowded: up to {neighbours.max()} neighbours of an atom within {REACH:g} Å")
    lonely = len(structure) - len(np.union1d(bonds.first, bonds.second))
    if lonely:
        raise RelaxationError(f"dissociated: {lonely} atoms without a neighbour within {REACH:g} Å")
