"""A tiny pair of structure tables for the tests of structure prediction."""

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

ROCK_SALT = [[0, 0, 0], [0.5] * 3]
CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], ROCK_SALT)


def salt(a: float, metal: str = "Na", anion: str = "Cl") -> Structure:
    return Structure.from_spacegroup(225, Lattice.cubic(a), [metal, anion], ROCK_SALT).get_primitive_structure()


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    crystals = {
        "halite": (salt(5.69), "train", 0.0),
        "cesium": (CSCL, "train", 0.0),
        "far": (salt(5.0, "Li", "F"), "train", 0.3),
        "sylvite": (salt(6.3, "K", "Cl"), "test", 0.0),
        "high": (Structure(Lattice.cubic(3.8), ["K", "Cl"], ROCK_SALT), "test", 0.05),
    }
    rows = [
        {
            "material_id": name,
            "formula": structure.composition.reduced_formula,
            "lattice_parameters": list(structure.lattice.parameters),
            "species": [site.specie.symbol for site in structure],
            "frac_coords": structure.frac_coords.tolist(),
            "split": split,
            "e_above_hull": energy,
        }
        for name, (structure, split, energy) in crystals.items()
    ]
    for file in ("structures_le20.parquet", "structures_21to52.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / file)
    return tmp_path
