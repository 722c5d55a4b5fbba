"""Cut the hulls a report draws out of a reference hull."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genmat.report.figures import ranked

if TYPE_CHECKING:
    from genmat.candidate import Candidate
    from genmat.screening.hull import ReferenceHull

ON_HULL = 1e-4
"""Energy above the hull (eV/atom) up to which a reference phase counts as on it: rounding of the solver."""


def hulls_of(candidates: Sequence[Candidate], reference: ReferenceHull, limit: int = 60) -> dict[str, dict[str, Any]]:
    """The hulls of the chemical systems in which candidates were found, best candidate first; JSON-able.

    Args:
        candidates: those with ``e_above_hull`` count; elements alone and systems above six elements are left out.
        reference: the hull they were placed on.
        limit: number of chemical systems at most.

    Returns:
        ``"Ba-O-Ti" -> {"elements", "entries": [{"formula", "x", "formation_energy", "on_hull"}]}``, what
        `genmat.report.html.write_report` takes; ``x`` are atomic fractions, energies in eV/atom.
    """
    found: dict[str, dict[str, Any]] = {}
    for candidate in ranked(candidates):
        if candidate.structure is None or candidate.results.get("e_above_hull") is None:
            continue
        elements = sorted(element.symbol for element in candidate.structure.composition.elements)
        name = "-".join(elements)
        if name in found or not 2 <= len(elements) <= 6:
            continue
        found[name] = {"elements": elements, "entries": _entries(elements, reference)}
        if len(found) == limit:
            break
    return found


def _entries(elements: Sequence[str], reference: ReferenceHull) -> list[dict[str, Any]]:
    phases = reference.entries(elements)
    above, _ = reference.e_above_hull_many([phase.fractions for phase in phases], [phase.energy for phase in phases])
    return [
        {
            "formula": phase.unit[0],
            "x": [round(phase.fractions.get(element, 0.0), 6) for element in elements],
            "formation_energy": float(phase.energy),
            "on_hull": bool(distance <= ON_HULL),
        }
        for phase, distance in zip(phases, above.tolist(), strict=True)
    ]
