"""Uniqueness and novelty against StructureMatcher, on real crystals and on the cases labels get wrong."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal import matching
from genmat.crystal.composition import parse_formula, reduced_formula
from genmat.crystal.matching import KnownPhases, fingerprint, novel_stage, pack, pair_key, same_crystal, unique_stage
from genmat.crystal.prototype import from_structure
from genmat.errors import GenmatError


def cubic(group: str, edge: float, species, coords) -> Structure:
    return Structure.from_spacegroup(group, Lattice.cubic(edge), species, coords)


ROCK_SALT = cubic("Fm-3m", 5.64, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CESIUM_CHLORIDE = cubic("Pm-3m", 3.4, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
PEROVSKITE = cubic("Pm-3m", 3.9, ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]])


def rutile(u: float, c: float = 2.96) -> Structure:
    return Structure.from_spacegroup(136, Lattice.tetragonal(4.59, c), ["Ti", "O"], [[0, 0, 0], [u, u, 0]])


def shaken(structure: Structure, seed: int, displacement: float = 0.02, strain: float = 0.01) -> Structure:
    rng = np.random.default_rng(seed)
    lattice = Lattice(structure.lattice.matrix @ (np.eye(3) + rng.normal(scale=strain, size=(3, 3))))
    cartesian = lattice.get_cartesian_coords(structure.frac_coords)
    cartesian = cartesian + rng.normal(scale=displacement, size=cartesian.shape)
    return Structure(lattice, structure.species, cartesian, coords_are_cartesian=True)


def candidates(*structures: Structure) -> list[Candidate]:
    return [Candidate(str(i), "test", structure=structure) for i, structure in enumerate(structures)]


def twins(*structures: Structure) -> list[str | None]:
    return [candidate.results["duplicate_of"] for candidate in unique_stage(candidates(*structures))]


def test_the_first_is_kept_and_others_point_to_it():
    primitive = ROCK_SALT.get_primitive_structure()
    supercell = ROCK_SALT.make_supercell([2, 1, 1], in_place=False)
    moved = ROCK_SALT.copy().translate_sites(range(8), [0.13, 0.2, 0.3])
    assert twins(ROCK_SALT, CESIUM_CHLORIDE, primitive, supercell, moved, PEROVSKITE) == [
        None,
        None,
        "0",
        "0",
        "0",
        None,
    ]


def test_symmetry_lost_to_noise_is_still_the_same_crystal():
    noisy = shaken(PEROVSKITE, 0, displacement=0.08, strain=0.02)
    assert from_structure(noisy).label != from_structure(PEROVSKITE).label  # the label alone would call it new
    assert twins(PEROVSKITE, noisy) == [None, "0"]


def test_one_label_two_crystals():
    """Same Wyckoff positions, other bonds: the label alone would call it known."""
    other = rutile(0.12, 5.0)
    assert from_structure(rutile(0.305)).label == from_structure(other).label
    assert twins(rutile(0.305), other, rutile(0.31, 2.9)) == [None, None, "0"]


def test_order_of_candidates_is_kept_and_failures_pass():
    dead = Candidate("dead", "test", structure=ROCK_SALT, failure="read: broken")
    first, second, third = unique_stage([dead, *candidates(ROCK_SALT, ROCK_SALT)])
    assert first is dead
    assert second.results == {"unique": True, "duplicate_of": None}
    assert third.results == {"unique": False, "duplicate_of": "0"}
    assert next(unique_stage([Candidate("x", "test")])).failure == "unique: neither structure nor protostructure"


def test_protostructures_without_geometry_are_compared_by_label():
    bare = [Candidate(str(i), "test", from_structure(s)) for i, s in enumerate([ROCK_SALT, CESIUM_CHLORIDE, ROCK_SALT])]
    assert [c.results["duplicate_of"] for c in unique_stage(bare)] == [None, None, "0"]
    known = KnownPhases.from_labels([from_structure(ROCK_SALT).label])
    assert [c.results["novel"] for c in novel_stage(bare, known)] == [False, True, False]


def test_verdicts_equal_structure_matcher_on_generated_crystals(shared):
    """The quick route decides as the judge alone would, on 150 generated crystals and shaken copies of them."""
    from genmat.data.read import read_candidates

    path = next(iter(sorted((shared / "generated").glob("plaidpp_it3_sg216*.csv.gz"))))
    read = [c.structure for c, _ in zip(read_candidates(path), range(150), strict=False)]
    structures = [*read, *(shaken(s, i, 0.01, 0.005) for i, s in enumerate(read[:60]))]
    matcher, buckets, expected = StructureMatcher(), {}, []
    for number, structure in enumerate(structures):
        bucket = buckets.setdefault(structure.composition.reduced_formula, [])
        twin = next((name for name, other in bucket if matcher.fit(other, structure)), None)
        if twin is None:
            bucket.append((str(number), structure))
        expected.append(twin)
    assert [t is None for t in twins(*structures)] == [t is None for t in expected]
    assert 60 <= sum(t is not None for t in expected) < 200


def test_close_geometry_convinces_the_judge(shared):
    """Whatever the quick yes accepts, StructureMatcher accepts: shaken crystals of the Materials Project."""
    import pyarrow.parquet as pq

    columns = ["lattice_parameters", "species", "frac_coords"]
    rows = pq.read_table(shared / "mp/structures_le20.parquet", columns=columns).slice(30_000, 60).to_pylist()
    quick = 0
    for number, row in enumerate(rows):
        structure = Structure(Lattice.from_parameters(*row["lattice_parameters"]), row["species"], row["frac_coords"])
        other = shaken(structure, number, 0.01, 0.003)
        first, second = from_structure(structure), from_structure(other)
        if first.label == second.label and matching._same_geometry(first, second):
            quick += 1
            assert same_crystal(structure, other)
    assert quick > 30


def test_known_structures_are_judged():
    known = KnownPhases.from_structures([("rutile", rutile(0.305)), ("salt", ROCK_SALT)])
    found = list(novel_stage(candidates(rutile(0.31), rutile(0.12, 5.0), PEROVSKITE, ROCK_SALT), known))
    assert [c.results["known_as"] for c in found] == ["rutile", None, None, "salt"]
    assert [c.results["novel"] for c in found] == [False, True, True, False]


def test_known_labels_without_structures():
    known = KnownPhases.from_labels([from_structure(s).label for s in (ROCK_SALT, PEROVSKITE)])
    found = list(novel_stage(candidates(ROCK_SALT.get_primitive_structure(), CESIUM_CHLORIDE), known))
    assert [c.results["known_as"] for c in found] == ["label known", None]


def test_known_from_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    crystals = {"a": ROCK_SALT, "b": rutile(0.305)}
    table = pa.table(
        {
            "id": list(crystals),
            "lattice": [s.lattice.matrix.tolist() for s in crystals.values()],
            "species": [[site.specie.symbol for site in s] for s in crystals.values()],
            "frac_coords": [s.frac_coords.tolist() for s in crystals.values()],
        }
    )
    pq.write_table(table, tmp_path / "known.parquet")
    known = KnownPhases.from_parquet(tmp_path / "known.parquet")
    assert len(known) == 2
    assert [known.find(s) for s in (rutile(0.31), ROCK_SALT, PEROVSKITE)] == ["b", "a", None]
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(GenmatError, match="not a table of structures"):
        KnownPhases.from_parquet(tmp_path / "broken.parquet")


def test_fingerprints_round_trip(tmp_path):
    labels = [f"label {i}" for i in range(1000)]
    np.save(tmp_path / "known.npy", pack(fingerprint(label) for label in [*labels, labels[0]]))
    known = KnownPhases.from_fingerprints(tmp_path / "known.npy")
    assert len(known) == 1000
    assert all(known.has_label(label) for label in labels)
    assert not any(known.has_label(f"other {i}") for i in range(1000))
    np.save(tmp_path / "wrong.npy", np.arange(10))
    for name in ("wrong.npy", "missing.npy"):
        with pytest.raises(GenmatError):
            KnownPhases.from_fingerprints(tmp_path / name)


def test_shipped_set_knows_textbook_crystals_and_not_nonsense():
    known = KnownPhases.shipped()
    assert len(known) > 100_000
    for structure in (ROCK_SALT, PEROVSKITE, rutile(0.305)):
        assert known.find(structure) == "label known"
    assert known.find(cubic("Pm-3m", 4.2, ["Xe", "Au", "Po"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]])) is None
    assert matching._SHIPPED.stat().st_size <= 2_000_000


def test_formula_and_space_group_are_enough_to_be_known():
    """Another structure of the same formula in the same space group is called known; in another group it is not."""
    known = KnownPhases.from_labels([pair_key("NaCl", 225)])
    assert known.find(ROCK_SALT) == "formula and space group known"
    assert known.find(PEROVSKITE) is None
    assert KnownPhases.from_labels([pair_key("NaCl", 221)]).find(ROCK_SALT) is None


def test_shipped_set_knows_every_hull_entry(shared):
    """A random sample of the formulas and space groups the fingerprints were made of."""
    import pandas as pd

    table = pd.read_csv(shared / "mp/hull_entries.csv.gz", usecols=["composition", "spg"]).sample(200, random_state=0)
    for text, number in zip(table["composition"], table["spg"], strict=True):
        formula = reduced_formula(parse_formula(text.replace(" ", "")))
        assert KnownPhases.shipped().has_label(pair_key(formula, number)), (text, number)


def test_shipped_set_knows_every_table_row(shared):
    """A random sample of the structures the fingerprints were made of."""
    import pyarrow.parquet as pq

    columns = ["lattice_parameters", "species", "frac_coords"]
    for name in ("structures_le20", "structures_21to52"):
        table = pq.read_table(shared / f"mp/{name}.parquet", columns=columns)
        for row in table.take(np.random.default_rng(0).integers(0, len(table), 40)).to_pylist():
            lattice = Lattice.from_parameters(*row["lattice_parameters"])
            structure = Structure(lattice, row["species"], row["frac_coords"])
            assert KnownPhases.shipped().find(structure) == "label known"
