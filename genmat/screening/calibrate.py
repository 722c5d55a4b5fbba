"""Calibrate the doubt about a potential: the job behind the shipped ``calibration_<potential>.json``.

    python -m genmat.screening.calibrate relax   --data DATA --work errors.db --n 2200
    python -m genmat.screening.calibrate members --work errors.db [--also m3gnet:FOLDER]
    python -m genmat.screening.calibrate fit     --data DATA --work errors.db --json figures.json

``relax`` and ``members`` commit crystal by crystal: kill them anywhere, the same command carries on. ``fit`` takes
seconds, prints every figure and writes the calibration and its card. ``--potential m3gnet:FOLDER`` on each calibrates
another potential, for which a reference table and element references must be shipped.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.errors import GenmatError
from genmat.screening import calibration_data as work
from genmat.screening import calibration_scores as scores
from genmat.screening.calibration_errors import MP2020
from genmat.screening.uncertainty import STABLE, Calibration, calibration_file

if TYPE_CHECKING:
    import pandas as pd

logging.getLogger("moyo").setLevel(logging.ERROR)
CHECKPOINTS = ("chgnet", "chgnet:0.2.0", "chgnet:r2scan")


def committee_of(name: str) -> tuple[str, ...]:
    """The potential itself and the members that need no download: the checkpoints in CHGNet's package."""
    return CHECKPOINTS if name in CHECKPOINTS else (name, *CHECKPOINTS)


def run_relax(args: argparse.Namespace) -> None:
    """Sample crystals and relax them as a screening does."""
    from genmat.screening.potentials import load

    db = work.open_work(args.work)
    work.prepare(db, args.data, args.n)
    work.relax_all(db, load(args.potential), _teller("relax"), args.limit)
    print(json.dumps(work.losses(db)))


def run_members(args: argparse.Namespace) -> None:
    """Energies of the committee, and of other potentials for the table of error correlations."""
    from genmat.screening.potentials import load

    db = work.open_work(args.work)
    for name in (*committee_of(args.potential), *args.also):
        work.evaluate_member(db, load(name), _teller(name))


def run_fit(args: argparse.Namespace) -> None:
    """Cross-validate, print, write."""
    from genmat.screening.calibration_errors import assemble
    from genmat.screening.calibration_report import lines, write_card
    from genmat.screening.potentials import load
    from genmat.screening.reference import element_references, load_reference

    db = work.open_work(args.work)
    sources = {name: load(name).info.source for name in committee_of(args.potential)}
    source, name = sources[args.potential], args.potential.partition(":")[0]
    hull, fit = load_reference(None, source), element_references(source)
    if fit["target"] != MP2020:
        raise GenmatError(
            f"{source}: its energies are not on the {MP2020} scale of the labels; nothing to calibrate on"
        )
    table = assemble(db, args.data, hull, fit["mu"])
    found = calibrate(table, {name: source, **{k: v for k, v in sources.items() if v != source}}, fit["mu"])
    figures = {"losses": work.losses(db), **found["figures"]}
    print("\n".join(lines(figures)))
    path = calibration_file(name)
    path.write_text(json.dumps(found["calibration"].to_dict(), sort_keys=True) + "\n")
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")
    write_card(figures, name)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def calibrate(table: pd.DataFrame, sources: dict[str, str], references: dict[str, float]) -> dict[str, Any]:
    """The calibration made from all crystals, and the figures of calibrations made without the ones judged.

    Args:
        table: from `calibration_errors.assemble`.
        sources: name -> source of the committee, the potential itself (whose own hull is judged) first.
        references: element references of the potential on the DFT scale, eV/atom.
    """
    source = next(iter(sources.values()))
    members = scores.committee(table, sources, references)
    energies = scores.formations(table, members)
    spread = scores.spreads(energies)
    typical = float(np.nanmedian(spread))
    todo = scores.tasks(table, np.where(np.isfinite(spread), spread, typical))
    everything = np.arange(len(table))
    hulls = {
        source if name == "own" else name: {kind: task.fit(everything) for kind, task in kinds.items()}
        for name, kinds in todo.items()
    }
    counts = table.source.value_counts()
    note = (
        f"calibrated on {counts['mp']} crystals of the Materials Project and {counts['wbm']} of WBM; "
        "90 % intervals of the DFT value (PBE/PBE+U, MP2020)"
    )
    made = Calibration(source, tuple(members), typical, hulls, note)
    return {"calibration": made, "figures": _figures(table, todo, members, spread)}


def _figures(table: pd.DataFrame, todo: dict, members: Sequence, spread: np.ndarray) -> dict[str, Any]:
    wbm = (table.source == "wbm").to_numpy()
    kinds = {
        "e_form": todo["own"]["formation"],
        "e_above_hull": todo["own"]["above"],
        "e_form, DFT scale": todo["dft:MP2020"]["formation"],
    }
    figures: dict[str, Any] = {
        "crystals": {s: int((table.source == s).sum()) for s in ("mp", "wbm")},
        "systems": int(table.chemsys.nunique()),
        "targets": {},
    }
    for name, task in kinds.items():
        verdicts = scores.cross_validate(task)
        figures["targets"][name] = _target(table, task, verdicts, spread)
        if name == "e_above_hull":
            # stated energies are of a hull that holds the crystal itself, and never negative
            cut = scores.Verdicts(np.maximum(verdicts.low, 0), np.maximum(verdicts.high, 0), verdicts.stable)
            stated = np.maximum(table.e_hull.to_numpy(float), 0)
            figures["targets"][name]["coverage_stated"] = float(cut.covered(stated)[~wbm].mean())
            figures["stable"] = _probabilities(task, verdicts, spread, wbm)
    figures["correlation"] = _correlations(table, members)
    return figures


def _target(table: pd.DataFrame, task: scores.Task, verdicts: scores.Verdicts, spread: np.ndarray) -> dict[str, Any]:
    """Errors, coverage and width of one energy; what simpler intervals reach beside it."""
    wbm = (table.source == "wbm").to_numpy()
    error = task.truth - task.guess
    covered, subsets = verdicts.covered(task.truth), scores.subsets(table)
    raw = np.abs(error) <= scores.NORMAL_90 * np.where(np.isfinite(spread), spread, 0.0)
    moved = scores.transfer(scores.Task(task.truth, task.guess, task.features, _classes(table), task.families), ~wbm)
    weight = table.weight.to_numpy(float)[~wbm]
    return {
        "mae": {name: float(np.abs(error[rows]).mean()) for name, rows in (("mp", ~wbm), ("wbm", wbm))},
        "bias": {name: float(error[rows].mean()) for name, rows in (("mp", ~wbm), ("wbm", wbm))},
        "coverage": scores.coverage_by(covered, subsets),
        "coverage_raw_spread": scores.coverage_by(raw, {k: subsets[k] for k in ("all", "mp", "wbm")}),
        "coverage_wbm_from_mp": float(moved.covered(task.truth)[wbm].mean()),
        "coverage_mp_weighted": float(np.average(covered[~wbm], weights=weight)),
        "width": {
            name: float(np.median((verdicts.high - verdicts.low)[rows])) for name, rows in (("mp", ~wbm), ("wbm", wbm))
        },
    }


def _classes(table: pd.DataFrame) -> np.ndarray:
    """Group of each crystal, were all of them known ones."""
    from genmat.screening.uncertainty import group_of

    return np.array([group_of(x, False) for x in table.shares])


def _probabilities(
    task: scores.Task, verdicts: scores.Verdicts, spread: np.ndarray, wbm: np.ndarray
) -> dict[str, dict[str, Any]]:
    """P(stable) and its baselines, by source."""
    from scipy.stats import norm

    truth = (task.truth <= STABLE).astype(float)
    width = np.where(np.isfinite(spread), spread, np.nanmedian(spread))
    guesses = {
        "P(stable)": verdicts.stable,
        "base rate": None,
        "hard threshold": (task.guess <= STABLE).astype(float),
        "normal with raw spread": norm.cdf((STABLE - task.guess) / np.maximum(width, 1e-3)),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, rows in (("mp", ~wbm), ("wbm", wbm)):
        rate = np.full(rows.sum(), truth[rows].mean())
        found[name] = {
            guess: scores.probability_scores(rate if p is None else p[rows], truth[rows])
            for guess, p in guesses.items()
        }
        found[name]["n"], found[name]["rate"] = int(rows.sum()), float(rate[0])
    return found


def _correlations(table: pd.DataFrame, members: Sequence) -> dict[str, Any]:
    """Error correlation between all potentials evaluated, in their own element references, by source of crystals."""
    known = {member.source for member in members}
    others = [str(c) for c in table.columns if "-" in str(c) and c not in known and int(table[c].count()) > 100]
    sources = {members[0].name: members[0].source, **{name: name for name in others}}
    everyone = [*members, *scores.committee(table, sources, members[0].references)[1:]]
    energies, truth = scores.formations(table, everyone), table.e_form.to_numpy(float)
    found: dict[str, Any] = {"names": [member.source for member in everyone]}
    for name in ("mp", "wbm"):
        rows = (table.source == name).to_numpy()
        matrix, mae, n = scores.error_correlation(energies[:, rows], truth[rows])
        found[name] = {"matrix": matrix.round(3).tolist(), "mae": mae.round(4).tolist(), "n": n}
    return found


def _teller(name: str) -> Callable[[int, int], None]:
    """Prints progress and the time left every half minute."""
    began, told = time.monotonic(), [0.0]

    def tell(done: int, total: int) -> None:
        spent = time.monotonic() - began
        if spent - told[0] > 30 or done == total:
            told[0] = spent
            print(f"{name}: {done} of {total}, {spent:.0f} s, {(total - done) * spent / done:.0f} s left", flush=True)

    return tell


def main(argv: list[str] | None = None) -> None:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["relax", "members", "fit"])
    parser.add_argument("--data", type=Path, help="folder with mp/ and benchmarks/ (relax, fit)")
    parser.add_argument("--potential", default="chgnet", help="what to calibrate, such as m3gnet:FOLDER")
    parser.add_argument("--work", type=Path, required=True, help="working file of the job (SQLite)")
    parser.add_argument("--n", type=int, default=2200, help="crystals of the Materials Project to relax")
    parser.add_argument("--limit", type=int, help="relax at most so many now")
    parser.add_argument("--also", nargs="*", default=[], help="further potentials for the error correlations")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args(argv)
    if args.task != "members" and args.data is None:
        parser.error("--data is needed")
    {"relax": run_relax, "members": run_members, "fit": run_fit}[args.task](args)


if __name__ == "__main__":
    main()
