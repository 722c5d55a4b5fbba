"""Of several geometries of one prototype, relax the most promising: one batched evaluation chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.validity import check
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from genmat.screening.potentials.base import Potential


def lowest_stage(
    candidates: Iterable[Candidate], respell: Callable[[Candidate], Sequence[Candidate]], potential: Potential
) -> Iterator[Candidate]:
    """Replace the geometry of every candidate by the one of lowest energy among its own and those `respell` offers.

    Energies are of the geometries as they are, unrelaxed: the step that separates atoms on top of each other from
    bonded ones is larger than what relaxation changes. Impossible geometries are not evaluated; when all are, the
    candidate keeps its own. ``geometry_chosen`` tells which was taken (0 = its own), ``geometries`` how many were
    possible.

    Args:
        respell: other geometries of a candidate; a GenmatError leaves it as it is.
        potential: judges all geometries of a candidate in one batch.
    """
    for candidate in candidates:
        if candidate.failure is not None or candidate.structure is None:
            yield candidate
            continue
        try:
            offered = [candidate, *respell(candidate)]
        except GenmatError:  # not in the language: its own geometry is all there is
            yield candidate.add(geometry_chosen=0, geometries=1)
            continue
        possible = [i for i, other in enumerate(offered) if other.structure is not None and _possible(other)]
        if not possible:
            yield candidate.add(geometry_chosen=0, geometries=0)
            continue
        energies = potential.evaluate([offered[i].structure for i in possible]).energies  # (n,), eV, of one formula
        best = possible[int(np.argmin(energies))]
        chosen = offered[best]
        yield candidate.replace(structure=chosen.structure, protostructure=chosen.protostructure).add(
            geometry_chosen=best, geometries=len(possible)
        )


def _possible(candidate: Candidate) -> bool:
    return check(candidate.structure).reason is None
