"""Energies of orderings, relaxed as far as a protocol allows.

``unrelaxed`` keeps the parent's geometry, ``cell`` lets the cell strain while atoms keep their fractional coordinates,
``full`` relaxes both inside the symmetry of the ordering (`genmat.screening.relax`, without a rattle: an ordering that
would fall off the parent's lattice is an answer to another question). How much a conclusion depends on this choice is
part of the conclusion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.parents import Merge, merged_structure
from genmat.errors import GenmatError, RunError
from genmat.screening.flight import Flight, RelaxationError, best_width, fly
from genmat.screening.optimise import Minimum, descend
from genmat.screening.potentials.base import correction_of
from genmat.screening.relax import relax

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

STRAINED = 8.0  # degrees an angle may change before an ordering has left the lattice
PROTOCOLS = ("unrelaxed", "cell", "full")


def energy_stage(
    candidates: Iterable[Candidate],
    potential: Potential,
    protocol: str,
    merge: Merge,
    *,
    fmax: float = 0.05,
    max_steps: int = 200,
    workers: int = 1,
) -> Iterator[Candidate]:
    """A per-candidate stage: ``energy_per_atom`` (eV/atom) of each ordering under a protocol of `PROTOCOLS`.

    With ``full`` also everything `relax` adds. ``on_lattice`` tells whether the relaxed crystal, its mixing elements
    merged, is still the parent's; one that left it is no state of the mixed crystal.
    """
    given = list(candidates)
    starts = {candidate.id: candidate.structure for candidate in given}
    if protocol == "full":
        made = relax(given, potential, fmax=fmax, max_steps=max_steps, rattle=0.0, workers=workers)
    else:
        steps = 1 if protocol == "unrelaxed" else max_steps
        made = fly((_strained(c, potential, fmax, steps) for c in given), potential, best_width(potential))
    for candidate in made:
        start = starts[candidate.id]
        if candidate.alive and start is not None and candidate.structure is not None:
            candidate = candidate.add(on_lattice=on_lattice(start, candidate.structure, merge))
        yield candidate


def on_lattice(start: Structure, end: Structure, merge: Merge) -> bool:
    """Whether two crystals are the same once what mixes is merged (StructureMatcher, angles within 8°).

    L1_0 CuAu, 15 % shorter than wide as CHGNet has it, is; a face-centred cube that became body-centred is not.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    one, two = merged_structure(start, merge), merged_structure(end, merge)
    if one is None or two is None or len(one) != len(two):
        return False
    # cells as they are: a relaxed crystal has no smaller one even where the merged parent has
    one, two = (cell.get_reduced_structure() for cell in (one, two))
    return bool(StructureMatcher(angle_tol=STRAINED, primitive_cell=False).fit(one, two))


def _strained(candidate: Candidate, potential: Potential, fmax: float, steps: int) -> Flight[Candidate]:
    """One evaluation, or a descent over strains alone; any problem becomes the candidate's failure."""
    structure = candidate.structure
    try:
        if structure is None:
            raise RelaxationError("no structure")
        strange = sorted({e.symbol for e in structure.composition} - set(potential.info.elements))
        if strange:
            raise RelaxationError(f"{potential.info.name} does not cover {', '.join(strange)}")
        minimum = yield from (_point(structure) if steps == 1 else _cell(structure, fmax, steps))
    except RunError:
        raise
    except (RelaxationError, GenmatError) as error:
        return candidate.fail("relax", str(error))
    except Exception as error:  # a third-party potential may raise anything
        return candidate.fail("relax", f"{type(error).__name__}: {error}")
    return candidate.replace(structure=minimum.structure).add(
        energy_per_atom=minimum.energy / len(structure) + correction_of(potential, minimum.structure),
        relax_steps=minimum.steps,
        converged=minimum.converged,
        potential=potential.info.source,
    )


def _point(structure: Structure) -> Flight[Minimum]:
    point = yield structure
    return Minimum(structure, point.energy, 0.0, True, 1, np.zeros((0, 0)), point.energy)


def _cell(structure: Structure, fmax: float, steps: int) -> Flight[Minimum]:
    basis = np.zeros((3 * len(structure) + 6, 6))
    basis[-6:] = np.eye(6)
    return (yield from descend(structure, basis=basis, fmax=fmax, max_steps=steps))
