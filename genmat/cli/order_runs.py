"""The runs behind `genmat order`: every potential under every protocol, each in a campaign of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.ordering.ensemble import Ensemble, Outcome
    from genmat.screening.ordering.enumerate import Ordering


@dataclass(frozen=True)
class Study:
    """What is asked of `genmat order`; see its options.

    Attributes:
        crystal: disordered.
        given: its orderings.
        max_cells: None without transition temperatures.
        ground_state: file of the crystal the potentials should find lowest.
    """

    crystal: Structure
    given: Ensemble
    potentials: tuple[str, ...]
    protocols: tuple[str, ...]
    out: Path
    fmax: float = 0.05
    max_steps: int = 200
    workers: int = 1
    seed: int = 0
    fresh: bool = False
    max_cells: int | None = None
    ground_state: Path | None = None
    sweeps: int = 60


def run_study(study: Study) -> dict[str, Any]:
    """All runs of a study as plain data: ``runs`` one by one and, if asked for, ``transition``.

    Raises:
        GenmatError: unknown potential, unusable folder, icet missing, no such ground state.
    """
    from genmat.cli.console import progress
    from genmat.data.write import file_name
    from genmat.screening.ordering.ensemble import evaluate, label_of
    from genmat.screening.potentials import load

    if study.max_cells is not None:
        from genmat.screening.ordering.expansion import require_icet

        require_icet()
    known = _ground_state(study.ground_state)
    extra = others(study.given, study.max_cells)
    loaded = cache(load)
    sources = {name: loaded(name).info.source for name in study.potentials}
    runs, rows = [], []
    with progress() as shown:
        for name in study.potentials:
            for protocol in study.protocols:
                head = f"{sources[name]}, {protocol}"
                folder = study.out / f"{file_name(sources[name])}-{protocol}"
                outcome = evaluate(
                    folder, study.given, extra,
                    lambda name=name: loaded(name), sources[name], protocol,
                    fmax=study.fmax, max_steps=study.max_steps, workers=study.workers, fresh=study.fresh,
                    progress=lambda done, total, head=head: shown and shown(head, done, total),
                )  # fmt: skip
                runs.append(run_row(outcome, study.given))
                if study.max_cells is not None:
                    key = f"transition 2, seed {study.seed}, {study.sweeps} sweeps, ground state {study.ground_state}"
                    rows.append(_once(folder, key, partial(transition_row, study, outcome, extra, known)))
    found = {
        "formula": study.crystal.composition.reduced_formula,
        "parent": label_of(study.crystal),
        "cells": study.given.cells,
        "atoms": study.given.atoms,
        "exact": study.given.exact,
        "orderings": len(study.given.members),
        "decorations": sum(o.degeneracy for o in study.given.members),
        "runs": runs,
    }
    return found if study.max_cells is None else {**found, "transition": verdict(rows)}


def _once(folder: Path, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` gives, as recorded in the campaign of `folder` by an earlier run where there is one."""
    import json

    from genmat.campaign import Campaign

    with Campaign.read(folder) as campaign:
        kept = campaign.meta.get(key)
        if kept is None:
            kept = json.loads(json.dumps(compute()))
            campaign.note(**{key: kept})
    return kept


def others(given: Ensemble, max_cells: int | None) -> tuple[Ordering, ...]:
    """Orderings of all compositions for an expansion, of up to `max_cells` cells, in which every species occurs."""
    from genmat.screening.ordering.enumerate import orderings

    taken = {ordering.id for ordering in given.members}
    found = [
        ordering
        for cells in range(1, (max_cells or 0) + 1)
        for ordering in orderings(given.parent, cells)
        if ordering.id not in taken and all(n for held in ordering.counts for n in held)
    ]
    return tuple(found)


def run_row(outcome: Outcome, given: Ensemble) -> dict[str, Any]:
    """One outcome as plain data; energies in eV/atom, temperatures in K, entropies in k per shared site."""
    from genmat.screening.ordering.ensemble import label_of, settled

    wanted = {ordering.id: ordering for ordering in given.members}
    target = [c for c in outcome.candidates if c.id in wanted]
    best = next((c for c in target if c.id == outcome.lowest), None)
    low = best.results["energy_per_atom"] if best is not None else None
    found = outcome.thermodynamics
    return {
        "potential": outcome.potential,
        "protocol": outcome.protocol,
        "lowest": label_of(best.structure) if best is not None and best.structure is not None else None,
        "left": outcome.left,
        "gap": found.gap if found else None,
        "next_gap": found.next_gap if found else None,
        "spread": found.spread if found else None,
        "half": found.half if found else None,
        "limit": found.limit if found else None,
        "ideal": given.parent.ideal_entropy,
        "temperatures": list(found.temperatures) if found else [],
        "entropy": list(found.entropy) if found else [],
        "share": list(found.share) if found else [],
        "orderings": [
            {
                "id": c.id,
                "cells": wanted[c.id].cells,
                "degeneracy": wanted[c.id].degeneracy,
                "prototype": label_of(c.structure) if c.structure is not None else None,
                "energy_per_atom": c.results.get("energy_per_atom"),
                "above_lowest": c.results["energy_per_atom"] - low if low is not None and settled(c) else None,
                "on_lattice": c.results.get("on_lattice"),
                "converged": c.results.get("converged"),
                "failure": c.failure,
            }
            for c in target
        ],
    }


def transition_row(
    study: Study, outcome: Outcome, extra: tuple[Ordering, ...], known: Structure | None
) -> dict[str, Any]:
    """Transition temperatures (K) of one outcome, or why there are none."""
    from genmat.errors import GenmatError
    from genmat.screening.ordering.enumerate import decorated
    from genmat.screening.ordering.expansion import expand
    from genmat.screening.ordering.montecarlo import scan

    row: dict[str, Any] = {
        "potential": outcome.potential, "protocol": outcome.protocol, "heats": None, "cools": None, "cv": None,
        "gap": None, "n": None, "parameters": None, "refusal": None,
    }  # fmt: skip
    ground = next((o for o in study.given.members if o.id == outcome.lowest), None)
    if ground is None:
        return {**row, "refusal": "no ordering stayed on the lattice"}
    try:
        fitted = expand(study.given, outcome, (*study.given.members, *extra))
    except GenmatError as error:
        if "icet" in str(error):
            raise
        return {**row, "refusal": str(error)}
    row |= {"cv": fitted.cv, "gap": fitted.gap, "n": fitted.n, "parameters": fitted.parameters}
    if known is not None and not _same(decorated(study.given.parent, ground), known):
        return {**row, "refusal": "the potential's ground state is not the reference's"}
    if fitted.refusal:
        return {**row, "refusal": fitted.refusal}
    made = scan(study.given, fitted, ground, study.seed, study.sweeps)
    curve = {"temperatures": made.temperatures, "heating": made.heating, "cooling": made.cooling}
    return {**row, "heats": made.heats, "cools": made.cools, "refusal": made.refusal, "curve": curve}


def verdict(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The band over all runs that were not refused, and in words what it is worth; never one temperature alone."""
    good = [row for row in rows if not row["refusal"]]
    if len(good) < 2:
        told = (
            f"no order-disorder temperature: {len(rows) - len(good)} of {len(rows)} runs refused, "
            "and a band takes two; add potentials and protocols"
        )
        return {"rows": rows, "band": None, "verdict": told}
    low = min(min(row["cools"], row["heats"]) for row in good)
    high = max(max(row["cools"], row["heats"]) for row in good)
    told = (
        f"order-disorder temperature: {low:.0f} to {high:.0f} K over {len(good)} runs of {len(rows)} "
        f"({len(rows) - len(good)} refused), {len({row['potential'] for row in good})} potentials; "
        "vibrations are left out, and a value inside the band is no better than its ends"
    )
    return {"rows": rows, "band": [low, high], "verdict": told}


def _ground_state(path: Path | None) -> Structure | None:
    from genmat.data.read import read_candidates
    from genmat.errors import GenmatError

    if path is None:
        return None
    alive = [c.structure for c in read_candidates(path) if c.alive and c.structure is not None]
    if len(alive) != 1 or not alive[0].is_ordered:
        raise GenmatError(f"{path}: not one ordered structure; give the crystal known to be the ground state")
    return alive[0]


def _same(one: Structure, two: Structure) -> bool:
    """Equal to StructureMatcher, strained by up to 8° as orderings are."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return bool(StructureMatcher(angle_tol=8.0).fit(one, two))
