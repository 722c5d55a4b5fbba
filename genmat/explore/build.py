"""Build a map: every material of some tables embedded, indexed and listed. Killed and started again, it goes on.

A map is a folder: ``table.parquet`` (one row per material), ``vectors.npy`` (their embeddings), two FAISS indices, the
projections and ``settings.json``, which is written last. Until then ``parts/`` keeps what is done.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat import __version__
from genmat.errors import GenmatError
from genmat.explore.index import fit_projection, load_faiss, make_index, save_projections, search, write_index
from genmat.explore.rows import count_and_read, expand
from genmat.explore.work import PARTS, PartWorker, Work

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]
MADE = ("table.parquet", "vectors.npy", "crystal.faiss", "composition.faiss", "projections.npz")
SAMPLE = 2000  # materials that tell how far apart neighbours usually are


@dataclass(frozen=True)
class Models:
    """Snapshots a map is built with: crystal language model, composition reader, disorder model (or None)."""

    crystal: Path
    composition: Path
    disorder: Path | None = None

    def digest(self) -> dict[str, str]:
        """Name and content of each."""
        given = {name: path for name, path in vars(self).items() if path is not None}
        return {name: f"{path.name} {_sha256(path / 'model.safetensors')}" for name, path in given.items()}


def build(
    sources: Sequence[Path],
    out: Path,
    models: Models,
    *,
    workers: int = 1,
    seed: int = 0,
    fresh: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Build the map of all materials of `sources`, or finish one that was begun.

    Args:
        sources: structure tables or a folder with some, files and folders of structures, folders of campaigns.
        out: folder of the map.
        workers: processes; does not change the result.
        seed: of the index's cells.
        fresh: drop what an earlier build left in `out`.
        progress: told of (stage, done, all).

    Returns:
        The settings of the map with what came out: ``materials``, ``formulas``, ``prototypes``, ``left_out`` (reason ->
        count), ``neighbour_distance`` (median to the nearest other material) and ``cpu_seconds``.

    Raises:
        GenmatError: a source or model that cannot be read, nothing to map, or another map in `out`.
    """
    load_faiss()
    sources = [part for path in sources for part in expand(path)]
    report = progress or (lambda stage, done, total: None)
    settings = _open(out, {**_digest(sources), **models.digest(), "seed": seed}, fresh)
    if "materials" in settings:
        return settings
    counted = [count_and_read(path) for path in sources]
    total = sum(count for count, _ in counted)
    if not total:
        raise GenmatError(f"{sources[0]}: no materials in it; give a table or folder of structures")
    batches = (batch for _, read in counted for batch in read)
    _work(batches, total, out / "parts", models, workers, report)
    start = time.process_time()
    table, parts, reasons, spent = _gather(out / "parts")
    if not len(table):
        reason = reasons.most_common(1)[0][0]
        raise GenmatError(f"{sources[0]}: no material could be read ({reason}); mend the input")
    report("index", 0, 1)
    found = _finish(table, parts, out, seed)
    spent += time.process_time() - start
    settings |= {**found, "left_out": dict(reasons.most_common(20)), "cpu_seconds": round(spent, 1)}
    _write_json(settings, out / "settings.json")
    shutil.rmtree(out / "parts", ignore_errors=True)
    return settings


def _open(out: Path, wanted: dict[str, Any], fresh: bool) -> dict[str, Any]:
    """The settings of the map in `out`, begun, finished or new.

    Raises:
        GenmatError: it is another map, or the folder cannot be written.
    """
    wanted = {"genmat": __version__, **wanted}
    path = out / "settings.json"
    try:
        if fresh:
            for name in ("settings.json", *MADE):
                (out / name).unlink(missing_ok=True)
            shutil.rmtree(out / "parts", ignore_errors=True)
        if path.exists():
            before = json.loads(path.read_text())
            changed = [key for key in {**wanted, **before} if key in wanted and before.get(key) != wanted[key]]
            if changed:
                what = ", ".join(f"{k} was {before.get(k)!r}, now {wanted[k]!r}" for k in changed)
                raise GenmatError(f"{out}: a map made otherwise ({what}); use another --out, or --fresh")
            return before
        (out / "parts").mkdir(parents=True, exist_ok=True)
        _write_json(wanted, path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its settings cannot be read"
        raise GenmatError(f"{out}: no map can be kept there ({reason}); use another --out, or --fresh") from None
    return wanted


def _work(batches: Iterator[Any], total: int, parts: Path, models: Models, workers: int, report: Progress) -> None:
    """Embed every batch that is not done yet, each into a file of its own."""
    done = 0

    def todo() -> Iterator[Work]:
        nonlocal done
        for number, batch in enumerate(batches):
            part = parts / f"{number:05d}.parquet"
            if part.exists():
                done += len(batch)
                report("embed", done, total)
            else:
                yield Work(batch, part)

    for rows in PartWorker(models.crystal, models.composition, models.disorder).run(todo(), workers):
        done += rows
        report("embed", done, total)


def _gather(parts: Path) -> tuple[pd.DataFrame, dict[str, np.ndarray], Counter[str], float]:
    """All parts as one table, the parts of the embedding (N, d), why rows were left out, and CPU seconds spent."""
    import pandas as pd
    import pyarrow.parquet as pq

    tables = [pq.read_table(path) for path in sorted(parts.glob("*.parquet"))]
    spent = sum(float((t.schema.metadata or {}).get(b"cpu_seconds", b"0")) for t in tables)
    kept = [t.filter(t["reason"].is_null()) for t in tables]
    reasons = Counter(r for t in tables for r in t["reason"].to_pylist() if r is not None)
    vectors = {
        name: np.concatenate([np.stack(t[name].to_numpy()) for t in kept if len(t)] or [np.zeros((0, 1))])
        for name in PARTS
    }
    frames = [t.drop_columns([*PARTS, "reason"]).to_pandas() for t in kept if len(t)]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return table.dropna(axis=1, how="all"), vectors, reasons, spent


def _finish(table: pd.DataFrame, parts: dict[str, np.ndarray], out: Path, seed: int) -> dict[str, Any]:
    """Write everything but the settings; returns what is to be said about the map."""
    projections = {name: fit_projection(parts[name]) for name in PARTS}
    blocks = [projections[name](parts[name]) for name in PARTS]
    vectors = np.concatenate(blocks, axis=1)
    first = np.flatnonzero(~table.formula.duplicated().to_numpy())  # one composition per formula
    index = make_index(vectors, seed)
    write_index(index, out / "crystal.faiss")
    write_index(make_index(blocks[1][first], seed), out / "composition.faiss")
    save_projections(projections, out / "projections.npz")
    np.save(out / "vectors.npy", vectors, allow_pickle=False)
    table.to_parquet(out / "table.parquet", index=False)
    some = np.random.default_rng(seed).permutation(len(table))[:SAMPLE]
    apart = search(index, vectors[some], min(2, len(table)))[0][:, -1]
    return {
        "materials": len(table),
        "formulas": len(first),
        "prototypes": int(table.prototype.nunique()),
        "neighbour_distance": round(float(np.median(apart)), 4),
    }


def _digest(sources: Sequence[Path]) -> dict[str, Any]:
    """Names and contents of the sources.

    Raises:
        GenmatError: one does not exist.
    """
    found = {}
    for path in sources:
        if not path.exists():
            raise GenmatError(f"{path}: no such file or folder; give a table or folder of structures, or a campaign")
        found[path.name] = _sha256(path)
    return {"sources": found}


def _sha256(path: Path) -> str:
    """Fingerprint of a file, or of the structure files and campaign in a folder."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _write_json(value: dict[str, Any], path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value, indent=1))
    new.replace(path)
