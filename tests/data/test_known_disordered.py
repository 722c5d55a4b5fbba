"""Known disordered phases from files."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from genmat.crystal.parents import disordered_parent
from genmat.data.known_disordered import read_disordered
from genmat.errors import GenmatError

ALLOY = Structure.from_spacegroup(225, Lattice.cubic(3.9), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_folder(tmp_path):
    ALLOY.to(filename=str(tmp_path / "alloy.cif"))
    SALT.to(filename=str(tmp_path / "salt.cif"))
    (tmp_path / "broken.cif").write_text("data_x\n_atom_site_label\n")
    known = read_disordered(tmp_path)
    assert len(known) == 1 and known.skipped == ("salt",)
    ordered = Structure(Lattice.tetragonal(2.80, 3.67), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert disordered_parent(ordered, known) == "alloy"


def test_nothing_disordered(tmp_path):
    SALT.to(filename=str(tmp_path / "salt.cif"))
    with pytest.raises(GenmatError, match="1 structures, none with shared sites"):
        read_disordered(tmp_path)
