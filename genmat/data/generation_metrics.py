"""What the published evaluations of crystal generators measure, from one row per sampled crystal.

Definitions follow WyckoffTransformer's evaluation (SymmetryAdvantage/WyckoffTransformer, ``evaluation/
statistical_evaluator.py`` and ``ICML_eval/MP_20_paper_eval.ipynb``; Kazeev et al., arXiv:2503.02407) and CDVAE (Xie et
al., arXiv:2110.06197), so that figures can be laid side by side; where we differ a docstring says so. The denominator
of every share of samples is the number sampled, failures included (the published one counts only samples with an
energy, which flatters).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.data.disorder import is_ordered
from genmat.data.population import TIERS, TestSplit

if TYPE_CHECKING:
    from pymatgen.core import Structure

THRESHOLDS = (0.0, 0.05, 0.08, 0.1)
"""eV/atom above the hull, up to which a crystal counts as stable."""
KEPT = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
"""Shares of the least surprising that `selection_curve` keeps."""


@dataclass(frozen=True)
class Judged:
    """One sampled crystal, judged before and after relaxation; None = not known because it failed before.

    Attributes:
        id, formula: of the sample.
        n_atoms: in the primitive cell as sampled.
        structurally_valid: `structurally_valid` of the crystal as sampled.
        smact_valid: charge balance by SMACT's first list of oxidation states, as published.
        charge_balanced: ours, by those of the ICSD.
        label: protostructure label as sampled; label_first: the first sample with it.
        spacegroup, template_sampled: as sampled (0.1 Å).
        new_template_sampled: the training population has no such anonymous Wyckoff template.
        log_likelihood: nats, of composition and prototype where the source tells it, else of whatever it scored.
        known_sampled: tier of the known crystal the sample is before relaxation; "" when new.
        duplicate_sampled: id of the earlier sample it equals before relaxation; "" when the first.
        spacegroup_relaxed, template, n_elements, n_sites, density: of the relaxed crystal (0.1 Å; g/cm³).
        new_template: as new_template_sampled, of the relaxed crystal.
        relaxed_valid: `structurally_valid` of the relaxed crystal.
        known: tier (`population.TIERS`) of the known crystal it is after relaxation; "" when new. known_as: its id.
        duplicate_of: id of the sample it equals after relaxation; "" when the first.
        energy_per_atom, e_above_hull: eV/atom.
        converged: whether the relaxation did.
        rmsd: Å from the sample to the relaxed crystal; None when they cannot be laid on each other.
        stayed: StructureMatcher says sample and relaxed crystal are the same.
        failure: why there is no energy.
        disorder_probability, disorder_type: from composition (`genmat.data.disorder`), at the prior of the run.
    """

    id: str
    formula: str = ""
    n_atoms: int = 0
    structurally_valid: bool = False
    smact_valid: bool = False
    charge_balanced: bool = False
    label: str = ""
    label_first: bool = False
    spacegroup: int | None = None
    template_sampled: str | None = None
    new_template_sampled: bool | None = None
    log_likelihood: float | None = None
    known_sampled: str | None = None
    duplicate_sampled: str | None = None
    spacegroup_relaxed: int | None = None
    template: str | None = None
    n_elements: int | None = None
    n_sites: int | None = None
    density: float | None = None
    new_template: bool | None = None
    relaxed_valid: bool | None = None
    known: str | None = None
    known_as: str | None = None
    duplicate_of: str | None = None
    energy_per_atom: float | None = None
    e_above_hull: float | None = None
    converged: bool | None = None
    rmsd: float | None = None
    stayed: bool | None = None
    failure: str | None = None
    disorder_probability: float | None = None
    disorder_type: str | None = None

    def is_new(self, tier: str = "training") -> bool:
        """New, after relaxation, to a tier of known crystals (and so to the narrower ones)."""
        return self.known is not None and is_new(self.known, tier)


def is_new(known: str, tier: str) -> bool:
    """Is a crystal whose narrowest known tier is `known` ("" = none) new to `tier`?"""
    return known == "" or TIERS.index(known) > TIERS.index(tier)


def structurally_valid(structure: Structure) -> bool:
    """CDVAE's test: no two atoms closer than 0.5 Å (an atom's own images are not looked at), at least 0.1 Å³."""
    try:
        if not (structure.volume >= 0.1 and np.isfinite(structure.frac_coords).all()):
            return False
        distances = structure.distance_matrix + 10.0 * np.eye(len(structure))
        return bool(np.isfinite(distances).all() and distances.min() >= 0.5)
    except Exception:  # a cell without volume or with numbers that are none defeats the distances
        return False


def wilson(count: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 % by default (J. Am. Stat. Assoc. 22, 209 (1927)).

    >>> tuple(round(edge, 4) for edge in wilson(3, 10))
    (0.1078, 0.6032)
    """
    if n == 0:
        return 0.0, 1.0
    share, weight = count / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    half = z * sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def spacegroup_chi2(groups: Sequence[int], test: Mapping[int, float]) -> float | None:
    """χ² of space groups against the test split: Σ (p - q)² / q over the test split's groups.

    p, q are shares; samples in groups the test split has not are left out and p is normalised without them: the
    definition of ``StatisticalEvaluator.get_sg_chi2``. A perfect generator has (K - 1) / n on average with K groups and
    n samples (0.14 for 1,000), see `chi2_floor`. None without samples.
    """
    counts = Counter(group for group in groups if group in test)
    total = sum(counts.values())
    if not total:
        return None
    return float(sum((counts[group] / total - share) ** 2 / share for group, share in test.items()))


def chi2_floor(n: int, test: Mapping[int, float]) -> float | None:
    """`spacegroup_chi2` expected of n samples drawn from the test split itself; None without samples."""
    return (len(test) - 1) / n if n else None


def distance(ours: Sequence[float], theirs: np.ndarray) -> float | None:
    """Wasserstein (earth mover's) distance of two samples, in their unit; None without samples."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(ours, theirs)) if len(ours) else None


def sun(
    rows: Sequence[Judged], threshold: float, tier: str = "training", symmetric: bool = False, ordered: bool = False
) -> int:
    """How many samples are stable, unique and new, all judged after relaxation.

    If `symmetric`, P1 does not count; if `ordered` (S.U.N.O), what is likely disordered (`is_ordered`) does not.

    Stable: at most `threshold` eV/atom above the hull. Of several equal samples one counts, if any is stable.
    """
    good = (
        row
        for row in rows
        if row.e_above_hull is not None
        and row.e_above_hull <= threshold
        and row.is_new(tier)
        and not (symmetric and row.spacegroup_relaxed == 1)
        and not (ordered and not is_ordered({"disorder_probability": row.disorder_probability}))
    )
    return len({row.duplicate_of or row.id for row in good})


def share(count: int, n: int) -> dict[str, float]:
    """A count with its share of n (0 of none) and the 95 % interval, in percent."""
    low, high = wilson(count, n)
    return {
        "count": count,
        "of": n,
        "percent": 100 * count / n if n else 0.0,
        "low": 100 * low,
        "high": 100 * high,
    }


def summarise(rows: Sequence[Judged], test: TestSplit) -> dict[str, Any]:
    """All figures of one source, grouped: ``sampled``, ``relaxed``, ``published`` and ``sun``.

    ``published`` are the figures whose published values are taken over unique samples new to the training population
    (after relaxation): validity over all of those, the rest over the structurally valid ones of them. In ``sun``,
    ``of_relaxed`` has the published denominator (samples with an energy) and novelty against training.
    """
    n = len(rows)
    relaxed = [row for row in rows if row.e_above_hull is not None]
    return {
        "n": n,
        "sampled": _sampled(rows, test),
        "relaxed": _relaxed(relaxed, n),
        "published": _published(relaxed, test),
        "sun": {
            f"{threshold:g}": {
                "stable": share(sum(row.e_above_hull <= threshold for row in relaxed), n),  # type: ignore[operator]
                **{
                    tier: {
                        "sun": share(sun(rows, threshold, tier), n),
                        "symmetric": share(sun(rows, threshold, tier, symmetric=True), n),
                        "ordered": share(sun(rows, threshold, tier, ordered=True), n),
                    }
                    for tier in TIERS
                },
                "of_relaxed": {
                    "sun": share(sun(rows, threshold), len(relaxed)),
                    "symmetric": share(sun(rows, threshold, symmetric=True), len(relaxed)),
                },
            }
            for threshold in THRESHOLDS
        },
    }


def _sampled(rows: Sequence[Judged], test: TestSplit) -> dict[str, Any]:
    n = len(rows)
    groups = [row.spacegroup for row in rows if row.spacegroup is not None]
    first = [row for row in rows if row.structurally_valid and row.label_first]
    return {
        "structurally_valid": share(sum(row.structurally_valid for row in rows), n),
        "smact_valid": share(sum(row.smact_valid for row in rows), n),
        "charge_balanced": share(sum(row.charge_balanced for row in rows), n),
        "disordered": share(
            sum(is_ordered({"disorder_probability": row.disorder_probability}) is False for row in rows), n
        ),
        "unique_label": share(sum(row.label_first for row in rows), n),
        "new_templates": share(sum(bool(row.new_template_sampled) for row in first), len(first)),
        "p1": share(groups.count(1), n),
        "spacegroup_chi2": spacegroup_chi2(groups, test.spacegroups),
        "spacegroup_chi2_floor": chi2_floor(len(groups), test.spacegroups),
    }


def _relaxed(relaxed: Sequence[Judged], n: int) -> dict[str, Any]:
    """Of the samples with an energy, over all sampled; new templates over unique valid ones."""
    moved = [row.rmsd for row in relaxed if row.rmsd is not None]
    fine = [row for row in relaxed if row.relaxed_valid and not row.duplicate_of]
    return {
        "relaxed": share(len(relaxed), n),
        "converged": share(sum(bool(row.converged) for row in relaxed), n),
        "unique": share(sum(not row.duplicate_of for row in relaxed), len(relaxed)),
        **{f"new_to_{tier}": share(sum(row.is_new(tier) for row in relaxed), n) for tier in TIERS},
        "p1": share(sum(row.spacegroup_relaxed == 1 for row in relaxed), len(relaxed)),
        "new_templates": share(sum(bool(row.new_template) for row in fine), len(fine)),
        "stayed": share(sum(bool(row.stayed) for row in relaxed), len(relaxed)),
        "rmsd_mean": float(np.mean(moved)) if moved else None,
        "rmsd_median": float(np.median(moved)) if moved else None,
        "rmsd_n": len(moved),
    }


def _published(relaxed: Sequence[Judged], test: TestSplit) -> dict[str, Any]:
    novel = [row for row in relaxed if not row.duplicate_of and row.is_new()]
    fine = [row for row in novel if row.relaxed_valid]
    groups = [row.spacegroup_relaxed for row in fine if row.spacegroup_relaxed is not None]
    return {
        "n": len(novel),
        "structurally_valid": share(len(fine), len(novel)),
        "smact_valid": share(sum(row.smact_valid for row in novel), len(novel)),
        "new_templates": share(sum(bool(row.new_template) for row in fine), len(fine)),
        "p1": share(groups.count(1), len(fine)),
        "spacegroup_chi2": spacegroup_chi2(groups, test.spacegroups),
        "spacegroup_chi2_floor": chi2_floor(len(groups), test.spacegroups),
        "n_elements_distance": distance(_known([row.n_elements for row in fine]), test.n_elements),
        "n_sites_distance": distance(_known([row.n_sites for row in fine]), test.n_sites),
        "density_distance": distance(_known([row.density for row in fine]), test.density),
    }


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def selection_curve(
    rows: Sequence[Judged], tier: str = "training", score: Callable[[Judged], float | None] | None = None
) -> list[dict[str, Any]]:
    """What choosing before relaxing buys: S.U.N. per relaxation for several shares kept, against no selection.

    Chosen from are samples that are valid, charge-balanced (ours), unique and new before relaxation; of these the share
    with the smallest surprise (-log-likelihood of the whole sentence; `score` replaces it) is kept. The first line is
    everything, unselected. Each line: ``kept`` (share of the choosable, None for no selection), ``n`` relaxed,
    ``acceptance`` (n / sampled), and S.U.N. and symmetric S.U.N. of these n at every threshold.

    Returns:
        Lines, or an empty list when no sample has a log-likelihood.
    """
    surprise = score or (lambda row: None if row.log_likelihood is None else -row.log_likelihood)
    scored = [(surprise(row), row) for row in rows]
    choosable = [
        (value, row)
        for value, row in scored
        if value is not None and row.structurally_valid and row.charge_balanced and _fresh(row, tier)
    ]
    if not choosable:
        return []
    choosable.sort(key=lambda pair: (pair[0], pair[1].id))
    lines = [_line(None, rows, len(rows), tier)]
    for kept in KEPT:
        chosen = [row for _, row in choosable[: max(1, round(kept * len(choosable)))]]
        lines.append(_line(kept, chosen, len(rows), tier))
    return lines


def _fresh(row: Judged, tier: str) -> bool:
    return row.duplicate_sampled == "" and row.known_sampled is not None and is_new(row.known_sampled, tier)


def _line(kept: float | None, chosen: Sequence[Judged], sampled: int, tier: str) -> dict[str, Any]:
    found = {
        f"{threshold:g}": {
            "sun": share(sun(chosen, threshold, tier), len(chosen)),
            "symmetric": share(sun(chosen, threshold, tier, symmetric=True), len(chosen)),
        }
        for threshold in THRESHOLDS
    }
    return {"kept": kept, "n": len(chosen), "acceptance": len(chosen) / sampled, "sun": found}


def agreement(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """How two sets of energies above hull (eV/atom) of the same crystals agree, beside guessing their median.

    ``same_side`` counts crystals that both call stable or both call unstable at each of 0, 0.05 and 0.1 eV/atom;
    ``guess`` is what calling all of them the more frequent would give.
    """
    x, y = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    gap = x - y
    sides: dict[str, Any] = defaultdict(dict)
    for threshold in (0.0, 0.05, 0.1):
        stable = (y <= threshold).mean()
        same = int(((x <= threshold) == (y <= threshold)).sum())
        sides[f"{threshold:g}"] = {**share(same, len(y)), "guess": 100 * float(max(stable, 1 - stable))}
    return {
        "n": len(y),
        "mae": float(np.abs(gap).mean()),
        "median_absolute": float(np.median(np.abs(gap))),
        "bias": float(gap.mean()),
        "guess_mae": float(np.abs(y - np.median(y)).mean()),
        "spearman": _spearman(x, y),
        "same_side": dict(sides),
    }


def _spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    found = float(spearmanr(x, y).statistic) if len(x) > 2 else float("nan")
    return None if np.isnan(found) else found
