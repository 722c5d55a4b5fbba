"""From the records of a stress test to figures, grades and one line per check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from genmat.candidate import Candidate
from genmat.screening.funnel import group_reasons
from genmat.screening.stress import elastic, eos, gamma, polymorphs, substitution
from genmat.screening.stress.figures import Figure

Records = Mapping[str, Sequence[Candidate]]
"""Check -> its candidates after the last stage."""

GRADES: dict[str, tuple[float, float]] = {
    "order_relaxed": (85, 75),
    "mae_relaxed": (20, 50),
    "sub_failed": (1, 5),
    "sub_holes": (5, 15),
    "sub_suspicious": (1, 5),
    "eos_holes": (0, 5),
    "gamma_imaginary": (5, 15),
    "bulk_mae": (15, 30),
    "shear_mae": (12, 25),
}
"""What counts as good and as fair, in the figure's unit; a figure no better than its baseline is poor in any case."""

TITLES = {
    "order_relaxed": "Order of polymorphs",
    "mae_relaxed": "Energy differences of polymorphs",
    "sub_failed": "Relaxing substituted crystals",
    "sub_holes": "Holes",
    "sub_suspicious": "Too deep minima",
    "eos_holes": "Equations of state",
    "gamma_imaginary": "Vibrations at Γ",
    "bulk_mae": "Bulk modulus",
    "shear_mae": "Shear modulus",
}


@dataclass(frozen=True)
class Verdict:
    """The verdict about one potential.

    Args:
        source: of its energies, such as "chgnet-0.3.0".
        functional: level of theory.
        licence: of the weights.
        figures: all of them.
        grades: key -> "good", "fair" or "poor", for the figures of `GRADES`.
        failures: check -> reason -> count.
        seconds: check -> wall time, s.
    """

    source: str
    functional: str
    licence: str
    figures: tuple[Figure, ...]
    grades: Mapping[str, str]
    failures: Mapping[str, Mapping[str, int]]
    seconds: Mapping[str, float]

    def figure(self, key: str) -> Figure | None:
        """The figure of a key, or None."""
        return next((figure for figure in self.figures if figure.key == key), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        facts = {"potential": self.source, "functional": self.functional, "licence": self.licence}
        rows = [{**figure.to_dict(), "grade": self.grades.get(figure.key)} for figure in self.figures]
        failures = {check: dict(reasons) for check, reasons in self.failures.items()}
        return {**facts, "figures": rows, "failures": failures, "seconds": dict(self.seconds)}


def judge(info: Any, records: Records, seconds: Mapping[str, float]) -> Verdict:
    """The verdict from what the checks recorded.

    Args:
        info: the potential's `PotentialInfo`.
        records: of every check that was run.
        seconds: wall time of each check.
    """
    figures: list[Figure] = []
    if "polymorphs" in records:
        figures += polymorphs.judge(records["polymorphs"])
    if "substituted" in records:
        figures += substitution.judge(records["substituted"])
    if "known" in records:
        figures += [*eos.judge(records["known"]), *gamma.judge(records["known"])]
    if "elastic" in records:
        figures += elastic.judge(records["elastic"])
    grades = {figure.key: grade(figure) for figure in figures if figure.key in GRADES and figure.value is not None}
    failures = {
        check: group_reasons([c.failure.split(": ", 1)[-1] for c in candidates if c.failure is not None])
        for check, candidates in records.items()
    }
    return Verdict(info.source, info.functional, info.licence, tuple(figures), grades, failures, dict(seconds))


def grade(figure: Figure) -> str:
    """Good, fair or poor, by `GRADES`.

    >>> grade(Figure("order_relaxed", "", 90.0, "%", 10, 56.0, "denser", "higher"))
    'good'
    >>> grade(Figure("mae_relaxed", "", 30.0, "meV/atom", 10, 25.0, "no difference", "lower"))
    'poor'
    """
    assert figure.value is not None
    good, fair = GRADES[figure.key]
    sign = 1 if figure.better == "higher" else -1
    if figure.baseline is not None and sign * figure.value <= sign * figure.baseline:
        return "poor"
    if sign * figure.value >= sign * good:
        return "good"
    return "fair" if sign * figure.value >= sign * fair else "poor"


def common(records: Mapping[str, Records]) -> dict[str, list[Figure]]:
    """Order and differences on the polymorphs every potential has relaxed, by source: the fair comparison."""
    alive = [{c.id for c in checks.get("polymorphs", ()) if c.alive} for checks in records.values()]
    both = set.intersection(*alive) if alive else set()
    wanted = ("order_relaxed", "order_input", "mae_relaxed")
    return {
        source: [f for f in polymorphs.judge(checks.get("polymorphs", ()), both) if f.key in wanted]
        for source, checks in records.items()
    }


def agreements(records: Mapping[str, Records]) -> list[dict[str, Any]]:
    """How far each two potentials agree on the order of substituted polymorphs: ``share`` in % of ``n`` pairs."""
    rows = []
    for a, b in combinations(records, 2):
        share, n = substitution.agreement(records[a].get("substituted", ()), records[b].get("substituted", ()))
        if n:
            rows.append({"a": a, "b": b, "share": share, "n": n})
    return rows


def side_by_side(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One row per figure: ``key``, ``label``, ``unit``, ``baseline``, ``guess`` and ``values``, one per potential."""
    first: dict[str, Figure] = {}
    for verdict in verdicts:
        for figure in verdict.figures:
            first.setdefault(figure.key, figure)
    rows = []
    for key, figure in first.items():
        found = [verdict.figure(key) for verdict in verdicts]
        rows.append(
            {
                "key": key,
                "label": figure.label,
                "unit": figure.unit,
                "baseline": figure.baseline,
                "guess": figure.guess,
                "n": [f.n if f else 0 for f in found],
                "values": [f.value if f else None for f in found],
                "grades": [verdict.grades.get(key) for verdict in verdicts],
            }
        )
    return rows
