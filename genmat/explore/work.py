"""The long part of building a map: symmetry and embedding of batches of rows, in several processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, reduce_amounts, reduced_formula
from genmat.crystal.prototype import from_arrays
from genmat.crystal.realise import lattice_matrix
from genmat.crystal.wyckoff import space_group
from genmat.errors import GenmatError
from genmat.explore.embed import Embedder, labelled, prototype_of, sentence
from genmat.explore.rows import LAYOUT
from genmat.workers import process_pool

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("prototype_part", "composition_part")
"""Columns of the embedding in the files of finished batches, and names of its projections."""


@dataclass(frozen=True)
class Work:
    """A batch of rows, and the file its result goes to."""

    batch: pa.RecordBatch
    part: Path


@dataclass(frozen=True)
class PartWorker:
    """Embeds batches with the models of three folders."""

    crystal: Path
    composition: Path
    disorder: Path | None

    def run(self, todo: Iterator[Work], workers: int) -> Iterator[int]:
        """Do all work; yields the number of rows of each batch as it is finished."""
        if workers < 2:
            for work in todo:
                yield self(work)
            return
        with process_pool(workers) as pool:
            running: set[Future[int]] = set()
            for work in todo:
                running.add(pool.submit(self, work))
                if len(running) > 2 * workers:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in running)

    def __call__(self, work: Work) -> int:
        """Write the part of one batch; returns its number of rows."""
        import pyarrow.parquet as pq

        start = time.process_time()
        table = embed_batch(work.batch, *_models(self.crystal, self.composition, self.disorder))
        spent = f"{time.process_time() - start:.3f}"
        new = work.part.with_suffix(f".{os.getpid()}")
        pq.write_table(table.replace_schema_metadata({"cpu_seconds": spent}), new)
        new.replace(work.part)
        return len(work.batch)


@cache
def _models(crystal: Path, composition: Path, disorder: Path | None) -> tuple[Any, Any]:
    """The embedder and the disorder model, once per process."""
    import torch

    from genmat.data.composition_predict import load_reader

    torch.set_num_threads(1)
    return Embedder(crystal, composition), None if disorder is None else load_reader(disorder)


def embed_batch(batch: pa.RecordBatch, embedder: Any, disorder: Any) -> pa.Table:
    """What is known of each row, its embedding, and why it is left out where it is.

    Args:
        batch: as `genmat.explore.rows.count_and_read` gives them.
        embedder: an `Embedder`.
        disorder: a `DisorderModel`, or None.

    Returns:
        Columns ``id``, ``formula``, ``spacegroup``, ``prototype``, ``label``, ``n_atoms`` (primitive cell), the row's
        own, ``disorder_probability``, those of `PARTS`, and ``reason`` (null where the row is kept).
    """
    import pyarrow as pa

    rows = [_described(row) for row in batch.to_pylist()]
    good = [i for i, row in enumerate(rows) if row["reason"] is None]
    amounts = [reduce_amounts(rows[i].pop("amounts")) for i in good]  # the reader knows formulas, not cells
    parts = {name: np.full((len(rows), 1), None, object) for name in PARTS}
    if good:
        made = (embedder.prototypes([rows[i]["label"] for i in good]), embedder.compositions(amounts))
        for name, values in zip(PARTS, made, strict=True):
            parts[name][good, 0] = [*values]
        if disorder is not None:
            for i, chance in zip(good, _disorder(disorder, amounts), strict=True):
                rows[i]["disorder_probability"] = chance
    names = dict.fromkeys(chain.from_iterable(rows))
    columns = {name: [row.get(name) for row in rows] for name in names}
    vectors = {name: pa.array(values[:, 0].tolist(), pa.list_(pa.float32())) for name, values in parts.items()}
    return pa.table({**columns, **vectors}).cast(_typed(columns, batch.schema))


def _described(row: dict[str, Any]) -> dict[str, Any]:
    """One row without its structure, with its symmetry, or with the reason why there is none."""
    given = {name: value for name, value in row.items() if name not in (*LAYOUT, "n_atoms", "label", "reason")}
    if row.get("reason") is not None:
        return {**given, "reason": row["reason"]}
    try:
        label, number = row.get("label"), row.get("spacegroup")
        if label is None:
            numbers = np.array([ATOMIC_NUMBER.get(symbol, 0) for symbol in row["species"]])
            if not numbers.all():
                raise GenmatError("an element beyond lawrencium or a dummy atom; remove it")
            proto = from_arrays(
                lattice_matrix(*row["lattice_parameters"]), np.array(row["frac_coords"]), numbers, bare=True
            )
            label, number = proto.label, proto.spacegroup
        sentence(label)  # what the language cannot say is left out here
        amounts = amounts_of(label)
    except (GenmatError, TypeError, ValueError) as error:
        return {**given, "reason": " ".join(str(error).split())[:200]}
    found = {"formula": reduced_formula(amounts), "spacegroup": number, "prototype": prototype_of(label)}
    own = {name: value for name, value in given.items() if name not in ("id", "spacegroup")}
    counted = {"label": label, "n_atoms": sum(amounts.values())}
    return {"id": row["id"], **found, **counted, **own, "amounts": amounts, "reason": None}


def amounts_of(label: str) -> dict[str, int]:
    """Atoms of each element in the primitive cell of a protostructure label.

    Raises:
        GenmatError: not a label, or one without elements.
    """
    number, letters, symbols = labelled(label)
    group = space_group(number)
    counts = (sum(group.positions[w].multiplicity for w in own) // group.centring_multiplicity for own in letters)
    return dict(zip(symbols, counts, strict=True))


def _disorder(model: Any, amounts: list[dict[str, int]]) -> list[float]:
    """Probability of disorder at the prior of the training data."""
    from genmat.data.composition_predict import predict
    from genmat.data.composition_tables import encode

    found = predict(model, *encode([{e: float(n) for e, n in a.items()} for a in amounts]), prior=None)
    return [round(float(p), 5) for p in found["probability"]]


def _typed(columns: dict[str, list[Any]], given: pa.Schema) -> pa.Schema:
    """The same types in every part, whatever happens to be null in it."""
    import pyarrow as pa

    own = {name: given.field(name).type for name in given.names}
    fixed = {"spacegroup": pa.int32(), "n_atoms": pa.int32(), "disorder_probability": pa.float64()}
    fixed |= dict.fromkeys(("label", "reason"), pa.string())
    kinds = {**dict.fromkeys(columns, pa.string()), **own, **fixed}
    vectors = dict.fromkeys(PARTS, pa.list_(pa.float32()))
    return pa.schema([*((name, kinds[name]) for name in columns), *vectors.items()])
