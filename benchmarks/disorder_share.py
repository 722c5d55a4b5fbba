"""How much of what is generated nature would disorder, and what that leaves of S.U.N.: S.U.N.O.

    python benchmarks/disorder_share.py runs/judged/values.csv --data ../shared/data --priors 0.25 0.5 --json share.json
    genmat generate --model crystal-gpt -n 1000 --out runs/gpt.jsonl
    python benchmarks/disorder_share.py --samples runs/gpt.jsonl --priors 0.25 0.5          # shares alone, no hull

Reads the `values.csv` of any `genmat evaluate generation`, files of samples, and the stored structures of MatterGen and
PLaID++ (with their own flag S.U.N.), and the test split of the Materials Project table. Of each set: the share of
samples that count as disordered (corrected probability of 0.5 or more) under every prior, and in brackets the mean
probability, which is the share expected if the prior is right. S.U.N. at most `--above` eV/atom above the hull, new to
the training set. For scale the same shares of the disorder test split, apart for formulas ever and never reported
disordered.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from genmat.cli.disorder import model_folder
from genmat.data.disorder import disorder_of, is_ordered
from genmat.data.generation_metrics import Judged, sun
from genmat.data.read import read_candidates

SUM = re.compile(r"_chemical_formula_sum\s+(?:'([^']+)'|\"([^\"]+)\"|(\S+))")


def read_values(path: Path) -> dict[str, list[Judged]]:
    """The rows of a values.csv by column of that evaluation; empty fields are unknown."""
    found: dict[str, list[Judged]] = {}
    kinds = {field.name: str(field.type) for field in dataclasses.fields(Judged)}
    with path.open(encoding="utf-8", newline="") as handle:
        for line in csv.DictReader(handle):
            values = {name: _value(line.get(name, ""), kind) for name, kind in kinds.items()}
            if values["e_above_hull"] is not None:
                values |= {name: values[name] or "" for name in ("known", "duplicate_of")}  # empty: new, the first
            found.setdefault(line["source"], []).append(Judged(**values))
    return found


def _value(text: str, kind: str) -> Any:
    if text == "":
        return "" if kind == "str" else False if kind == "bool" else None
    if "bool" in kind:
        return text == "True"
    return int(text) if "int" in kind else float(text) if "float" in kind else text


def formula_sums(texts: Iterator[str]) -> list[str]:
    """Formulas CIF texts state, without spaces; those that state none are left out."""
    found = (SUM.search(text) for text in texts)
    return [next(filter(None, match.groups())).replace(" ", "") for match in found if match]


def mattergen(data: Path) -> Iterator[tuple[str, list[str]]]:
    """(name, formulas) of MatterGen's release: generated, and by its competitors."""
    with zipfile.ZipFile(data / "generated" / "mattergen_data_release_cifs.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith(".cif") and "experimental" not in n]
        for folder, title in (
            ("mattergen", "MatterGen"),
            ("substitution", "substitution"),
            ("random", "random search"),
        ):
            chosen = [n for n in names if n.split("cifs/")[-1].startswith(folder)]
            yield title, formula_sums(archive.read(n).decode() for n in chosen)


def plaid(data: Path) -> Iterator[tuple[str, list[str], list[bool]]]:
    """(name, formulas, own flag S.U.N.) of every file of PLaID++."""
    import pandas as pd

    for path in sorted((data / "generated").glob("plaidpp_*_sun.csv.gz")):
        table = pd.read_csv(path, usecols=["relaxed_cif", "cif", "sun_0.0"])
        texts = table.relaxed_cif.fillna(table.cif)
        good = [bool(SUM.search(text)) for text in texts]
        flags = [bool(flag) for flag, fine in zip(table["sun_0.0"], good, strict=True) if fine]
        yield f"PLaID++ {path.name.split('_')[2]}", formula_sums(iter(texts)), flags


def test_split(data: Path) -> list[tuple[str, list[str]]]:
    """Formulas of the test split: all rows, and those near the hull."""
    import pandas as pd

    columns = ["formula", "split", "e_above_hull", "in_icsd"]
    table = pd.read_parquet(data / "mp" / "structures_le20.parquet", columns=columns)
    table = table[table.split == "test"]
    near = table[table.e_above_hull <= 0.05]
    return [
        ("test split", table.formula.tolist()),
        ("test split, <= 50 meV/atom", near.formula.tolist()),
        ("test split, in the ICSD", table[table.in_icsd.fillna(False).astype(bool)].formula.tolist()),
    ]


def scale(data: Path) -> list[tuple[str, list[str]]]:
    """Whole formulas of the disorder test split, ever and never reported disordered."""
    import pandas as pd

    table = pd.read_csv(data / "disorder" / "icsd_binary.csv.gz")
    table = table[(table.split == "test") & table.integer.astype(bool)]
    return [
        (f"disorder test split, {word}", table[table.disorder == flag].formula.str.replace(" ", "").tolist())
        for flag, word in ((1, "ever disordered"), (0, "never"))
    ]


def main() -> None:
    """Collect the sets, predict every formula once a prior, print one line a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("values", type=Path, nargs="*", help="values.csv of `genmat evaluate generation`")
    parser.add_argument("--samples", type=Path, nargs="*", default=[], help="generated crystals, not judged otherwise")
    parser.add_argument("--data", type=Path, help="shared data: stored structures and test split are judged besides")
    parser.add_argument("--priors", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--above", type=float, default=0.05, help="eV/atom, for S.U.N.")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    judged = {f"{path.parent.name}: {name}" if len(arguments.values) > 1 else name: rows
              for path in arguments.values for name, rows in read_values(path).items()}  # fmt: skip
    sets: dict[str, list[str]] = {name: [row.formula for row in rows if row.formula] for name, rows in judged.items()}
    sets |= {path.stem: [candidate.formula for candidate in read_candidates(path)] for path in arguments.samples}
    flags: dict[str, list[bool]] = {}
    if arguments.data:
        sets |= dict(mattergen(arguments.data))
        for name, formulas, flagged in plaid(arguments.data):
            sets[name], flags[name] = formulas, flagged
        sets |= dict([*test_split(arguments.data), *scale(arguments.data)])
    everything = [formula for formulas in sets.values() for formula in formulas]
    told = {prior: disorder_of(everything, model_folder(), prior) for prior in arguments.priors}
    result: dict[str, Any] = {"priors": arguments.priors, "above": arguments.above, "sets": {}}
    for name, formulas in sets.items():
        line: dict[str, Any] = {"n": len(formulas), "formulas": len(set(formulas)), "disordered": {}}
        for prior, known in told.items():
            rows = [known[f] for f in formulas if f in known]
            line["disordered"][str(prior)] = {
                "share": float(np.mean([is_ordered(row) is False for row in rows])) if rows else None,
                "mean": float(np.mean([row["disorder_probability"] for row in rows])) if rows else None,
            }
        if name in judged:
            line |= of_judged(judged[name], told, arguments.above)
        if name in flags:
            kept = [f for f, flag in zip(formulas, flags[name], strict=True) if flag]
            line["sun"] = len(kept)
            line["suno"] = {str(p): sum(bool(is_ordered(known.get(f, {}))) for f in kept) for p, known in told.items()}
        result["sets"][name] = line
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    print(table(result))


def of_judged(rows: list[Judged], told: dict[float, dict[str, Any]], above: float) -> dict[str, Any]:
    """S.U.N. and S.U.N.O of the samples of one evaluation."""
    made = {}
    for prior, known in told.items():
        chances = [known.get(row.formula, {}).get("disorder_probability") for row in rows]
        made[prior] = [dataclasses.replace(r, disorder_probability=c) for r, c in zip(rows, chances, strict=True)]
    return {"sun": sun(rows, above), "suno": {str(p): sun(found, above, ordered=True) for p, found in made.items()}}


def table(result: dict[str, Any]) -> str:
    """One line a set."""
    priors = [str(prior) for prior in result["priors"]]
    out = io.StringIO()
    heads = (
        "".join(f"{'prior ' + p:>18}" for p in priors) + f"{'S.U.N.':>8}" + "".join(f"{'O, ' + p:>9}" for p in priors)
    )
    print(f"{'':34}{'n':>7}{heads}", file=out)
    for name, line in result["sets"].items():
        shares = "".join(f"{_percent(line['disordered'][p]):>18}" for p in priors)
        suno = "".join(f"{line['suno'][p] if 'suno' in line else '–':>9}" for p in priors)
        print(f"{name:34}{line['n']:7d}{shares}{line.get('sun', '–'):>8}{suno}", file=out)
    return out.getvalue().rstrip()


def _percent(found: dict[str, float | None]) -> str:
    if found["share"] is None or found["mean"] is None:
        return "–"
    return f"{100 * found['share']:.1f} % ({100 * found['mean']:.1f})"


if __name__ == "__main__":
    main()
