"""The vocabulary of the crystal language: every word, its kind, its value and the features its embedding is made of.

Words are laid out kind by kind, so that a kind is a slice of ids. A word's embedding is the sum of the embeddings of
its features: a Wyckoff position is known by its site symmetry, enumeration, multiplicity and freedom, an element by
its place in the periodic table, a number by its value at three resolutions.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from genmat.crystal.composition import ELEMENTS
from genmat.crystal.wyckoff import LETTERS, WyckoffPosition, space_group

SPECIAL = ("<pad>", "<bos>", "<eos>", "<geom>", "<unk>")
HULL_BINS = (0.0, 0.025, 0.05, 0.1, float("inf"))  # upper edges of energy above hull, eV/atom
GAP_BINS = (0.05, 1.0, 3.0, float("inf"))  # upper edges of the band gap, eV (PBE); the first are metals
RESERVED = 7
MAX_AMOUNT = 64
LENGTH_MIN, LENGTH_STEP, N_LENGTHS = 2.0, 0.01, 465  # Å, relative step (log scale): 2 to 207 Å, at most 0.5 % off
ANGLE_MIN, ANGLE_STEP, N_ANGLES = 30.0, 0.5, 241  # degrees
N_COORDS = 240  # of a cell edge: holds 1/2, 1/3, 1/4, 1/5, 1/6 and 1/8 exactly
FEATURES = (
    "kind", "own", "group", "period", "block", "spacegroup", "system", "centring", "site_symmetry",
    "site_symmetry_type", "enumeration", "multiplicity", "dof", "letter", "coarse", "medium",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """All words.

    Attributes:
        words: by id.
        ids: word to id.
        kinds: kind of each word, (V,) index into ``slices``.
        slices: kind to ``(first id, one past the last)``.
        values: (V,) number a numeric word stands for (amount, space group, Å, degrees, fraction), else nan.
        features: (V, F) feature ids, columns as in ``FEATURES``; 0 = does not apply.
    """

    words: tuple[str, ...]
    ids: dict[str, int]
    kinds: np.ndarray
    slices: dict[str, tuple[int, int]]
    values: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    @property
    def feature_sizes(self) -> list[int]:
        """Rows needed in each feature's embedding table."""
        return [int(n) + 1 for n in self.features.max(0)]


def hull_word(e_above_hull: float) -> str:
    """Condition word of an energy above hull (eV/atom)."""
    return next(f"<hull:{edge:g}>" for edge in HULL_BINS if e_above_hull <= edge + 1e-6)


def gap_word(gap: float) -> str:
    """Condition word of a band gap (eV, PBE)."""
    return next(f"<gap:{edge:g}>" for edge in GAP_BINS if gap <= edge)


def length_id(length: float) -> int:
    """Bin of a lattice length in Å (clipped to the range of the language)."""
    return int(np.clip(round(np.log(length / LENGTH_MIN) / LENGTH_STEP), 0, N_LENGTHS - 1))


def angle_id(angle: float) -> int:
    """Bin of an angle in degrees."""
    return int(np.clip(round((angle - ANGLE_MIN) / ANGLE_STEP), 0, N_ANGLES - 1))


def coord_id(fraction: float) -> int:
    """Bin of a fractional coordinate."""
    return round(fraction * N_COORDS) % N_COORDS


@cache
def vocabulary() -> Vocabulary:
    """The one vocabulary."""
    positions = [p for n in range(1, 231) for p in space_group(n).positions.values()]
    lengths = LENGTH_MIN * np.exp(LENGTH_STEP * np.arange(N_LENGTHS))
    angles = ANGLE_MIN + ANGLE_STEP * np.arange(N_ANGLES)
    coords = np.arange(N_COORDS) / N_COORDS
    conditions = [*(f"<hull:{edge:g}>" for edge in HULL_BINS), *(f"<gap:{edge:g}>" for edge in GAP_BINS)]
    kinds: dict[str, list[str]] = {
        "special": [*SPECIAL, *conditions, *(f"<reserved{i}>" for i in range(RESERVED))],
        "element": list(ELEMENTS),
        "amount": [str(n) for n in range(1, MAX_AMOUNT + 1)],
        "spacegroup": [f"sg{n}" for n in range(1, 231)],
        "wyckoff": [f"{p.spacegroup}{p.letter}" for p in positions],
        "length": [f"L{v:.3f}" for v in lengths],
        "angle": [f"A{v:.1f}" for v in angles],
        "coord": [f"x{v:.4f}" for v in coords],
    }
    words = tuple(word for group in kinds.values() for word in group)
    starts = np.cumsum([0, *map(len, kinds.values())])
    slices = {kind: (int(a), int(b)) for kind, a, b in zip(kinds, starts[:-1], starts[1:], strict=True)}
    values = np.full(len(words), np.nan)
    counts = {"amount": np.arange(1, MAX_AMOUNT + 1), "spacegroup": np.arange(1, 231)}
    for kind, numbers in {**counts, "length": lengths, "angle": angles, "coord": coords}.items():
        values[slice(*slices[kind])] = numbers
    return Vocabulary(
        words=words,
        ids={word: i for i, word in enumerate(words)},
        kinds=np.repeat(np.arange(len(kinds)), np.diff(starts)),
        slices=slices,
        values=values,
        features=_features(slices, len(words), positions),
    )


def _features(slices: dict[str, tuple[int, int]], size: int, positions: list[WyckoffPosition]) -> np.ndarray:
    """Feature ids (V, F); Wyckoff words have no embedding of their own, all they are is shared."""
    column = {name: i for i, name in enumerate(FEATURES)}
    table = np.zeros((size, len(FEATURES)), dtype=np.int64)
    for index, (lo, hi) in enumerate(slices.values()):
        table[lo:hi, column["kind"]] = index + 1
    table[:, column["own"]] = np.arange(size) + 1
    table[slice(*slices["wyckoff"]), column["own"]] = 0
    _element_features(table[slice(*slices["element"])], column)
    systems, centrings, symmetries, types = _Numbering(), _Numbering(), _Numbering(), _Numbering()
    for number, row in enumerate(table[slice(*slices["spacegroup"])], start=1):
        group = space_group(number)
        row[column["spacegroup"]] = number
        row[column["system"]] = systems[group.system]
        row[column["centring"]] = centrings[group.centring]
    for position, row in zip(positions, table[slice(*slices["wyckoff"])], strict=True):
        group = space_group(position.spacegroup)
        row[column["spacegroup"]] = position.spacegroup
        row[column["system"]] = systems[group.system]
        row[column["centring"]] = centrings[group.centring]
        row[column["site_symmetry"]] = symmetries[position.site_symmetry]
        row[column["site_symmetry_type"]] = types["".join(sorted(position.site_symmetry.replace(".", "")))]
        row[column["enumeration"]] = position.enumeration + 1
        row[column["multiplicity"]] = position.multiplicity // group.centring_multiplicity
        row[column["dof"]] = position.dof + 1
        row[column["letter"]] = LETTERS.index(position.letter) + 1
    offset = 0
    for kind, coarse, medium in (("amount", 4, 2), ("length", 32, 8), ("angle", 24, 6), ("coord", 20, 5)):
        rows = table[slice(*slices[kind])]
        bins = np.arange(len(rows))
        rows[:, column["coarse"]] = offset + bins // coarse + 1
        rows[:, column["medium"]] = offset + bins // medium + 1
        offset += int(bins[-1] // medium) + 1
    # numbering of coarse bins has gaps where medium bins are finer: compact it
    table[:, column["coarse"]] = np.unique(table[:, column["coarse"]], return_inverse=True)[1]
    return table


def _element_features(rows: np.ndarray, column: dict[str, int]) -> None:
    """Fill group, period and block of the elements."""
    from pymatgen.core import Element

    blocks = {"s": 1, "p": 2, "d": 3, "f": 4}
    for symbol, row in zip(ELEMENTS, rows, strict=True):
        element = Element(symbol)
        row[column["group"]], row[column["period"]] = int(element.group), int(element.row)
        row[column["block"]] = blocks[element.block]


class _Numbering(dict):
    """Numbers keys from 1 in the order they are first asked for."""

    def __missing__(self, key: str) -> int:
        self[key] = len(self) + 1
        return self[key]
