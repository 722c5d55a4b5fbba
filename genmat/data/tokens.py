"""Structures -> token sentences, cached: what the language models are trained on."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, parse_formula, reduced_formula
from genmat.crystal.prototype import Protostructure, equivalents, from_arrays
from genmat.errors import GenmatError
from genmat.tokenization.sentence import spell
from genmat.tokenization.vocabulary import gap_word, vocabulary

if TYPE_CHECKING:
    from datasets import DatasetDict

SPELLING = 1
"""Raised when `spell` writes other sentences for the same crystal, so that old caches are not read."""
COLUMNS = [
    "material_id",
    "formula",
    "n_primitive",
    "lattice_parameters",
    "species",
    "frac_coords",
    "e_above_hull",
    "split",
]


def spell_settings(
    proto: Protostructure, e_above_hull: float, variants: int, key: str, gap: float | None = None
) -> list[list[int]]:
    """Sentences of up to ``variants`` equivalent settings: the standard one, then a draw seeded by ``key``."""
    settings = equivalents(proto)
    others = random.Random(key).sample(settings[1:], min(variants - 1, len(settings) - 1))
    return [spell(setting, e_above_hull, gap) for setting in [settings[0], *others]]


def _spell_rows(
    source: Path, max_atoms: int, max_e_above_hull: float, variants: int, gaps: Path | None
) -> Iterator[dict]:
    """One row per structure of a Materials-Project-like table that can be spelled."""
    import pandas as pd
    from pymatgen.core import Lattice

    table = pd.read_parquet(source, columns=COLUMNS)
    table = table[(table.n_primitive <= max_atoms) & (table.e_above_hull < max_e_above_hull)]
    gap_of = {} if gaps is None else load_gaps(gaps)
    for row in table.itertuples(index=False):
        numbers = np.array([ATOMIC_NUMBER[s] for s in row.species])
        try:
            matrix = Lattice.from_parameters(*row.lattice_parameters).matrix
            proto = from_arrays(matrix, np.stack(row.frac_coords), numbers)
            gap = gap_of.get((proto.formula, proto.spacegroup))
            sentences = spell_settings(proto, row.e_above_hull, variants, row.material_id, gap)
        except GenmatError:
            continue  # counted by the round-trip benchmark; a structure that cannot be spelled cannot be learnt
        yield {"id": row.material_id, "formula": row.formula, "split": row.split, "variants": sentences}


def load_gaps(path: Path) -> dict[tuple[str, int], float]:
    """Band gap (eV, PBE) by reduced formula and space group, where all entries of the table agree on its class."""
    import pandas as pd

    table = pd.read_csv(path)
    found: dict[tuple[str, int], list[float]] = {}
    for formula, number, gap in zip(table["composition"], table["spg_num"], table["gap pbe"], strict=True):
        found.setdefault((reduced_formula(parse_formula(formula.replace(" ", ""))), int(number)), []).append(gap)
    return {key: gaps[0] for key, gaps in found.items() if len({gap_word(gap) for gap in gaps}) == 1}


def load_tokens(
    source: str | Path,
    max_atoms: int = 20,
    max_e_above_hull: float = 0.1,
    variants: int = 4,
    gaps: Path | None = None,
    cache_dir: str | Path | None = None,
) -> "DatasetDict":
    """Token sentences of a structure table, by split; computed once, then read from ``cache_dir``.

    Args:
        source: parquet with lattice_parameters (Å, °), species, frac_coords, e_above_hull (eV/atom), split.
        max_atoms: largest primitive cell.
        max_e_above_hull: eV/atom; rows without a label are left out.
        variants: sentences per crystal, in different normaliser-equivalent settings.
        gaps: table of band gaps (`load_gaps`); adds gap words to the sentences of crystals it knows.
        cache_dir: default ``~/.cache/genmat``.

    Returns:
        ``DatasetDict`` train/val/test with columns id, formula, split, variants (list of token id lists).

    Raises:
        GenmatError: no such file.
    """
    from datasets import Dataset, DatasetDict

    source = Path(source)
    if not source.is_file():
        raise GenmatError(f"{source}: no such file; give the path of a structure table (parquet)")
    content = hashlib.sha256(source.read_bytes()).hexdigest()
    if gaps is not None:
        content += hashlib.sha256(gaps.read_bytes()).hexdigest()
    key = f"{SPELLING} {content} {max_atoms} {max_e_above_hull} {variants} {' '.join(vocabulary().words)}"
    name = f"tokens-{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.parquet"
    cached = Path(cache_dir or Path.home() / ".cache" / "genmat").expanduser() / name
    if not cached.exists():
        import pandas as pd

        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(".partial")
        pd.DataFrame(_spell_rows(source, max_atoms, max_e_above_hull, variants, gaps)).to_parquet(partial, index=False)
        partial.replace(cached)
    rows = Dataset.from_parquet(str(cached), cache_dir=str(cached.parent / "hf"))
    return DatasetDict(
        {s: rows.filter(lambda r, s=s: r["split"] == s, load_from_cache_file=False) for s in ("train", "val", "test")}
    )
