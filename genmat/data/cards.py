"""Data cards: where data came from, what it holds, and proof that the card still tells the truth.

A card is a Hub dataset card: Markdown with a YAML header. Under ``genmat: files:`` the header lists every file with its
SHA-256, rows, rows per split and columns; the table in the text between the two ``files`` comments is made from it.

    python -m genmat.data.cards data_cards/*.md --root ../shared/data            # check
    python -m genmat.data.cards data_cards/*.md --root ../shared/data --write    # measure again
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from genmat.errors import GenmatError

REQUIRED = ("license", "pretty_name", "genmat")
_BEGIN, _END = "<!-- files -->", "<!-- /files -->"


def measure(path: Path) -> dict[str, Any]:
    """Facts of a file: sha256, bytes, rows, and where it has them columns and rows per split.

    Rows are rows of a table (Parquet, CSV), entries of a JSON list, lines of JSON lines, CIFs of a zip or of a folder,
    the first dimension of an array (npy) or of the first array that has one (npz). Raises GenmatError when the file is
    missing or of another kind.
    """
    if not path.is_file():
        raise GenmatError(f"{path}: no such file; give the folder that holds the data")
    facts: dict[str, Any] = {"sha256": _sha256(path), "bytes": path.stat().st_size}
    name = path.name.lower()
    if name.endswith(".parquet"):
        return facts | _measure_parquet(path)
    if name.endswith((".csv", ".csv.gz")):
        return facts | _measure_csv(path)
    if name.endswith((".json", ".json.gz", ".jsonl", ".jsonl.gz")):
        return facts | {"rows": _count_json(path)}
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            return facts | {"rows": sum(member.lower().endswith(".cif") for member in archive.namelist())}
    if name.endswith(".npy"):
        import numpy as np

        return facts | {"rows": len(np.load(path, allow_pickle=False, mmap_mode="r"))}
    if name.endswith(".npz"):
        import numpy as np

        with np.load(path, allow_pickle=False) as arrays:
            return facts | {"rows": next(len(arrays[key]) for key in arrays.files if arrays[key].ndim)}
    raise GenmatError(f"{path}: cannot be counted; cards know Parquet, CSV, JSON, npy, npz and zips of CIFs")


def read_card(path: Path) -> tuple[dict[str, Any], str]:
    """Header and text of a card. Raises GenmatError when there is no valid header or a required key is missing."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise GenmatError(f"{path}: cannot be read ({error.strerror})") from None
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        raise GenmatError(f"{path}: no YAML header; start the card with '---'")
    try:
        header = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise GenmatError(f"{path}: broken YAML header ({' '.join(str(error).split())})") from None
    missing = [key for key in REQUIRED if not isinstance(header, Mapping) or key not in header]
    if missing or not header["genmat"].get("files"):
        raise GenmatError(f"{path}: header lacks {', '.join(missing) or 'genmat: files'}; add it")
    return dict(header), parts[2]


def check_card(path: Path, root: Path) -> list[str]:
    """What the card says that the files under `root` do not bear out; empty when it is right."""
    header, body = read_card(path)
    wrong = []
    for entry in header["genmat"]["files"]:
        facts = measure(root / entry["path"])
        for key in facts.keys() | (entry.keys() - {"path"}):
            if entry.get(key) != facts.get(key):
                wrong.append(f"{entry['path']}: {key} is {facts.get(key)}, the card says {entry.get(key)}")
    if _BEGIN not in body or file_table(header) not in body:
        wrong.append("table of files differs from the header")
    return sorted(wrong)


def render_card(header: Mapping[str, Any], body: str, root: Path) -> str:
    """The card with every file of the header measured again and the table in the text made anew."""
    files = [{"path": entry["path"], **measure(root / entry["path"])} for entry in header["genmat"]["files"]]
    header = {**header, "genmat": {**header["genmat"], "files": files}}
    table = f"{_BEGIN}\n{file_table(header)}\n{_END}"
    if _BEGIN in body and _END in body:
        body = body[: body.index(_BEGIN)] + table + body[body.index(_END) + len(_END) :]
    else:
        body = body.rstrip() + f"\n\n## Files\n\n{table}\n"
    dumped = yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{dumped}---\n{body}"


def file_table(header: Mapping[str, Any]) -> str:
    """Markdown table of a header's files."""
    lines = ["| file | rows | train / val / test | sha256 |", "|---|---:|---|---|"]
    for entry in header["genmat"]["files"]:
        splits = entry.get("splits") or {}
        shares = " / ".join(f"{splits.get(name, 0):,}" for name in ("train", "val", "test")) if splits else "–"
        lines.append(f"| `{entry['path']}` | {entry['rows']:,} | {shares} | `{entry['sha256'][:16]}…` |")
    return "\n".join(lines)


def _measure_parquet(path: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path)
    names = table.schema_arrow.names
    facts: dict[str, Any] = {"rows": table.metadata.num_rows, "columns": names}
    if "split" in names:
        splits = Counter(table.read(columns=["split"])["split"].to_pylist())
        facts["splits"] = {str(name): splits[name] for name in sorted(splits, key=str)}
    return facts


def _measure_csv(path: Path) -> dict[str, Any]:
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    facts: dict[str, Any] = {"rows": len(table), "columns": [str(name) for name in table.columns]}
    if "split" in table.columns:
        splits = Counter(table["split"])
        facts["splits"] = {name: splits[name] for name in sorted(splits)}
    return facts


def _count_json(path: Path) -> int:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as handle:
        if ".jsonl" in path.name.lower():
            return sum(bool(line.strip()) for line in handle)
        return len(json.load(handle))


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the module; 1 when a card is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cards", nargs="+", type=Path)
    parser.add_argument("--root", type=Path, required=True, help="folder the paths in the cards start from")
    parser.add_argument("--write", action="store_true", help="measure again and rewrite the cards")
    options = parser.parse_args(arguments)
    wrong = 0
    for path in options.cards:
        if options.write:
            path.write_text(render_card(*read_card(path), options.root), encoding="utf-8")
        problems = check_card(path, options.root)
        wrong += bool(problems)
        print(f"{path}: {'right' if not problems else '; '.join(problems)}")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
