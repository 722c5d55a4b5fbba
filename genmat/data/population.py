"""The populations generated crystals are compared with: training, the rest of the Materials Project, the test split.

Files of `data` (a folder): ``structures_le20.parquet`` and ``structures_21to52.parquet`` (see the data card
``mp_structures``). The training population is what the published generators train on: at most 20 atoms, less than
0.1 eV/atom above the hull, splits train and val.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.matching import KnownPhases
from genmat.crystal.template import template
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.candidate import Candidate
    from genmat.crystal.prototype import Protostructure

SMALL, LARGE = "structures_le20.parquet", "structures_21to52.parquet"
NEAR_HULL = 0.1
"""eV/atom; members of the population are below it."""
PBE_VOLUME = 1.013
"""Volume of a PBE cell over that of these tables, at the median (many cells are r2SCAN ones)."""
TIERS = ("training", "train+val", "all")
"""Nested sets of known crystals: the training population; every row of train and val; every row of both tables."""
_GEOMETRY = ["material_id", "formula", "lattice_parameters", "species", "frac_coords"]


@dataclass(frozen=True)
class Known:
    """Known crystals of some formulas, by the narrowest of `TIERS` they belong to."""

    tiers: Mapping[str, KnownPhases]

    def find(self, structure: Structure, protostructure: Protostructure | None = None) -> tuple[str, str] | None:
        """(tier, id) of a known crystal this one is, by StructureMatcher; None if it is new to all."""
        for tier in TIERS:
            name = self.tiers[tier].find(structure, protostructure)
            if name is not None:
                return tier, name
        return None


@dataclass(frozen=True)
class TestSplit:
    """What the test split of the population looks like.

    Attributes:
        spacegroups: share of each space group (0.1 Å).
        n_elements, n_sites: numbers of elements and of occupied Wyckoff positions, (n,).
        density: g/cm³ of PBE cells, (n,).
    """

    __test__ = False  # not a test class

    spacegroups: Mapping[int, float]
    n_elements: np.ndarray
    n_sites: np.ndarray
    density: np.ndarray


def check_tables(data: Path) -> None:
    """Raise GenmatError when a table is missing, before anything costly begins."""
    for name in (SMALL, LARGE):
        if not (data / name).is_file():
            raise GenmatError(
                f"{data / name}: no such file; give the folder of the Materials Project tables with --data"
            )


def known_crystals(data: Path, formulas: Collection[str], also: Sequence[Path] = ()) -> Known:
    """The known crystals of some reduced formulas; nothing else of the tables is kept in memory.

    Those of `also`, tables a model has been trained on besides, count as training.

    Raises:
        GenmatError: the tables are missing.
    """
    from pymatgen.core import Lattice, Structure

    found: dict[str, list[tuple[str, Structure]]] = {tier: [] for tier in TIERS}
    for path in (data / SMALL, data / LARGE, *also):
        for row in read_rows(path, [*_GEOMETRY, "split", "e_above_hull"], [("formula", "in", list(formulas))]):
            lattice = Lattice.from_parameters(*row["lattice_parameters"])
            structure = Structure(lattice, row["species"], row["frac_coords"])
            tier = TIERS[0] if path in also else _tier(row, path.name)
            found[tier].append((row["material_id"], structure))
    return Known({tier: KnownPhases.from_structures(members, tier) for tier, members in found.items()})


def known_templates(data: Path) -> frozenset[str]:
    """Anonymous Wyckoff templates of the training population.

    Raises:
        GenmatError: the table is missing.
    """
    rows = read_rows(
        data / SMALL,
        ["spacegroup_number", "wyckoff"],
        [("split", "in", ["train", "val"]), ("e_above_hull", "<", NEAR_HULL)],
    )
    return frozenset(
        template(row["spacegroup_number"], "".join(letter for _, letter, _ in row["wyckoff"])) for row in rows
    )


def test_split(data: Path) -> TestSplit:
    """Statistics of the test split.

    Raises:
        GenmatError: the table is missing.
    """
    rows = _test_rows(data, ["spacegroup_number", "wyckoff", "lattice_parameters", "species"])
    groups = Counter(row["spacegroup_number"] for row in rows)
    return TestSplit(
        {group: count / len(rows) for group, count in groups.items()},
        np.array([len(set(row["species"])) for row in rows]),
        np.array([len(row["wyckoff"]) for row in rows]),
        np.array([_density(row) for row in rows]),
    )


test_split.__test__ = False  # type: ignore[attr-defined]  # not a test


def draw_test(data: Path, n: int, seed: int = 0) -> list[Candidate]:
    """A seeded draw of `n` crystals of the test split, as primitive cells; all of them when there are fewer.

    Raises:
        GenmatError: the table is missing.
    """
    from pymatgen.core import Lattice, Structure

    from genmat.candidate import Candidate

    rows = _test_rows(data, _GEOMETRY)
    rng = np.random.default_rng(seed)
    made = []
    for i in rng.permutation(len(rows))[:n]:
        row = rows[i]
        cell = Structure(Lattice.from_parameters(*row["lattice_parameters"]), row["species"], row["frac_coords"])
        made.append(Candidate(row["material_id"], "mp:test", None, cell.get_primitive_structure()))
    return made


def substituted(candidate: Candidate, seed: int = 0) -> Candidate:
    """The crystal with every element replaced by another of its group of the periodic table: the plainest generator.

    f elements are replaced among each other, lanthanides and actinides. Hydrogen and the noble gases stay. The volume
    follows the cubes of the atomic radii (Slater's).
    """
    structure = candidate.structure
    assert structure is not None
    rng = np.random.default_rng([seed, *candidate.id.encode()])
    before = sorted(structure.composition.elements, key=lambda element: element.Z)  # type: ignore[union-attr]
    swap: dict[Any, Any] = {}
    for element in before:
        kin = [other for other in _kin(element) if other != element and other not in swap.values()]
        swap[element] = kin[rng.integers(len(kin))] if kin else element
    new = scaled(structure, {str(old): str(other) for old, other in swap.items()})
    return candidate.replace(id=f"{candidate.id}-swapped", origin="substitution", structure=new)


def scaled(structure: Structure, swap: Mapping[str, str]) -> Structure:
    """The crystal with elements replaced, its volume following the cubes of their atomic radii (Slater's)."""
    new = structure.copy()
    new.replace_species(swap)  # type: ignore[arg-type]
    sizes = [sum(float(site.specie.atomic_radius or 1.5) ** 3 for site in crystal) for crystal in (structure, new)]
    new.scale_lattice(structure.volume * sizes[1] / sizes[0])
    return new


def _kin(element: Any) -> list[Any]:
    """Elements it may become: of the same group up to bismuth, and thorium and uranium."""
    from pymatgen.core import Element

    every = [Element.from_Z(z) for z in (*range(3, 84), 90, 92)]
    if element.Z == 1 or element.is_noble_gas:
        return []
    if element.is_lanthanoid or element.is_actinoid:
        return [e for e in every if e.is_lanthanoid or e.is_actinoid]
    return [e for e in every if e.group == element.group and not (e.is_lanthanoid or e.is_actinoid)]


def _tier(row: Mapping[str, Any], table: str) -> str:
    if table != SMALL or row["split"] not in ("train", "val"):
        return "all"
    near = row["e_above_hull"] is not None and row["e_above_hull"] < NEAR_HULL
    return "training" if near else "train+val"


def _density(row: Mapping[str, Any]) -> float:
    """g/cm³ at the volume of PBE."""
    from pymatgen.core import Composition, Lattice

    mass = float(Composition(Counter(row["species"])).weight)
    volume = Lattice.from_parameters(*row["lattice_parameters"]).volume * PBE_VOLUME
    return mass * 1.66053906660 / volume


def _test_rows(data: Path, columns: list[str]) -> list[dict[str, Any]]:
    return read_rows(data / SMALL, columns, [("split", "==", "test"), ("e_above_hull", "<", NEAR_HULL)])


def read_rows(path: Path, columns: list[str], filters: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table of crystals that pass the filters.

    Raises:
        GenmatError: no such file, or not such a table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        check_tables(path.parent)
        raise GenmatError(f"{path}: no such file; give a table of crystals (Parquet)")
    try:
        return pq.read_table(path, columns=columns, filters=filters).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise GenmatError(f"{path}: not the expected table ({error}); see the data card mp_structures") from None
