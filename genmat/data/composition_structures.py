"""What the structure tables tell of formulas: anonymous prototypes, and the formulas that no other table lists.

The prototype of a crystal is its space group and the Wyckoff positions of its slots, whatever sits where
(`genmat.crystal.slots`); several of one formula are several right answers, as with space groups.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genmat.crystal.slots import prototype_key, read_key
from genmat.crystal.wyckoff import space_group
from genmat.errors import GenmatError

if TYPE_CHECKING:
    import pandas as pd

FILES = ("structures_le20.parquet", "structures_21to52.parquet")
COLUMNS = [
    "formula", "n_atoms", "n_primitive", "lattice_parameters", "spacegroup_number", "wyckoff",
    "formation_energy_per_atom",
]  # fmt: skip
OTHER = "other"
"""The class of prototypes too rare for one of their own."""
LEAST = 8
"""Training formulas a prototype must be seen in to be a class."""
READING = 1
"""Raised when other things are read from the same tables, so that old caches are not read."""


def read_structures(shared: Path, cache_dir: Path | None = None) -> pd.DataFrame:
    """The crystals of the structure tables, lowest energy first within a formula; computed once, then cached.

    Columns: `formula` as listed, `spacegroup`, `prototype` ("" where the positions do not add up to the formula, or
    beyond seven elements), `n_primitive`, `volume` (Å³/atom), `energy` (eV/atom, NaN where unknown). Without tables
    there are no rows.
    """
    import pandas as pd

    paths = [path for name in FILES if (path := shared / "mp" / name).is_file()]
    content = hashlib.sha256(bytes([READING]) + b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]
    cached = (cache_dir or Path.home() / ".cache" / "genmat").expanduser() / f"formulas-{content}.parquet"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        tables = [pd.read_parquet(path, columns=COLUMNS) for path in paths]
        rows = pd.concat(tables) if tables else pd.DataFrame(columns=pd.Index(COLUMNS))
        found = pd.DataFrame({
            "formula": rows.formula.astype(str),
            "spacegroup": rows.spacegroup_number.astype(int),
            "prototype": [_prototype(*row) for row in zip(rows.spacegroup_number, rows.wyckoff, strict=True)],
            "n_atoms": rows.n_atoms.astype(int),
            "n_primitive": rows.n_primitive.astype(int),
            "volume": _volumes(rows),
            "energy": rows.formation_energy_per_atom.astype(float),
        }).sort_values(["formula", "energy"], kind="stable")  # fmt: skip
        partial = cached.with_suffix(".partial")
        found.to_parquet(partial, index=False)
        partial.replace(cached)
    return pd.read_parquet(cached)


def _prototype(spacegroup: int, orbits: Iterable[Sequence[str]]) -> str:
    """Key of a crystal from its orbits (element, Wyckoff letter, site symmetry)."""
    letters: dict[str, str] = {}
    for element, letter, *_ in orbits:
        letters[element] = letters.get(element, "") + letter
    try:
        return prototype_key(int(spacegroup), tuple("".join(sorted(ws)) for ws in letters.values()))
    except (GenmatError, KeyError):
        return ""


def _volumes(rows: pd.DataFrame) -> np.ndarray:
    """Å³/atom of cells given by a, b, c (Å) and angles (°), (N,)."""
    if rows.empty:
        return np.zeros(0)
    a, b, c, *angles = np.stack(rows.lattice_parameters.to_numpy()).T
    cos = np.cos(np.radians(angles))  # (3, N)
    return a * b * c * np.sqrt(np.maximum(1 - (cos**2).sum(0) + 2 * cos.prod(0), 0)) / rows.n_atoms.to_numpy()


@cache
def stoichiometry(key: str) -> tuple[int, ...]:
    """Reduced amounts of the slots of a prototype, in order of size: what its formulas look like without names.

    >>> stoichiometry("221:a_b_c")
    (1, 1, 3)
    """
    group, letters = read_key(key)
    positions = space_group(group).positions
    amounts = [sum(positions[w].multiplicity for w in ws) for ws in letters]
    divisor = gcd(*amounts)
    return tuple(sorted(n // divisor for n in amounts))


def fitting(keys: Sequence[str], amounts: np.ndarray) -> np.ndarray:
    """Which prototypes have the stoichiometry of which compositions, (N, P) bool; `OTHER` fits none.

    Args:
        amounts: (N, T) amounts, 0 where padded; fractional ones fit no prototype.
    """
    by_amounts: dict[tuple, list[int]] = {}
    for i, key in enumerate(keys):
        if key != OTHER:
            by_amounts.setdefault(stoichiometry(key), []).append(i)
    found = np.zeros((len(amounts), len(keys)), dtype=bool)
    for row, composition in zip(found, amounts, strict=True):
        row[by_amounts.get(tuple(sorted(composition[composition > 0].tolist())), [])] = True
    return found


def prototype_classes(prototypes: Sequence[Sequence[str]], train: np.ndarray) -> tuple[list[str], list[list[int]]]:
    """Classes of prototypes, the commonest first and `OTHER` last, and of each formula those that are right.

    Args:
        prototypes: of each of N formulas the keys known.
        train: (N,) which formulas are learnt from; only they decide what becomes a class.
    """
    counts = Counter(key for keys, learnt in zip(prototypes, train, strict=True) if learnt for key in set(keys))
    kept = [key for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= LEAST]
    index = {key: i for i, key in enumerate(kept)}
    right = [list(dict.fromkeys(index.get(key, len(kept)) for key in keys)) for keys in prototypes]
    return [*kept, OTHER], right
