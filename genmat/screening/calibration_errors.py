"""Predicted and true energies of crystals with known DFT answers, placed on hulls that do not contain them.

A candidate is new: nothing of it is in the hull it is compared with. A known crystal is therefore judged on hulls
without itself, on both sides: without its own phase in the potential's table, and without it among the DFT phases. Both
energies can then be negative, and an error of the potential cannot hide behind a phase that is compared with itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from genmat.screening.calibration_data import read_work
from genmat.screening.hull import Phase, ReferenceHull, amounts, fractions
from genmat.screening.uncertainty import same_composition

if TYPE_CHECKING:
    import pandas as pd

ENTRIES = "mp/hull_entries.csv.gz"
MP2020 = "dft:MP2020"
NEAREST = 0.03  # eV/atom: the DFT phase of the same composition this near is taken for the crystal itself
ON_HULL = 1e-3  # eV/atom: up to here a stated energy above the hull is that of a hull phase


@dataclass(frozen=True)
class Competitors:
    """All phases of a source, so that hulls without one of them can be built.

    Args:
        systems: chemical system -> formula -> [(key, formation energy eV/atom), …]; keys tell phases apart.
        source: of the energies.
    """

    systems: Mapping[str, Mapping[str, list[tuple[str, float]]]]
    source: str

    def of(self, shares: Mapping[str, float]) -> list[tuple[str, float]]:
        """The phases of one composition."""
        members = self.systems.get("-".join(sorted(shares)), {})
        return [phase for formula, phases in members.items() if same_composition(formula, shares) for phase in phases]

    def without(self, shares: Mapping[str, float], own: tuple[str, float] | None) -> ReferenceHull:
        """Hull of a chemical system without one phase of the composition."""
        symbols = sorted(shares)
        phases: dict[str, list[Phase]] = {}
        for size in range(1, len(symbols) + 1):
            for part in combinations(symbols, size):
                system = "-".join(part)
                for formula, members in self.systems.get(system, {}).items():
                    mine = own is not None and same_composition(formula, shares)
                    kept = [phase[1] for phase in members if not (mine and phase == own)]
                    if kept:
                        phases.setdefault(system, []).append(Phase(formula, min(kept)))
        return ReferenceHull(self.source, dict.fromkeys(symbols, 0.0), phases, energy_source=self.source)


def potential_phases(hull: ReferenceHull) -> Competitors:
    """Every phase of the shipped table, not only the lowest of its composition; keys are Materials Project ids."""
    from genmat.screening.reference import read_table

    systems: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for row in read_table(hull.source).itertuples():
        shares = fractions(row.formula)
        if not shares.keys() <= hull.references.keys():
            continue
        energy = float(row.energy_per_atom) - sum(x * hull.references[s] for s, x in shares.items())
        systems.setdefault("-".join(sorted(shares)), {}).setdefault(row.formula, []).append((row.id, energy))
    return Competitors(systems, hull.source)


def dft_phases(data: Path) -> Competitors:
    """Every DFT phase of the Materials Project; no keys."""
    import pandas as pd

    table = pd.read_csv(data / ENTRIES, keep_default_na=False, na_values=[""])
    systems: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for formula, energy in zip(table.composition, table.ef_mp2020like, strict=True):
        system = "-".join(symbol for symbol, _ in amounts(formula))
        systems.setdefault(system, {}).setdefault(formula, []).append(("", float(energy)))
    return Competitors(systems, MP2020)


def assemble(db: sqlite3.Connection, data: Path, hull: ReferenceHull, fitted: Mapping[str, float]) -> pd.DataFrame:
    """One row per crystal: labels and predictions.

    Args:
        db: working file of `calibrate`.
        data: folder with the DFT phases.
        hull: the shipped hull of the potential.
        fitted: element references that bring the potential to the DFT scale, eV/atom.

    Returns:
        the columns of `read_work`, ``chemsys``, ``shares``, ``form`` (predicted, references of the hull), ``form_dft``
        (predicted, fitted references), ``above`` (predicted) and ``true_above`` (DFT) energy above the hulls without
        the crystal; eV/atom. Crystals with an element without reference are left out.
    """
    import pandas as pd

    ours, theirs = potential_phases(hull), dft_phases(data)
    rows = []
    for row in read_work(db).to_dict("records"):
        shares = fractions(row["composition"])
        if not (shares.keys() <= hull.references.keys() and shares.keys() <= fitted.keys()):
            continue
        energy = row[hull.energy_source]
        form = hull.formation_energy(shares, energy)
        own = next((phase for phase in ours.of(shares) if phase[0] == row["id"]), None)
        rows.append(
            {
                **row,
                "shares": shares,
                "chemsys": "-".join(sorted(shares)),
                "form": form,
                "form_dft": energy - sum(x * fitted[s] for s, x in shares.items()),
                "above": ours.without(shares, own).e_above_hull(shares, form)[0],
                "true_above": _true_above(row, shares, theirs),
            }
        )
    return pd.DataFrame(rows)


def _true_above(row: Mapping, shares: Mapping[str, float], phases: Competitors) -> float:
    """DFT energy above the hull without the crystal: as stated where it is no hull phase, else computed."""
    stated, energy = row["e_hull"], row["e_form"]
    if stated is not None and stated > ON_HULL:  # NaN for WBM
        return float(stated)
    own = min(phases.of(shares), key=lambda phase: abs(phase[1] - energy), default=None)
    if own is not None and abs(own[1] - energy) > NEAREST:
        own = None
    return phases.without(shares, own).e_above_hull(shares, energy)[0]
