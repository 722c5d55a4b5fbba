"""Energy ordering of known polymorphs: does the potential put the phases of one composition in the order of DFT?

Each polymorph is relaxed inside its own space group, so that it stays the polymorph the DFT energy belongs to, and is
also judged as it is stored. Pairs are made inside one family of DFT energies only. Within a composition element
references and most corrections cancel, so potentials of different levels of theory can be put side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.screening.stress.figures import Figure, share_figure
from genmat.screening.stress.table import Known, all_known

if TYPE_CHECKING:
    import pandas as pd

    from genmat.screening.potentials.base import Potential

CLOSE = 0.005  # eV/atom: DFT itself does not decide pairs nearer than this
NEAR = 0.05  # eV/atom: polymorphs that compete
MAX_ATOMS, PER_GROUP = 16, 12


def choose(table: pd.DataFrame, n_pairs: int, seed: int = 0) -> list[Candidate]:
    """Polymorphs for about `n_pairs` pairs: test split first, small cells first, then validation.

    A group holds structures of one formula, one family of energies and different labels, at most `PER_GROUP` of them.
    """
    rows = table[(table.n_primitive <= MAX_ATOMS) & table.split.isin(["test", "val"])]
    rows = rows.sample(frac=1.0, random_state=seed)
    rows = rows[rows.duplicated(["formula", "family"], keep=False)]
    groups = [group for _, group in rows.groupby(["formula", "family"], sort=True)]
    groups.sort(key=lambda g: (g.split.iloc[0] != "test", g.n_primitive.max(), len(g), g.formula.iloc[0]))
    chosen: list[Candidate] = []
    pairs = 0
    for group in groups:
        if pairs >= n_pairs:
            break
        members = list({phase.label: phase for phase in all_known(group.head(2 * PER_GROUP))}.values())[:PER_GROUP]
        if len(members) > 1:
            chosen += [_candidate(phase) for phase in members]
            pairs += len(members) * (len(members) - 1) // 2
    return chosen


def _candidate(phase: Known) -> Candidate:
    facts = {
        "formula": phase.formula,
        "dft": phase.energy,
        "source": phase.source,
        "label": phase.label,
        "volume": phase.structure.volume / len(phase.structure),
        "order": phase.order,
    }
    return Candidate(phase.id, "mp", structure=phase.structure, provenance=facts)


def single_point_stage(candidates: Iterable[Candidate], potential: Potential) -> Iterator[Candidate]:
    """Add ``input_energy_per_atom``: eV/atom of the geometry as stored, with the potential's own correction."""
    correct = getattr(potential, "correction", None)
    for candidate in candidates:
        crystal = candidate.structure
        assert crystal is not None  # `choose` gives every candidate one
        if not {site.specie.symbol for site in crystal} <= set(potential.info.elements):
            yield candidate.fail("single point", f"{potential.info.name} does not cover all its elements")
            continue
        # one by one: what a crystal's energy is must not depend on the others of a batch
        energy = float(potential.evaluate([crystal], gradients=False).energies[0]) / len(crystal)
        if not np.isfinite(energy):
            yield candidate.fail("single point", "potential returned no number")
        else:
            yield candidate.add(input_energy_per_atom=energy + (float(correct(crystal)) if correct else 0.0))


def pairs_of(candidates: Sequence[Candidate], allowed: set[str] | None = None) -> list[dict[str, Any]]:
    """One row per pair of polymorphs both of which the potential has relaxed.

    Energies are differences b - a in eV/atom: ``dft``, ``relaxed``, ``input``; ``volume`` (Å³/atom) and ``order`` (of
    the point group) likewise.

    Args:
        candidates: after the relaxation.
        allowed: ids that may take part; all when None.
    """
    groups: dict[tuple, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.alive and (allowed is None or candidate.id in allowed):
            groups[candidate.provenance["formula"], candidate.provenance["source"]].append(candidate)
    rows = []
    for (formula, source), members in sorted(groups.items()):
        for a, b in combinations(members, 2):
            facts_a, facts_b = a.provenance, b.provenance
            rows.append(
                {
                    "formula": formula,
                    "source": source,
                    "a": a.id,
                    "b": b.id,
                    "dft": facts_b["dft"] - facts_a["dft"],
                    "relaxed": b.results["energy_per_atom"] - a.results["energy_per_atom"],
                    "input": b.results["input_energy_per_atom"] - a.results["input_energy_per_atom"],
                    "volume": facts_b["volume"] - facts_a["volume"],
                    "order": facts_b["order"] - facts_a["order"],
                }
            )
    return rows


def judge(candidates: Sequence[Candidate], allowed: set[str] | None = None) -> list[Figure]:
    """Figures of the energy ordering, with the baselines coin, smaller volume and higher symmetry."""
    rows = pairs_of(candidates, allowed)
    if not rows:
        return _survival(candidates) if candidates else []
    pick = {name: np.array([row[name] for row in rows]) for name in ("dft", "relaxed", "input", "volume", "order")}
    formulas = [row["formula"] for row in rows]
    clear = np.abs(pick["dft"]) >= CLOSE
    guesses = {"denser": pick["volume"], "more symmetric": -pick["order"]}
    near = clear & (np.abs(pick["dft"]) <= NEAR)

    def share(key: str, label: str, values: str, chosen: np.ndarray) -> Figure:
        best = guesses if key != "order_close" else {}  # below DFT's own error no guess means anything
        return _share(key, label, pick[values], pick["dft"], chosen, formulas, best)

    figures = [
        share("order_relaxed", "pairs ordered as DFT, relaxed", "relaxed", clear),
        share("order_input", "pairs ordered as DFT, as stored", "input", clear),
        share("order_near", "relaxed, DFT difference 5–50 meV/atom", "relaxed", near),
        share("order_close", "relaxed, DFT difference < 5 meV/atom", "relaxed", ~clear),
    ]
    for name in ("relaxed", "input"):
        error, size = 1000 * np.abs(pick[name] - pick["dft"]), 1000 * np.abs(pick["dft"])
        text = f"MAE of energy differences, {'as stored' if name == 'input' else name}"
        baseline = (float(size.mean()), "no difference")
        if name == "relaxed":
            middle = (float(np.median(error)), "meV/atom", len(error), float(np.median(size)), "no difference", "lower")
            figures.append(Figure("median_relaxed", "median error of energy differences, relaxed", *middle))
        figures.append(Figure(f"mae_{name}", text, float(error.mean()), "meV/atom", len(error), *baseline, "lower"))
    return [*figures, *_rank_figures(rows), *_survival(candidates)]


def _share(key, label, values, truth, chosen, formulas, guesses) -> Figure:
    """Share of pairs whose sign is right; a tie of the potential counts half. Baseline: the best guess or the coin."""
    right = _right(values[chosen], truth[chosen])
    best, name = 0.5, "coin"
    for guess, difference in guesses.items():
        share = float(_right(difference[chosen], truth[chosen]).mean()) if chosen.any() else 0.5
        if share > best:
            best, name = share, guess
    inside = [formula for formula, keep in zip(formulas, chosen, strict=True) if keep]
    return share_figure(key, label, right, inside, best, name)


def _right(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    signs = np.sign(np.where(np.abs(values) < 1e-6, 0.0, values)) * np.sign(truth)
    return (signs + 1) / 2


def _rank_figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """Mean Spearman and Kendall correlation of the relaxed energies with DFT over compositions of three and more."""
    from scipy.stats import kendalltau, spearmanr

    groups: dict[tuple, dict[str, tuple[float, float]]] = defaultdict(dict)
    for row in rows:  # energies relative to the first member of the group
        group = groups[row["formula"], row["source"]]
        base = group.setdefault(row["a"], (0.0, 0.0))
        group.setdefault(row["b"], (base[0] + row["dft"], base[1] + row["relaxed"]))
    scores = []
    for members in groups.values():
        truth, found = np.array(list(members.values())).T
        if len(truth) > 2 and np.ptp(truth) > 0 and np.ptp(found) > 0:
            scores.append((spearmanr(truth, found).statistic, kendalltau(truth, found).statistic))
    if not scores:
        return []
    spearman, kendall = np.mean(scores, axis=0)
    n = len(scores)
    return [
        Figure("spearman", "Spearman per composition, mean", float(spearman), "", n, 0.0, "coin", "higher"),
        Figure("kendall", "Kendall per composition, mean", float(kendall), "", n, 0.0, "coin", "higher"),
    ]


def _survival(candidates: Sequence[Candidate]) -> list[Figure]:
    """How many relaxations of known polymorphs ended, and how much their volume changed."""
    done = [c for c in candidates if c.alive]
    n, failed = len(candidates), 100 * (1 - len(done) / len(candidates))
    figures = [Figure("polymorph_failures", "known polymorphs that failed", failed, "%", n, None, "", "lower")]
    if not done:
        return figures
    change = 100 * np.array([c.results["volume_change"] for c in done])
    middle, drifted = float(np.median(change)), float(100 * np.mean(np.abs(change) > 10))
    return [
        *figures,
        Figure("polymorph_volume", "median volume change of known polymorphs", middle, "%", len(done)),
        Figure("polymorph_drift", "volume changed by > 10 %", drifted, "%", len(done), None, "", "lower"),
    ]
