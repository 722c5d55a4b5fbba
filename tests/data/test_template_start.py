"""Geometry from the nearest known crystal on the same positions."""

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal.prototype import Protostructure, Site, from_structure
from genmat.crystal.realise import realise
from genmat.data.template_start import SiteTemplates, carry_over, template_stage
from genmat.errors import GenmatError


def rutile(metal: str, anion: str, a: float, c: float, u: float) -> Structure:
    return Structure.from_spacegroup(136, Lattice.tetragonal(a, c), [metal, anion], [[0, 0, 0], [u, u, 0]])


CRYSTALS = {
    "rutile": rutile("Ti", "O", 4.59, 2.96, 0.305),
    "sellaite": rutile("Mg", "F", 4.62, 3.05, 0.303),
    "far": rutile("Sn", "O", 4.74, 3.19, 0.4),
}


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for name, structure in CRYSTALS.items():
        proto = from_structure(structure)
        rows.append(
            {
                "material_id": name,
                "formula": structure.composition.reduced_formula,
                "lattice_parameters": list(structure.lattice.parameters),
                "species": [site.specie.symbol for site in structure],
                "frac_coords": structure.frac_coords.tolist(),
                "spacegroup_number": proto.spacegroup,
                "wyckoff": [[site.element, site.letter, ""] for site in proto.sites],
                "split": "train",
                "e_above_hull": 0.5 if name == "far" else 0.0,
            }
        )
    for file in ("structures_le20.parquet", "structures_21to52.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / file)
    return tmp_path


def bare(metal: str, anion: str) -> Protostructure:
    proto = from_structure(rutile(metal, anion, 4.6, 3.0, 0.31))
    return Protostructure(136, tuple(Site(s.element, s.letter) for s in proto.sites))


def test_the_most_similar_crystal_lends_its_geometry(tables: Path) -> None:
    templates = SiteTemplates(tables)
    found = realise(templates.geometry(bare("Zr", "O")))
    assert found.composition.reduced_formula == "ZrO2"
    assert found.lattice.c / found.lattice.a == pytest.approx(2.96 / 4.59, abs=1e-3)  # of rutile, not of sellaite
    assert found.volume > CRYSTALS["rutile"].volume  # zirconium is larger than titanium
    fluoride = realise(templates.geometry(bare("Zn", "F")))
    assert fluoride.lattice.c / fluoride.lattice.a == pytest.approx(3.05 / 4.62, abs=1e-3)


def test_crystals_far_above_the_hull_or_on_other_positions_lend_nothing(tables: Path) -> None:
    templates = SiteTemplates(tables)
    found = realise(templates.geometry(bare("Sn", "O")))
    assert abs(found.lattice.c / found.lattice.a - 3.19 / 4.74) > 0.005  # not cassiterite's own, 0.5 eV/atom up
    salt = Protostructure(225, (Site("Na", "a"), Site("Cl", "b")))
    with pytest.raises(GenmatError, match="no known crystal"):
        templates.geometry(salt)
    made = list(template_stage([Candidate("s", "test", salt), Candidate("z", "test", bare("Zr", "O"))], templates))
    assert made[0].failure is not None and made[1].structure is not None


def test_geometry_is_carried_over_only_between_equal_positions() -> None:
    known = from_structure(CRYSTALS["rutile"])
    distance, same = carry_over(known, bare("Ti", "O")) or (None, None)
    assert distance == 0 and same is not None and same.lattice == pytest.approx(known.lattice)
    assert [s.coords for s in same.sites] == [s.coords for s in known.sites]
    assert carry_over(known, Protostructure(225, (Site("Na", "a"), Site("Cl", "b")))) is None
