"""Every way out is read back by the tool it is for: ASE, pymatgen, jobflow, the models of OPTIMADE, pandas."""

from __future__ import annotations

import json

import ase.db
import ase.io
import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Poscar

from genmat.candidate import Candidate
from genmat.data.export import FORMATS, export
from genmat.errors import GenmatError

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
ALLOY = Structure(Lattice.cubic(3.8), [{"Cu": 0.5, "Au": 0.45}], [[0, 0, 0]])
RESULTS = {
    "e_above_hull": 0.0123, "formation_energy_per_atom": -2.1, "energy_per_atom": -3.4, "novel": np.bool_(True),
    "rank": 1, "decomposition": "NaCl", "p_stable": 0.9,
}  # fmt: skip
GIVEN = [
    Candidate("crystal-gpt-0-000007", "model:crystal-gpt", None, SALT, RESULTS),
    Candidate("12", "file:x.cif", None, COPPER, {"formation_energy_per_atom": 0.0, "energy_per_atom": -3.7}),
    Candidate("dead", "test", None, SALT).fail("relax", "exploded"),
    Candidate("none", "test"),
]
MIXED = Candidate("alloy", "test", None, ALLOY)


def near(found: Structure, given: Structure) -> None:
    assert found.composition == given.composition
    assert np.allclose(found.lattice.matrix, given.lattice.matrix, atol=1e-6)
    assert np.allclose(found.frac_coords, given.frac_coords, atol=1e-6)


@pytest.mark.parametrize("to", ["vasp", "vasp-scan", "qe"])
def test_folders_of_inputs(tmp_path, to) -> None:
    assert export(GIVEN, to, tmp_path / "dft") == (2, [])
    folders = sorted(path.name for path in (tmp_path / "dft").iterdir())
    assert folders == ["0001_NaCl_crystal-gpt-0-000007", "0002_Cu_12"]
    if to == "qe":
        assert len(ase.io.read(tmp_path / "dft" / folders[1] / "pw.in", format="espresso-in")) == 4
    else:
        structure = Poscar.from_file(tmp_path / "dft" / folders[1] / "POSCAR", check_for_potcar=False).structure
        near(structure, COPPER)
        assert not list(tmp_path.rglob("POTCAR")) and len(list(tmp_path.rglob("POTCAR.spec"))) == 2
    assert export(GIVEN[:1], to, tmp_path / "dft")[0] == 1  # an earlier export is replaced, nothing of it left
    assert [path.name for path in tmp_path.rglob("0*")] == folders[:1]
    (tmp_path / "dft" / "notes.txt").write_text("mine")
    with pytest.raises(GenmatError, match="holds other files"):
        export(GIVEN, to, tmp_path / "dft")
    assert (tmp_path / "dft" / "notes.txt").is_file()


@pytest.mark.parametrize("name", ["out.db", "out.json"])
def test_ase_database(tmp_path, name) -> None:
    assert export(GIVEN, "ase", tmp_path / name) == (2, [])
    database = ase.db.connect(tmp_path / name)
    (row,) = database.select("novel=True,e_above_hull<0.05,rank=1")
    atoms = row.toatoms()
    assert (row.name, row.formula, row.data["id"]) == ("crystal-gpt-0-000007", "Na4Cl4", "crystal-gpt-0-000007")
    assert np.allclose(atoms.get_scaled_positions(), SALT.frac_coords) and row.energy == pytest.approx(-3.4 * 8)
    assert len(database) == 2
    export(GIVEN, "ase", tmp_path / name)
    assert len(ase.db.connect(tmp_path / name)) == 2  # written anew, not appended


def test_extxyz(tmp_path) -> None:
    written, left = export([*GIVEN, MIXED], "extxyz", tmp_path / "out.extxyz")
    assert written == 2 and len(left) == 1 and left[0].startswith("alloy: ASE has no partial occupancies")
    frames = ase.io.read(tmp_path / "out.extxyz", index=":")
    assert [str(frame.info["id"]) for frame in frames] == ["crystal-gpt-0-000007", "12"]
    assert np.allclose(frames[0].cell[:], SALT.lattice.matrix, atol=1e-6)


@pytest.mark.parametrize("name", ["s.csv", "s.csv.gz"])
def test_lemat_submission(tmp_path, name) -> None:
    written, left = export([*GIVEN, MIXED], "lemat", tmp_path / name)
    assert written == 2 and "alloy" in left[0]
    table = pd.read_csv(tmp_path / name, dtype=str)
    assert list(table) == ["material_id", "structure"] and list(table["material_id"]) == ["crystal-gpt-0-000007", "12"]
    for text, structure in zip(table["structure"], (SALT, COPPER), strict=True):
        near(Structure.from_dict(json.loads(text)), structure)


def test_matbench_discovery_predictions(tmp_path) -> None:
    bare = Candidate("bare", "test", None, SALT)
    written, left = export([*GIVEN, bare], "matbench-discovery", tmp_path / "p.csv.gz")
    assert written == 2 and left == ["bare: no formation energy; screen it with a reference hull first"]
    table = pd.read_csv(tmp_path / "p.csv.gz", dtype={"material_id": str}).set_index("material_id")
    assert table["e_form_per_atom"].to_dict() == {"crystal-gpt-0-000007": -2.1, "12": 0.0}
    first = (tmp_path / "p.csv.gz").read_bytes()
    export(GIVEN, "matbench-discovery", tmp_path / "p.csv.gz")
    assert (tmp_path / "p.csv.gz").read_bytes() == first


def test_optimade_response_is_valid(tmp_path) -> None:
    models = pytest.importorskip("optimade.models")
    from optimade.adapters import Structure as Adapter

    assert export([*GIVEN, MIXED], "optimade", tmp_path / "o.json") == (3, [])
    response = json.loads((tmp_path / "o.json").read_text())
    assert models.StructureResponseMany(**response).meta.data_returned == 3
    for entry, candidate in zip(response["data"], [*GIVEN[:2], MIXED], strict=True):
        resource = models.StructureResource(**entry)  # raises where a formula, ratio or species contradicts another
        assert resource.attributes.nsites == len(candidate.structure)
        near(Adapter(entry).as_pymatgen, candidate.structure)
    salt, _, alloy = (entry["attributes"] for entry in response["data"])
    assert (salt["chemical_formula_reduced"], salt["chemical_formula_anonymous"]) == ("ClNa", "AB")
    assert salt["_genmat_e_above_hull"] == 0.0123 and salt["_genmat_novel"] is True
    assert salt["space_group_it_number"] == 225
    assert (alloy["chemical_formula_reduced"], alloy["structure_features"]) == ("Au9Cu10", ["disorder"])
    assert alloy["species"][0]["chemical_symbols"][-1] == "vacancy"


def test_jobflow_dry_run(tmp_path) -> None:
    """The Flow is read back and run: each job becomes the maker's, here a single point by effective-medium theory."""
    jobflow = pytest.importorskip("jobflow")
    from monty.serialization import loadfn

    fcc = [Candidate(e, "test", None, Structure(COPPER.lattice, [e] * 4, COPPER.frac_coords)) for e in ("Cu", "Ag")]
    assert export(fcc, "jobflow", tmp_path / "flow.json", maker="genmat.data.flow:StaticMaker") == (2, [])
    flow = loadfn(tmp_path / "flow.json")
    assert isinstance(flow, jobflow.Flow) and [job.name for job in flow.jobs] == ["Cu Cu", "Ag Ag"]
    done = jobflow.run_locally(flow, log=False, ensure_success=True, root_dir=tmp_path)
    outputs = [response.output for runs in done.values() for response in runs.values() if response.output]
    assert sorted(output["formula"] for output in outputs) == ["Ag", "Cu"]
    copper = next(output for output in outputs if output["formula"] == "Cu")
    assert abs(copper["energy_per_atom"]) < 0.01 and copper["max_force"] < 1e-6  # fcc Cu is EMT's zero
    export(fcc, "jobflow", tmp_path / "again.json", maker="genmat.data.flow:StaticMaker")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "flow.json").read_text()


def test_jobflow_names_atomate2_and_says_when_it_is_missing(tmp_path) -> None:
    pytest.importorskip("jobflow")
    from genmat.data.flow import MAKER, expand

    export(GIVEN, "jobflow", tmp_path / "flow.json")
    assert MAKER in (tmp_path / "flow.json").read_text()
    with pytest.raises(GenmatError, match="cannot be imported"):
        expand(SALT, "no_such_package:Maker")
    with pytest.raises(GenmatError, match="no import path"):
        export(GIVEN, "jobflow", tmp_path / "flow.json", maker="os.system('x')")


@pytest.mark.parametrize(
    ("to", "out", "words"),
    [
        ("vaps", "x", "did you mean 'vasp'"),
        ("optimade", "x.csv", "let its name end in .json"),
        ("ase", "x", ".db or .json"),
    ],
)
def test_mistakes_are_one_line(tmp_path, to, out, words) -> None:
    with pytest.raises(GenmatError, match=words):
        export(GIVEN, to, tmp_path / out)
    assert not (tmp_path / out).exists()


def test_nothing_to_hand_over(tmp_path) -> None:
    for candidates in ([], GIVEN[2:]):
        with pytest.raises(GenmatError, match="no candidate with a structure"):
            export(candidates, "vasp", tmp_path / "x")
    with pytest.raises(GenmatError, match="partial occupancies"):
        export([MIXED], "qe", tmp_path / "x")
    (tmp_path / "file").touch()
    with pytest.raises(GenmatError, match="in the way"):
        export(GIVEN, "vasp", tmp_path / "file")


def test_the_help_names_every_format() -> None:
    from typer.main import get_command

    from genmat.cli.main import app

    (option,) = [p for p in get_command(app).commands["export"].params if p.name == "to"]
    assert all(name in option.help for name in FORMATS)
