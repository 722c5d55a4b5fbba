"""Any source of structures -> one Hugging Face `datasets` layout.

A `DatasetDict` with the splits train, val and test and one schema (`features`), saved with ``save_to_disk`` and loaded
with ``datasets.load_from_disk``. Sources: a Materials-Project-like Parquet table, anything `read_candidates` reads, a
Materials Project key (``mp:KEY``) or a dataset of the Hub (``hub:owner/name``). The last two need a network and are
only ever touched when asked for.

A source with its own split column keeps it. Otherwise the split is drawn by a seeded hash of the reduced formula, so
that no formula is ever in two splits and the same formula lands in the same split in every source.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.errors import GenmatError

if TYPE_CHECKING:
    from datasets import DatasetDict, Features
    from pymatgen.core import Structure

    from genmat.candidate import Candidate

SPLITS = ("train", "val", "test")
FRACTIONS = (0.85, 0.05, 0.10)
"""Shares of the formulas in train, val and test, as in the shared Materials Project tables."""
SPELLED = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Built:
    """What `build_dataset` made.

    Attributes:
        path: folder to give to ``datasets.load_from_disk``.
        counts: rows of each split.
        skipped: reason -> number of entries left out, for example disordered ones.
    """

    path: Path
    counts: Mapping[str, int]
    skipped: Mapping[str, int] = field(default_factory=dict)


def features() -> Features:
    """The schema: lengths in Å, energies in eV/atom (null where unknown), space group at 0.1 Å."""
    from datasets import Features, List, Value

    number = Value("float64")
    return Features(
        {
            "id": Value("string"),
            "formula": Value("string"),  # reduced
            "n_atoms": Value("int32"),
            "lattice": List(List(number, length=3), length=3),  # rows are the lattice vectors, Å
            "species": List(Value("string")),  # (n_atoms,)
            "frac_coords": List(List(number, length=3)),  # (n_atoms, 3)
            "spacegroup": Value("int32"),
            "formation_energy_per_atom": number,
            "e_above_hull": number,
            "split": Value("string"),
            "source": Value("string"),
        }
    )


def build_dataset(
    source: str | Path, out: str | Path, seed: int = 0, *, column: str | None = None, limit: int | None = None
) -> Built:
    """Build a dataset from `source` and save it in the new folder `out`.

    Args:
        source: a path, ``mp:KEY`` (or ``mp:`` with the key in ``MP_API_KEY``) or ``hub:owner/name``.
        out: folder to make; it must not exist, unless it is empty.
        seed: of the split by formula, where the source has none of its own.
        column: name of the structure column of a table, instead of the usual ones.
        limit: stop after so many rows.

    Raises:
        GenmatError: nothing usable in the source, or `out` cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GenmatError(f"{out}: exists already; choose a new folder")
    skipped: dict[str, int] = {}
    dataset = to_dataset(_rows(str(source), column, skipped), seed, limit)
    if not sum(dataset.num_rows.values()):
        reasons = "; ".join(f"{reason} ({n})" for reason, n in skipped.items()) or "it is empty"
        raise GenmatError(f"{source}: no usable structure: {reasons}; mend the source")
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _quiet():
            dataset.save_to_disk(temporary, num_shards=dict.fromkeys(SPLITS, 1))
        if out.exists():
            out.rmdir()
        temporary.replace(out)
    except OSError as error:
        raise GenmatError(f"{out}: cannot be written ({error.strerror or error}); choose another place") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Built(out, dict(dataset.num_rows), skipped)


def load(path: str | Path) -> DatasetDict:
    """A dataset `build_dataset` saved. Raises GenmatError when the folder holds none of this layout."""
    from datasets import DatasetDict, load_from_disk

    try:
        dataset = load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise GenmatError(f"{path}: not a dataset ({error}); make one with `genmat data build`") from None
    if not isinstance(dataset, DatasetDict) or any(part.features != features() for part in dataset.values()):
        raise GenmatError(f"{path}: a dataset of another layout; make one with `genmat data build`")
    return dataset


def structure(row: Mapping[str, Any]) -> Structure:
    """The pymatgen structure of a row."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(row["lattice"]), row["species"], row["frac_coords"])


def split_of(formula: str, seed: int = 0, fractions: tuple[float, float, float] = FRACTIONS) -> str:
    """Split of a reduced formula: a hash of formula and seed, uniform in [0, 1), cut at the cumulative fractions.

    >>> {split_of("BaTiO3", seed) for seed in range(50)} == {"train", "val", "test"}
    True
    """
    digest = hashlib.blake2b(f"{seed}:{formula}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    return next((name for name, edge in zip(SPLITS, np.cumsum(fractions), strict=True) if place < edge), "test")


def to_dataset(rows: Iterable[Mapping[str, Any]], seed: int = 0, limit: int | None = None) -> DatasetDict:
    """Rows of the schema as a `DatasetDict`; rows without a split get one by their formula."""
    import pyarrow as pa
    from datasets import Dataset, DatasetDict

    schema = features()
    batches: dict[str, list[pa.RecordBatch]] = {name: [] for name in SPLITS}
    waiting: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}

    def flush(name: str) -> None:
        batches[name].append(pa.RecordBatch.from_pylist(waiting[name], schema=schema.arrow_schema))
        waiting[name] = []

    for number, row in enumerate(rows):
        if limit is not None and number >= limit:
            break
        name = SPELLED.get(str(row.get("split") or "").lower()) or split_of(row["formula"], seed)
        waiting[name].append({key: row.get(key) for key in schema} | {"split": name})
        if len(waiting[name]) >= 2000:
            flush(name)
    for name in SPLITS:
        flush(name)
    tables = {name: pa.Table.from_batches(batches[name], schema.arrow_schema) for name in SPLITS}
    return DatasetDict({name: Dataset(table) for name, table in tables.items()})


def _rows(source: str, column: str | None, skipped: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Rows of any source; what is left out is counted in `skipped` by reason."""
    if source.startswith("mp:"):
        return _rows_of_materials_project(source[3:] or os.environ.get("MP_API_KEY", ""))
    if source.startswith("hub:"):
        return _rows_of_hub(source[4:], skipped)
    if _is_table(Path(source)):
        return _rows_of_table(Path(source))
    from genmat.data.read import read_candidates

    return _rows_of_candidates(read_candidates(source, column=column), Path(source).name, skipped)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of `datasets`; whoever switched them off already finds them so again."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _is_table(path: Path) -> bool:
    """True for a Parquet table laid out like the Materials Project ones."""
    if path.suffix != ".parquet" or not path.is_file():
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise GenmatError(f"{path}: not a Parquet file ({error}); mend it") from None
    return {"material_id", "lattice_parameters", "species", "frac_coords", "split"} <= names


def _rows_of_table(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a Materials-Project-like table: lattice_parameters (a, b, c in Å, angles in degrees) become vectors."""
    import pyarrow.parquet as pq

    wanted = "material_id formula lattice_parameters species frac_coords spacegroup_number formation_energy_per_atom"
    table = pq.ParquetFile(path)
    known = [name for name in [*wanted.split(), "e_above_hull", "energy_source", "split"] if name in table.schema.names]
    known += [name for name in ("lattice_parameters", "species", "frac_coords") if name not in known]
    for batch in table.iter_batches(batch_size=2000, columns=known):
        rows = batch.to_pylist()
        for row, lattice in zip(rows, lattice_vectors([row["lattice_parameters"] for row in rows]), strict=True):
            yield {
                **{key: row.get(key) for key in features()},
                "id": row["material_id"],
                "n_atoms": len(row["species"]),
                "lattice": lattice.tolist(),
                "spacegroup": row.get("spacegroup_number"),
                "source": row.get("energy_source") or path.name,
            }


def lattice_vectors(parameters: Any) -> np.ndarray:
    """Lattice vectors (n, 3, 3) in Å from parameters (n, 6) in Å and degrees; a in the xz plane, c along z.

    The convention of pymatgen's ``Lattice.from_parameters``, for whole tables at once.
    """
    numbers = np.asarray(parameters, dtype=float)
    a, b, c = numbers[:, :3].T
    alpha, beta, gamma = np.radians(numbers[:, 3:]).T
    gamma_star = np.arccos(
        np.clip((np.cos(alpha) * np.cos(beta) - np.cos(gamma)) / (np.sin(alpha) * np.sin(beta)), -1, 1)
    )
    zero = np.zeros_like(a)
    first = np.stack([a * np.sin(beta), zero, a * np.cos(beta)], axis=1)
    second = np.stack(
        [-b * np.sin(alpha) * np.cos(gamma_star), b * np.sin(alpha) * np.sin(gamma_star), b * np.cos(alpha)], axis=1
    )
    return np.stack([first, second, np.stack([zero, zero, c], axis=1)], axis=1)


def _rows_of_candidates(
    candidates: Iterable[Candidate], source: str, skipped: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Rows of what `read_candidates` found; failed candidates are counted by the first words of their reason."""
    for candidate in candidates:
        if candidate.failure is not None or candidate.structure is None:
            reason = str(candidate.failure).removeprefix("read: ").split(":")[0].split(" (")[0]
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        if not candidate.structure.is_ordered:
            skipped["disordered"] = skipped.get("disordered", 0) + 1
            continue
        yield row_of(candidate.id, candidate.structure, source, candidate.provenance.get("columns", {}))


def row_of(identity: str, crystal: Structure, source: str, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One row of the schema from a structure and what else is known (energies in eV/atom, split)."""
    from genmat.crystal.prototype import from_structure

    try:
        spacegroup = from_structure(crystal).spacegroup
    except GenmatError:
        spacegroup = None
    return {
        "formation_energy_per_atom": None,
        "e_above_hull": None,
        "split": None,
        **(known or {}),
        "id": identity,
        "formula": crystal.composition.reduced_formula,
        "n_atoms": len(crystal),
        "lattice": crystal.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in crystal],
        "frac_coords": crystal.frac_coords.tolist(),
        "spacegroup": spacegroup,
        "source": source,
    }


def _rows_of_materials_project(key: str) -> Iterator[dict[str, Any]]:
    """All structures of the Materials Project with their energies (eV/atom), through its own client."""
    from genmat.data import parse

    if not key:
        raise GenmatError("mp: no key given; write mp:KEY or set MP_API_KEY (next-gen.materialsproject.org/api)")
    try:
        from mp_api.client import MPRester  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise GenmatError("mp: the client is not installed; pip install 'genmat[mp]'") from None
    wanted = ["material_id", "structure", "formation_energy_per_atom", "energy_above_hull"]
    try:
        with MPRester(key) as client:
            documents = client.materials.summary.search(fields=wanted, deprecated=False)
    except Exception as error:  # the client raises its own errors for keys, its servers and the network alike
        raise GenmatError(f"mp: the Materials Project did not answer ({' '.join(str(error).split())})") from None
    for document in documents:
        known = {
            "formation_energy_per_atom": document.formation_energy_per_atom,
            "e_above_hull": document.energy_above_hull,
        }
        yield row_of(str(document.material_id), parse.clean(document.structure), "materials project", known)


def _rows_of_hub(name: str, skipped: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Rows of a dataset of the Hugging Face Hub, or of a local folder in the Hub's layout, with a structure column."""
    from datasets import load_dataset

    from genmat.data.read import row_candidate

    try:
        parts = load_dataset(name)
    except Exception as error:  # missing name, no network, gated: the message says which
        raise GenmatError(f"hub:{name}: cannot be loaded ({' '.join(str(error).split())[:200]})") from None
    for split, part in parts.items():
        for number, row in enumerate(part, start=1):
            candidate = row_candidate(dict(row), f"{split}-{number}", f"hub:{name}")
            known = dict(candidate.provenance.get("columns", {}))
            if len(parts) > 1:
                known.setdefault("split", split)
            candidate = candidate.replace(provenance={"columns": known})
            yield from _rows_of_candidates([candidate], f"hub:{name}", skipped)
