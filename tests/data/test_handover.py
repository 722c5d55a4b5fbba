"""Every hand-over is read back by the tool it is for."""

from __future__ import annotations

import io

import ase.io
import ase.io.espresso
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.pwscf import PWInput
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

from genmat.data.handover import pseudopotentials, qe_input, vasp_inputs
from genmat.errors import GenmatError

PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.9), ["Ba2+", "Fe4+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
SKEWED = Structure(
    Lattice.from_parameters(4.1, 5.2, 7.3, 81, 97, 103),
    ["Li", "O", "Si"],
    [[0, 0, 0], [1 / 3, 0.2, -0.4], [0.7, 0.1, 0.9]],
)
MIXED = Structure(Lattice.cubic(3.8), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])


def same(found: Structure, given: Structure) -> None:
    """Equal cells (Å) and fractional coordinates; atoms may come in another order."""
    plain = given.copy().remove_oxidation_states().get_sorted_structure()
    found = found.copy().remove_oxidation_states().get_sorted_structure()
    assert [site.specie.symbol for site in found] == [site.specie.symbol for site in plain]
    assert np.allclose(found.lattice.abc + found.lattice.angles, plain.lattice.abc + plain.lattice.angles, atol=1e-6)
    assert np.allclose(found.lattice.get_all_distances(found.frac_coords, plain.frac_coords).diagonal(), 0, atol=1e-6)


@pytest.mark.parametrize("scan", [False, True], ids=["MPRelaxSet", "MPScanRelaxSet"])
@pytest.mark.parametrize("structure", [PEROVSKITE, SKEWED], ids=["perovskite", "skewed"])
def test_vasp_reads_back(structure, scan) -> None:
    texts = vasp_inputs(structure, scan)
    assert set(texts) == {"INCAR", "POSCAR", "POTCAR.spec"} | (set() if scan else {"KPOINTS"})
    poscar = Poscar.from_str(texts["POSCAR"])
    same(poscar.structure, structure)
    incar = Incar.from_str(texts["INCAR"])
    assert incar["IBRION"] == 2 and incar["ISIF"] == 3 and len(incar["MAGMOM"]) == len(structure)
    if scan:
        assert incar["METAGGA"] == "R2scan" and incar["KSPACING"] > 0
    else:
        assert min(Kpoints.from_str(texts["KPOINTS"]).kpts[0]) >= 1
    names = texts["POTCAR.spec"].split()
    assert [name.split("_")[0] for name in names] == poscar.site_symbols


def test_iron_gets_its_hubbard_u() -> None:
    incar = Incar.from_str(vasp_inputs(PEROVSKITE)["INCAR"])
    assert incar["LDAU"] and max(incar["LDAUU"]) == 5.3


@pytest.mark.parametrize("structure", [PEROVSKITE, SKEWED], ids=["perovskite", "skewed"])
def test_quantum_espresso_reads_back(structure) -> None:
    text = qe_input(structure)
    same(AseAtomsAdaptor.get_structure(ase.io.read(io.StringIO(text), format="espresso-in")), structure)
    if "starting_magnetization" not in text:  # pymatgen writes that but cannot read it
        same(PWInput.from_str(text).structure, structure)
    namelists, _ = ase.io.espresso.read_fortran_namelist(io.StringIO(text))
    assert namelists["system"]["nat"] == len(structure) and namelists["control"]["calculation"] == "vc-relax"
    assert "None" not in text and "{" not in text


def test_cutoffs_are_the_hardest_elements_and_iron_is_magnetic() -> None:
    text = qe_input(PEROVSKITE)
    namelists, _ = ase.io.espresso.read_fortran_namelist(io.StringIO(text))
    assert (namelists["system"]["ecutwfc"], namelists["system"]["ecutrho"]) == (90, 1080)
    assert namelists["system"]["nspin"] == 2 and namelists["system"]["starting_magnetization(2)"] == 0.3  # Ba, Fe, O
    assert "Fe.pbe-spn-kjpaw_psl.0.2.1.UPF" in text
    assert "nspin" not in qe_input(SKEWED)


def test_pseudopotentials_have_cutoffs_in_proportion() -> None:
    table = pseudopotentials()
    assert len(table) == 103 and all(4 <= rho / wfc <= 12 for _, wfc, rho in table.values())
    assert all(name.lower().startswith(symbol.lower()) for symbol, (name, _, _) in table.items())


def test_what_has_no_input_says_so() -> None:
    for make in (vasp_inputs, qe_input):
        with pytest.raises(GenmatError, match="partial occupancies"):
            make(MIXED)
    heavy = Structure(Lattice.cubic(3), ["Og"], [[0, 0, 0]])
    for make in (vasp_inputs, qe_input):
        with pytest.raises(GenmatError, match="Og"):
            make(heavy)
    deuteride = Structure(Lattice.cubic(4.1), ["Li", "D"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert "H.pbe-rrkjus" in qe_input(deuteride) and "H" in vasp_inputs(deuteride)["POSCAR"]
