"""Ask a map for neighbours: of a formula, a crystal, a protostructure label or a material of the map itself."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.composition import ATOMIC_NUMBER, reduce_amounts, reduced_formula
from genmat.crystal.prototype import from_arrays
from genmat.crystal.realise import lattice_matrix
from genmat.data.composition_tables import read_amounts
from genmat.errors import GenmatError
from genmat.explore.build import MADE, Models
from genmat.explore.embed import Embedder, sentence
from genmat.explore.index import load_projections, read_index, search
from genmat.explore.rows import candidate_row, count_and_read, first_candidate
from genmat.explore.work import PARTS, amounts_of, embed_batch

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
"""Neighbours told of a candidate."""
TOLD = ("id", "formula", "spacegroup", "prototype", "distance", "e_above_hull", "formation_energy_per_atom")
"""What a candidate is told of each."""
_STRUCTURE_FILE = re.compile(
    r"(?i)(^|[/\\])(POSCAR|CONTCAR)|\.(cif|vasp|xyz|extxyz|json|jsonl|csv|parquet|zip)(\.\w+)?$"
)
_ID = re.compile(r"[A-Za-z]+-[\w-]*\d[\w-]*")


class MaterialsMap:
    """A map that was built (`genmat.explore.build.build`), open for questions.

    Args:
        folder: of the map.
        crystal, composition: snapshots of the models it was built with.

    Raises:
        GenmatError: no finished map there, or one of other models.
    """

    def __init__(self, folder: Path, crystal: Path, composition: Path):
        import pandas as pd

        self.folder, self._snapshots = Path(folder), (Path(crystal), Path(composition))
        self.settings = _settings(self.folder)
        self.table = pd.read_parquet(self.folder / "table.parquet")
        self.crystals = read_index(self.folder / "crystal.faiss")
        self.compositions = read_index(self.folder / "composition.faiss")
        self._projections = load_projections(self.folder / "projections.npz", PARTS)

    @property
    def vectors(self) -> np.ndarray:
        """Embeddings of the materials, (N, d); prototype part first, each half of the width."""
        return np.load(self.folder / "vectors.npy", mmap_mode="r", allow_pickle=False)

    @cached_property
    def embedder(self) -> Embedder:
        """The models, loaded when first needed.

        Raises:
            GenmatError: they are not those the map was built with.
        """
        for name, told in Models(*self._snapshots).digest().items():
            if self.settings.get(name) != told:
                raise GenmatError(
                    f"{self.folder}: built with another {name} model ({self.settings.get(name)}); build it again"
                )
        return Embedder(*self._snapshots)

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """Values of each column of the table: rows are picked from them ten times faster than from the table."""
        return {str(name): self.table[name].to_numpy() for name in self.table}

    @cached_property
    def _row_of(self) -> dict[str, int]:
        """Row of each id."""
        return {str(name): i for i, name in enumerate(self.table["id"])}

    @cached_property
    def _by_formula(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each formula, in the order of their index, the row nearest to the hull, and how many there are of it."""
        order = np.arange(len(self.table))
        if "e_above_hull" in self.table:
            order = np.argsort(self.table.e_above_hull.fillna(np.inf).to_numpy(), kind="stable")
        codes = self.table.formula.factorize()[0]
        best = np.full(codes.max() + 1, -1)
        best[codes[order[::-1]]] = order[::-1]  # the nearest to the hull is written last
        return best, np.bincount(codes)

    def embed(self, labels: Sequence[str]) -> np.ndarray:
        """Vectors of protostructure labels with elements, (N, d).

        Raises:
            GenmatError: a label that cannot be read.
        """
        raw = (
            self.embedder.prototypes(labels),
            self.embed_formulas([reduce_amounts(amounts_of(label)) for label in labels]),
        )
        return np.concatenate([self._projections[PARTS[0]](raw[0]), raw[1]], axis=1)

    def embed_formulas(self, amounts: Sequence[Mapping[str, float]]) -> np.ndarray:
        """Composition parts of the vectors, (N, d / 2), of reduced formulas, amounts by element."""
        return self._projections[PARTS[1]](self.embedder.compositions(amounts))

    def near(self, query: str | Path, k: int = 20) -> list[dict[str, Any]]:
        """The k nearest materials, nearest first.

        Args:
            query: a formula (one row per formula, its phase nearest to the hull, by composition alone), a file with a
                crystal, a protostructure label such as ``AB3C_cP5_221_a_c_b:Ba-O-Ti``, or an id of the map.

        Returns:
            Rows of the table with ``distance``; for a formula also ``phases``: how many the map has of it.

        Raises:
            GenmatError: a query that is none of these.
        """
        kind, what = self.read_query(query)
        if kind == "formula":
            return self.near_formula(what, k)
        return self.near_vector(self.vectors[what] if kind == "id" else self.embed([what])[0], k)

    def near_vector(self, vector: np.ndarray, k: int) -> list[dict[str, Any]]:
        """The k materials nearest to a vector (d,) of `embed`."""
        distances, rows = search(self.crystals, vector[None], min(k, len(self.table)))
        return self._told(rows[0], distances[0])

    def near_formula(self, amounts: Mapping[str, float], k: int) -> list[dict[str, Any]]:
        """The k formulas nearest to one by composition alone, as `near`."""
        best, phases = self._by_formula
        distances, found = search(self.compositions, self.embed_formulas([amounts]), min(k, len(best)))
        told = self._told(best[found[0]], distances[0])
        return [{**row, "phases": int(phases[i])} for row, i in zip(told, found[0], strict=False)]

    def placed(self, source: Path | None) -> tuple[pd.DataFrame, np.ndarray]:
        """Materials of a campaign or file as rows of the map's columns, and their vectors; what is broken is left out.

        Raises:
            GenmatError: nothing in it can be placed on the map.
        """
        import pandas as pd

        if source is None:
            return self.table.iloc[:0], np.zeros((0, self.vectors.shape[1]), np.float32)
        tables = [embed_batch(batch, self.embedder, None).to_pandas() for batch in count_and_read(source)[1]]
        every = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"reason": []})
        rows = every.loc[every.reason.isna().to_numpy()].reset_index(drop=True)
        if not len(rows):
            reason = every.reason.iloc[0] if len(every) else "holds no structures"
            raise GenmatError(f"{source}: nothing to place on the map ({reason}); give a campaign or structures")
        parts = [self._projections[name](np.stack(rows[name].to_list())) for name in PARTS]
        return rows.drop(columns=[*PARTS, "reason"]), np.concatenate(parts, axis=1)

    def _told(self, rows: np.ndarray, distances: np.ndarray) -> list[dict[str, Any]]:
        """Rows of the table as plain values, with their distances; what is unknown is None."""
        return [
            {**{name: _plain(values[i]) for name, values in self._columns.items()}, "distance": round(float(d), 4)}
            for i, d in zip(rows.tolist(), distances, strict=True)
            if i >= 0
        ]

    def read_query(self, query: str | Path) -> tuple[str, Any]:
        """What a query is: ("id", row), ("label", label) or ("formula", amounts).

        Raises:
            GenmatError: none of these; the message says what came nearest.
        """
        text = str(query).strip()
        if text in self._row_of:
            return "id", self._row_of[text]
        if Path(text).is_file() or _STRUCTURE_FILE.search(text):
            row = candidate_row(first_candidate(Path(text)))
            return "label", row["label"] or _label(row)
        if "_" in text:
            sentence(text)
            return "label", text
        if _ID.fullmatch(text):
            close = difflib.get_close_matches(text, self._row_of, n=1, cutoff=0.7)
            hint = f"did you mean {close[0]}?" if close else "give a formula, a CIF or a label"
            raise GenmatError(f"{text!r}: no material of {self.folder} has this id; {hint}")
        return "formula", read_amounts(text)


def _label(row: Mapping[str, Any]) -> str:
    """Label of a row with a structure."""
    numbers = np.array([ATOMIC_NUMBER[symbol] for symbol in row["species"]])
    return from_arrays(
        lattice_matrix(*row["lattice_parameters"]), np.array(row["frac_coords"]), numbers, bare=True
    ).label


def _plain(value: Any) -> Any:
    """A plain value; NaN and the like are None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if value is None or value != value else value


@lru_cache(maxsize=2)
def open_map(folder: Path, crystal: Path, composition: Path) -> MaterialsMap:
    """A map, opened once per process."""
    return MaterialsMap(folder, crystal, composition)


def near(query: str | Path, k: int = 20, *, folder: Path, crystal: Path, composition: Path) -> list[dict[str, Any]]:
    """The k nearest materials of a map, nearest first: `MaterialsMap.near` on a map that stays open.

    Raises:
        GenmatError: no map there, or a query that cannot be read.
    """
    return open_map(Path(folder), Path(crystal), Path(composition)).near(query, k)


def nearest_stage(candidates: Iterable[Candidate], known: MaterialsMap, k: int = SHOWN) -> Iterator[Candidate]:
    """Tell living candidates their nearest known materials: `nearest`, a list of `TOLD`, and `nearest_distance`.

    A whole-set stage: all are embedded together. Nothing fails here; what has no symmetry is told nothing.
    """
    everyone = list(candidates)
    labels = {c.id: label for c in everyone if c.alive and (label := _candidate_label(c)) is not None}
    vectors = dict(zip(labels, known.embed(list(labels.values())), strict=True)) if labels else {}
    for candidate in everyone:
        if candidate.id not in vectors:
            yield candidate
            continue
        rows = known.near_vector(vectors[candidate.id], k)
        told = [{name: row[name] for name in TOLD if row.get(name) is not None} for row in rows]
        yield candidate.add(nearest=told, nearest_distance=told[0]["distance"])


def _candidate_label(candidate: Candidate) -> str | None:
    """Label of a candidate the language can say, or None."""
    row = candidate_row(candidate)
    try:
        label = row["label"] or (None if row["reason"] else _label(row))
        return label if label is not None and sentence(label) else None
    except GenmatError:
        return None


def _settings(folder: Path) -> dict[str, Any]:
    """Settings of a finished map.

    Raises:
        GenmatError: there is none.
    """
    fix = "`genmat explore build DATA --out FOLDER` makes one"
    try:
        settings = json.loads((folder / "settings.json").read_text())
    except OSError:
        raise GenmatError(f"{folder}: no map in it; {fix}") from None
    except ValueError:
        raise GenmatError(f"{folder}: its settings.json cannot be read; {fix}") from None
    if "materials" not in settings:
        raise GenmatError(f"{folder}: its build has not finished; the same build command goes on")
    lost = [name for name in MADE if not (folder / name).is_file()]
    if lost:
        raise GenmatError(f"{folder}: {lost[0]} is missing; build the map again with --fresh")
    return settings


def describe(known: MaterialsMap, query: str) -> str:
    """One line on what was asked and how far apart neighbours are on this map."""
    kind, what = known.read_query(query)
    name = {
        "id": lambda: f"{known.table.formula.iloc[what]}, {query}",
        "label": lambda: f"{reduced_formula(amounts_of(what))}, {what}",
        "formula": lambda: f"{query} by composition alone",
    }[kind]()
    return f"{name}; materials of this map have their nearest {known.settings['neighbour_distance']:.2f} away (median)"
