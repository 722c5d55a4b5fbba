"""Models, a tiny data-free map, and one of 300 real materials."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

pytest.importorskip("faiss")

MODELS = Path(__file__).resolve().parents[2] / "models"


def rock_salt(a: str, b: str, length: float) -> Structure:
    """Primitive cell."""
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), [a, b], [[0, 0, 0], [0.5, 0.5, 0.5]])


def perovskite(a: str, b: str, c: str, length: float) -> Structure:
    """Cubic, b on the body centre."""
    return Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(length), [a, b, c], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )


CRYSTALS = {
    "NaCl": rock_salt("Na", "Cl", 5.64), "KCl": rock_salt("K", "Cl", 6.29), "MgO": rock_salt("Mg", "O", 4.21),
    "CaO": rock_salt("Ca", "O", 4.81), "LiF": rock_salt("Li", "F", 4.03), "KBr": rock_salt("K", "Br", 6.6),
    "SrTiO3": perovskite("Sr", "Ti", "O", 3.905), "BaTiO3": perovskite("Ba", "Ti", "O", 4.0),
    "CaTiO3": perovskite("Ca", "Ti", "O", 3.85), "KNbO3": perovskite("K", "Nb", "O", 4.0),
    "KMgF3": perovskite("K", "Mg", "F", 3.99), "BaZrO3": perovskite("Ba", "Zr", "O", 4.19),
    "TiO2": Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def crystal_files(tmp_path_factory) -> Path:
    """Thirteen textbook crystals, and one file that is none."""
    folder = tmp_path_factory.mktemp("crystals")
    for name, structure in CRYSTALS.items():
        structure.get_primitive_structure().to(str(folder / f"{name}.cif"))
    (folder / "broken.cif").write_text("data_broken\n_cell_length_a nonsense\n")
    return folder


@pytest.fixture(scope="session")
def models():
    from genmat.explore.build import Models

    return Models(MODELS / "crystal-gpt", MODELS / "composition", MODELS / "disorder")


@pytest.fixture(scope="session")
def small(crystal_files, models, tmp_path_factory) -> Path:
    """Map of the thirteen."""
    from genmat.explore.build import build

    out = tmp_path_factory.mktemp("map") / "small"
    build([crystal_files], out, models)
    return out


@pytest.fixture(scope="session")
def table(shared, tmp_path_factory) -> Path:
    """300 rows of the Materials Project table."""
    import pandas as pd

    path = tmp_path_factory.mktemp("table") / "three_hundred.parquet"
    rows = pd.read_parquet(shared / "mp" / "structures_le20.parquet")
    rows.sample(300, random_state=0).to_parquet(path, index=False)
    return path


@pytest.fixture(scope="session")
def real(table, models, tmp_path_factory) -> Path:
    """Map of the 300."""
    from genmat.explore.build import build

    out = tmp_path_factory.mktemp("map") / "real"
    build([table], out, models)
    return out
