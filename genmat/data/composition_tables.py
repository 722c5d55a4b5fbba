"""Compositions as arrays, and tables of what is known about them: Materials Project and disorder labels.

Splits. Composition tables are split by reduced formula: a hash of the formula, and nothing else, says whether it is in
test (10 %), val (3 %) or train, so that all entries of one formula are on one side whatever file they come from.
Disorder tables carry their own published split; the grouped one is by hash of the chemical system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, ELEMENTS, _parse_group, check_element, electronegativity_rank
from genmat.data.composition_structures import prototype_classes, read_structures
from genmat.errors import GenmatError

if TYPE_CHECKING:
    import pandas as pd

SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
SYSTEM_ENDS = np.array([2, 15, 74, 142, 167, 194, 230])
FORMULA_UNITS = (1, 2, 3, 4, 6, 8, 12, 16)
TYPES = ("O", "S", "V", "M")
"""Ordered; substitutional; vacancies; both."""
MOST_GROUPS = 8
"""Right answers kept of one formula."""

_PAIR = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*(?:[eE]-?\d+)?|\.\d+)?\s*")
_FLAT = re.compile(_PAIR.pattern + r"|(.)")  # the last group holds what is no element with its amount
_TOKENS = re.compile(r"[A-Z][a-z]*|[a-z]+|\d+\.?\d*(?:[eE]-?\d+)?|[()\[\]]|\S")


@dataclass(frozen=True, eq=False)
class CompositionTable:
    """Compositions and their labels.

    Attributes:
        formulas: N formulas, whole amounts reduced.
        numbers: (N, T) atomic numbers, elements by electronegativity, 0 where padded.
        amounts: (N, T) amounts as written.
        labels: by task: (N, K) class indices, -1 where there is none; (N,) numbers or 0/1, NaN where unknown.
        split: (N,) "train", "val", "test" or "" (used for nothing).
        prototypes: keys of the classes of the label `prototype`.
    """

    formulas: tuple[str, ...]
    numbers: np.ndarray
    amounts: np.ndarray
    labels: dict[str, np.ndarray]
    split: np.ndarray
    prototypes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.formulas)

    def rows(self, split: str) -> np.ndarray:
        """Indices of the rows of one split."""
        return np.flatnonzero(self.split == split)


def read_amounts(formula: str) -> dict[str, float]:
    """Amounts of a formula, whole or fractional, brackets and spaces allowed; whole ones are reduced.

    >>> read_amounts("Sr2 Y1 Cu2 Fe1 O7.16")["O"], read_amounts("Ti2O4")
    (7.16, {'Ti': 1.0, 'O': 2.0})

    Raises:
        GenmatError: unknown element, zero or negative amount, unbalanced bracket, nothing there.
    """
    text = formula.strip()
    if not text:
        raise GenmatError("'': an empty formula; write one such as BaTiO3")
    amounts: dict[str, float] = {}
    pairs = _FLAT.findall(text)
    if not any(strange for _, _, strange in pairs):
        for symbol, number, _ in pairs:
            amounts[check_element(symbol)] = amounts.get(symbol, 0.0) + (float(number) if number else 1.0)
    else:
        if re.search(r"[-−]\s*\d", text):
            raise GenmatError(f"{formula!r}: a negative amount; amounts are positive numbers")
        amounts = {e: float(n) for e, n in _parse_group(_TOKENS.findall(text), formula).items()}
    if not amounts:
        raise GenmatError(f"{formula!r}: no elements in it; write one such as BaTiO3")
    if any(not 0 < n < 1e6 for n in amounts.values()):
        raise GenmatError(f"{formula!r}: an amount of zero or beyond a million; correct it or leave the element out")
    return _reduced(amounts)


def _reduced(amounts: dict[str, float]) -> dict[str, float]:
    """Whole amounts divided by their greatest common divisor; elements by electronegativity."""
    ordered = sorted(amounts, key=electronegativity_rank)
    nearest = [round(amounts[e]) for e in ordered]
    if any(n == 0 or abs(amounts[e] - n) > 1e-6 for e, n in zip(ordered, nearest, strict=True)):
        return {e: amounts[e] for e in ordered}
    divisor = gcd(*nearest)
    return {e: float(n // divisor) for e, n in zip(ordered, nearest, strict=True)}


def spell(amounts: dict[str, float]) -> str:
    """The formula of amounts: ``{"Ti": 1.0, "O": 2.0}`` gives ``"TiO2"``."""
    return "".join(f"{e}{n:g}" if n != 1 else e for e, n in amounts.items())


def is_whole(amounts: dict[str, float]) -> bool:
    """Whether every amount is a whole number: the rule calls everything else disordered."""
    return all(n == round(n) for n in amounts.values())


def encode(compositions: Sequence[dict[str, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers (N, T) int64 and amounts (N, T) float32 of compositions, padded with 0 on the right."""
    longest = max((len(c) for c in compositions), default=1)
    numbers = np.zeros((len(compositions), longest), dtype=np.int64)
    amounts = np.zeros((len(compositions), longest), dtype=np.float32)
    for i, composition in enumerate(compositions):
        numbers[i, : len(composition)] = [ATOMIC_NUMBER[e] for e in composition]
        amounts[i, : len(composition)] = list(composition.values())
    return numbers, amounts


def fraction_of(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(sha256(text.encode()).digest()[:6], "big") / 2**48


def split_of(text: str, test: float = 0.10, val: float = 0.03) -> str:
    """The side a formula or chemical system is on."""
    position = fraction_of(text)
    return "test" if position < test else "val" if position < test + val else "train"


def system_of(groups: np.ndarray) -> np.ndarray:
    """Index in `SYSTEMS` of space-group indices (number - 1)."""
    return np.searchsorted(SYSTEM_ENDS, np.asarray(groups) + 1)


def element_features() -> np.ndarray:
    """Standardised properties of the elements, (104, F) float32; row 0 is zero, unknown values are the mean."""
    import warnings

    from pymatgen.core import Element

    names = (
        "X", "mendeleev_no", "atomic_radius", "atomic_radius_calculated", "van_der_waals_radius", "ionization_energy",
        "electron_affinity", "melting_point", "boiling_point", "density_of_solid", "molar_volume",
        "average_ionic_radius", "average_cationic_radius", "average_anionic_radius", "max_oxidation_state",
        "min_oxidation_state", "atomic_mass", "bulk_modulus", "electrical_resistivity", "thermal_conductivity",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [Element(symbol) for symbol in ELEMENTS]
        plain = np.array([[_number(element, name) for name in names] for element in known])  # (103, 20)
    plain = (plain - np.nanmean(plain, 0)) / (np.nanstd(plain, 0) + 1e-9)
    group, row = np.array([int(e.group) for e in known]), np.array([int(e.row) for e in known])
    block = np.array(["spdf".index(e.block) for e in known])
    one_hot = [np.eye(18)[group - 1], np.eye(9)[row - 1], np.eye(4)[block]]
    usual = np.array([[s in e.common_oxidation_states for s in range(-4, 8)] for e in known], dtype=float)
    features = np.concatenate([np.nan_to_num(plain).clip(-4, 4), *one_hot, usual], axis=1)
    return np.concatenate([np.zeros((1, features.shape[1])), features]).astype(np.float32)


def _number(element, name: str) -> float:
    try:
        value = getattr(element, name)
        return np.nan if value is None else float(value)
    except (TypeError, ValueError, AttributeError, KeyError):
        return np.nan


def load_compositions(shared: Path) -> CompositionTable:
    """Materials Project entries by reduced formula: 95,118 formulas of 132,752 entries, and 6,216 that only the newer
    structure tables list, to train on.

    Labels: `spacegroup` (several right answers), `prototype` (anonymous; several), `formula_units` (in the primitive
    cell of the lowest entry; index in `FORMULA_UNITS`), `formation_energy` (eV/atom, lowest entry), `band_gap` (eV,
    PBE) and `is_metal` (at the space group of the lowest entry where it is listed, else the mean; metals where more
    than half are), `volume` (Å³/atom).
    """
    import pandas as pd

    folder = shared / "composition"
    energies = pd.read_csv(folder / "matbench_mp_e_form.csv.gz")
    cells = {text: _whole_cell(text) for text in energies.composition.unique()}
    energies["formula"] = [cells[text][0] for text in energies.composition]
    energies["units"] = [cells[text][1] for text in energies.composition]
    energies = energies[["formula", "units", "spg_num", "e_form"]]
    crystals = _crystals(shared)
    sides = {formula: split_of(formula) for formula in crystals.formula.unique()}
    newer = crystals[~crystals.formula.isin(energies.formula) & (crystals.formula.map(sides) == "train")]
    newer = newer.rename(columns={"spacegroup": "spg_num", "energy": "e_form"})[energies.columns]
    energies = pd.concat([energies, newer]).sort_values(["formula", "e_form"], kind="stable")
    lowest = energies.drop_duplicates("formula").set_index("formula")
    formulas = tuple(lowest.index)
    split = np.array([split_of(f) for f in formulas])
    groups = energies.groupby("formula", sort=True).spg_num.agg(lambda g: list(dict.fromkeys(g))[:MOST_GROUPS])
    known = crystals[crystals.prototype != ""].groupby("formula").prototype.agg(list).to_dict()
    prototypes, right = prototype_classes([known.get(f, []) for f in formulas], split == "train")
    numbers, amounts = encode([read_amounts(formula) for formula in formulas])
    volumes = crystals[crystals.volume > 1].drop_duplicates("formula").set_index("formula").volume
    labels = {
        "spacegroup": _classes([[g - 1 for g in found] for found in groups.loc[list(formulas)]], MOST_GROUPS),
        "prototype": _classes([found[:MOST_GROUPS] for found in right], MOST_GROUPS),
        "formula_units": _classes([[_nearest_units(u)] for u in lowest.units], 1),
        "formation_energy": lowest.e_form.to_numpy(np.float32),
        "band_gap": _electronic(folder / "matbench_mp_gap.csv.gz", "gap pbe", lowest, cells),
        "is_metal": _electronic(folder / "matbench_mp_is_metal.csv.gz", "is_metal", lowest, cells),
        "volume": volumes.reindex(list(formulas)).to_numpy(np.float32),
    }
    labels["is_metal"] = np.where(np.isnan(labels["is_metal"]), np.nan, labels["is_metal"] > 0.5).astype(np.float32)
    return CompositionTable(formulas, numbers, amounts, labels, split, tuple(prototypes))


def _crystals(shared: Path) -> pd.DataFrame:
    """`read_structures` with reduced formulas, and the formula units in the primitive cell as `units`; lowest first."""
    crystals = read_structures(shared)
    reduced = {text: read_amounts(text) for text in crystals.formula.unique()}
    atoms = {text: sum(amounts.values()) for text, amounts in reduced.items()}
    crystals["units"] = [
        max(1, round(n / atoms[f])) for n, f in zip(crystals.n_primitive, crystals.formula, strict=True)
    ]
    crystals["formula"] = [spell(reduced[text]) for text in crystals.formula]
    return crystals.sort_values(["formula", "energy"], kind="stable")


def listed_formulas(shared: Path) -> set[str]:
    """Reduced formulas of the Materials Project tables: what an encoder pretrained on them has seen."""
    import pandas as pd

    cells = pd.read_csv(shared / "composition" / "matbench_mp_e_form.csv.gz", usecols=["composition"])
    newer = {spell(read_amounts(text)) for text in read_structures(shared).formula.unique()}
    return {_whole_cell(text)[0] for text in cells.composition.unique()} | newer


def _whole_cell(text: str) -> tuple[str, int]:
    """Reduced formula and formula units of the composition of a cell, ``"K4 Mn4 O8"``."""
    counts = {symbol: int(float(n or 1)) for symbol, n in _PAIR.findall(text)}
    return spell(_reduced({e: float(n) for e, n in counts.items()})), gcd(*counts.values())


def _nearest_units(units: int) -> int:
    return int(np.argmin([abs(np.log(units / known)) for known in FORMULA_UNITS]))


def _classes(rows: Iterable[Sequence[int]], width: int) -> np.ndarray:
    """Lists of class indices as (N, width), padded with -1."""
    rows = list(rows)
    out = np.full((len(rows), width), -1, dtype=np.int16)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _electronic(path: Path, column: str, lowest, cells: dict[str, tuple[str, int]]) -> np.ndarray:
    """A property of the entry at the space group of the lowest energy, else the formula's mean; NaN where unlisted."""
    import pandas as pd

    table = pd.read_csv(path)
    table["formula"] = [(cells.get(text) or _whole_cell(text))[0] for text in table.composition]
    table[column] = table[column].astype(float)
    means = table.groupby("formula")[column].mean()
    exact = table.groupby(["formula", "spg_num"])[column].mean()
    wanted = pd.MultiIndex.from_arrays([lowest.index, lowest.spg_num])
    found = exact.reindex(wanted).to_numpy()
    return np.where(np.isnan(found), means.reindex(lowest.index).to_numpy(), found).astype(np.float32)


def load_disorder(shared: Path, split: str = "disorder") -> CompositionTable:
    """Formulas ever reported with partial occupancy, or never: 98,056, with the type for most.

    Args:
        split: whose split is taken: "disorder" (published, ordered against disordered), "disorder-type" (published,
            types) or "disorder-grouped" (hash of the chemical system: 20 % test, 5 % val).

    Labels: `disorder`, (N, 3) indices in `TYPES`; disordered formulas of unknown type may be any of the three;
    `is_disordered` 0/1 and `type` (index in `TYPES`, NaN where unknown) as listed, for scores.
    """
    import pandas as pd

    folder = shared / "disorder"
    binary, types = (pd.read_csv(folder / f"icsd_{name}.csv.gz") for name in ("binary", "type"))
    for table in (binary, types):  # the same formula may be spelled in two ways
        table.index = pd.Index([spell(read_amounts(formula)) for formula in table.formula])
    formulas = binary.index.union(types.index)
    chosen = types if split == "disorder-type" else binary
    kind = types.label.map(TYPES.index).reindex(formulas).to_numpy(float)
    listed = binary.disorder.reindex(formulas).to_numpy(float)
    disordered = np.where(np.isnan(listed), kind > 0, listed > 0)
    usable = ~np.isnan(kind) & ((kind > 0) == disordered)
    right = [
        [int(k)] if known else [1, 2, 3] if d else [0] for k, d, known in zip(kind, disordered, usable, strict=True)
    ]
    compositions = [read_amounts(formula) for formula in formulas]
    if split == "disorder-grouped":
        sides = [split_of("-".join(sorted(c)), test=0.2, val=0.05) for c in compositions]
    else:
        sides = chosen.split.reindex(formulas).fillna("train").tolist()
    labels = {
        "disorder": _classes(right, 3),
        "is_disordered": disordered.astype(np.float32),
        "type": kind.astype(np.float32),
    }
    return CompositionTable(tuple(formulas), *encode(compositions), labels, np.array(sides))
