"""Populations: tiers of known crystals, the test split, substitution."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal.prototype import from_structure
from genmat.crystal.template import template_of
from genmat.data.judge import displacement, judge
from genmat.data.population import (
    LARGE,
    SMALL,
    draw_test,
    known_crystals,
    known_templates,
    substituted,
    test_split,
)
from genmat.errors import GenmatError

SALT = Structure.from_spacegroup(225, Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
CAESIUM = Structure(Lattice.cubic(3.4), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])  # the same formula, another structure
GOLD = Structure.from_spacegroup(225, Lattice.cubic(4.2), ["Au"], [[0, 0, 0]])
ZINC = Structure.from_spacegroup(216, Lattice.cubic(5.4), ["Zn", "S"], [[0, 0, 0], [0.25] * 3])


def write(path: Path, rows: list[tuple[str, Structure, str, float | None]]) -> None:
    """A table laid out like the Materials Project ones."""
    found = []
    for name, structure, split, energy in rows:
        proto = from_structure(structure)
        found.append(
            {
                "material_id": name,
                "formula": structure.composition.reduced_formula,
                "lattice_parameters": list(structure.lattice.parameters),
                "species": [site.specie.symbol for site in structure],
                "frac_coords": structure.frac_coords.tolist(),
                "spacegroup_number": proto.spacegroup,
                "wyckoff": [[site.element, site.letter, ""] for site in proto.sites],
                "split": split,
                "e_above_hull": energy,
            }
        )
    pq.write_table(pa.Table.from_pylist(found), path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(
        tmp_path / SMALL,
        [
            ("salt", SALT, "train", 0.0),
            ("pressed-salt", CAESIUM, "val", 0.2),  # too far above the hull for the training population
            ("gold", GOLD, "test", 0.0),
            ("zinc", ZINC, "train", None),
        ],
    )
    write(tmp_path / LARGE, [("big-gold", GOLD, "train", 0.0)])
    return tmp_path


def test_narrowest_tier_is_found(data: Path) -> None:
    known = known_crystals(data, {"NaCl", "Au", "ZnS", "MgO"})
    moved = SALT.copy().perturb(0.03)
    assert known.find(moved.scale_lattice(moved.volume * 1.05)) == ("training", "salt")
    assert known.find(CAESIUM) == ("train+val", "pressed-salt")
    assert known.find(ZINC) == ("train+val", "zinc")  # without an energy it is not in the training population
    assert known.find(GOLD)[0] == "all"  # type: ignore[index]
    oxide = Structure.from_spacegroup(225, Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5] * 3])
    assert known.find(oxide) is None


def test_templates_are_the_training_populations(data: Path) -> None:
    assert known_templates(data) == {template_of(from_structure(SALT))}


def test_test_split(data: Path) -> None:
    found = test_split(data)
    assert found.spacegroups == {225: 1.0} and found.n_elements.tolist() == [1] and found.n_sites.tolist() == [1]
    assert found.density[0] == pytest.approx(GOLD.density / 1.013, rel=1e-4)
    drawn = draw_test(data, 5)
    assert [c.id for c in drawn] == ["gold"] and len(drawn[0].structure) == 1  # type: ignore[arg-type]


def test_missing_tables(tmp_path: Path) -> None:
    with pytest.raises(GenmatError, match=r"structures_le20.parquet: no such file; give the folder"):
        known_templates(tmp_path)


def test_substitution_stays_in_the_group() -> None:
    given = Candidate("x", "test", structure=SALT)
    made = substituted(given, seed=3)
    assert made.structure is not None and made.structure == substituted(given, seed=3).structure
    symbols = sorted(made.structure.composition.as_dict())
    assert set(symbols) & {"Li", "K", "Rb", "Cs"} and set(symbols) & {"F", "Br", "I"}
    assert from_structure(made.structure).spacegroup == 225 and made.structure.volume != pytest.approx(SALT.volume)
    hydride = Structure.from_spacegroup(225, Lattice.cubic(4), ["Li", "H"], [[0, 0, 0], [0.5] * 3])
    swapped = substituted(Candidate("y", "test", structure=hydride)).structure
    assert swapped is not None and "H" in swapped.composition and "Li" not in swapped.composition


def test_displacement() -> None:
    moved = SALT.copy()
    moved.translate_sites([0], [0.02, 0, 0])  # one of eight atoms by 0.114 Å
    rms, same = displacement(SALT, moved)
    assert same and rms == pytest.approx(0.02 * 5.69 * np.sqrt(1 / 8 - 1 / 64), rel=0.02)  # their mean moves too
    assert displacement(SALT, SALT.get_primitive_structure()) == (pytest.approx(0, abs=1e-6), True)
    assert displacement(SALT, CAESIUM) == (None, False)


def test_judge(data: Path) -> None:
    def sample(name: str, structure: Structure | None, energy: float | None = None) -> tuple[Candidate, Candidate]:
        before = Candidate(name, "test", structure=structure)
        before = before.add(log_likelihood=-3.0) if structure is not None else before.fail("read", "nothing")
        after = before.fail("relax", "broke") if energy is None else before.add(e_above_hull=energy, energy_per_atom=-1)
        return before, after

    oxide = Structure.from_spacegroup(225, Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5] * 3])
    squeezed = Structure(Lattice.cubic(2), ["Mg", "O"], [[0, 0, 0], [0, 0, 0.2]])
    pairs = [
        sample("salt", SALT, 0.0),
        sample("oxide", oxide, 0.01),
        sample("again", oxide.get_primitive_structure(), 0.01),
        sample("close", squeezed),
        sample("none", None),
    ]
    rows = judge([a for a, _ in pairs], [b for _, b in pairs], data)
    salt, oxide_row, again, close, none = rows
    assert (salt.known, salt.known_as, salt.known_sampled) == ("training", "salt", "training")
    assert salt.new_template is False and salt.structurally_valid and salt.smact_valid and salt.stayed
    assert oxide_row.known == oxide_row.known_sampled == "" and oxide_row.n_elements == 2 and oxide_row.n_sites == 2
    assert {oxide_row.duplicate_of, again.duplicate_of} == {"", "oxide"} and again.duplicate_sampled == "oxide"
    assert oxide_row.label_first and not again.label_first
    assert not close.structurally_valid and close.known_sampled is None and close.failure == "relax: broke"
    assert none.formula == "" and none.failure == "read: nothing" and not none.structurally_valid
    assert [row.log_likelihood for row in rows] == [-3.0] * 4 + [None]


def test_published_populations(shared: Path) -> None:
    found = test_split(shared / "mp")
    assert len(found.density) == 4427 and sum(found.spacegroups.values()) == pytest.approx(1)
    assert 2500 < len(known_templates(shared / "mp")) < 3500
