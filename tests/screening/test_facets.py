"""Facets: exact against HiGHS and pymatgen, degenerate hulls included; remembered in memory and on disk."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from genmat.errors import GenmatError
from genmat.screening import facet_files, facets, simplex
from genmat.screening.facets import Facets
from genmat.screening.hull import ReferenceHull, group_phases
from genmat.screening.phases import PhaseTable, Rows, read_mappings, system_of

SYMBOLS = ["Li", "O", "P", "Fe", "Co", "S"]
COARSE = st.integers(-8, 2).map(lambda n: n / 4)  # many phases in one plane, many equal energies
FINE = st.floats(-3, 0.5)
AMOUNTS = st.lists(st.integers(0, 3), min_size=6, max_size=6)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("GENMAT_CACHE", str(tmp_path / "cache"))


def hulls(energies, most: int = 30):
    """Strategy: (number of elements, phases as amounts and energy)."""
    phases = st.lists(st.tuples(AMOUNTS, energies), max_size=most)
    return st.tuples(st.integers(1, 6), phases)


def table_of(d: int, phases) -> PhaseTable:
    """Phase table of the first ``d`` symbols; phases that vanish there are left out."""
    kept = [(amounts[:d], energy) for amounts, energy in phases if any(amounts[:d])]
    formulas = ["".join(f"{s}{n}" for s, n in zip(SYMBOLS, amounts, strict=False) if n) for amounts, _ in kept]
    return PhaseTable(formulas, [energy for _, energy in kept])


def exact(known: Facets, composition: dict[str, float]) -> float:
    """Energy of the hull by HiGHS, eV/atom."""
    rows, _ = read_mappings([composition])
    columns = known.columns(system_of([s for s, n in composition.items() if n]))
    target = rows.shares[0][rows.shares[0] > 0]
    found = linprog(columns.energies, A_eq=columns.matrix, b_eq=target, bounds=(0, None), method="highs")
    assert found.status == 0
    return found.fun


def assert_mixtures(known: Facets, compositions: list[dict[str, float]]) -> None:
    """Energies are HiGHS's, and the mixtures have the compositions and energies they are said to have."""
    rows, failures = read_mappings(compositions)
    assert not failures
    found = known.mixtures(rows)
    alone = known.mixtures(rows, fresh=True)
    np.testing.assert_allclose(alone.energies, found.energies, atol=1e-11)
    for i, composition in enumerate(compositions):
        assert found.energies[i] == pytest.approx(exact(known, composition), abs=1e-6)
        mixed: dict[int, float] = {}
        energy = 0.0
        assert found.weights[i].min() >= -simplex.FEASIBLE
        for phase, weight in zip(found.phases[i].tolist(), found.weights[i].tolist(), strict=True):
            if phase < 0:
                continue
            energy += weight * known.table.energies[phase]
            for number, share in zip(known.table.numbers[phase], known.table.shares[phase], strict=True):
                mixed[int(number)] = mixed.get(int(number), 0.0) + weight * share
        assert energy == pytest.approx(found.energies[i], abs=1e-8)
        for number, share in zip(rows.numbers[i], rows.shares[i], strict=True):
            assert not number or mixed[int(number)] == pytest.approx(share, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(hulls(st.one_of(COARSE, FINE)), st.lists(AMOUNTS, min_size=1, max_size=8))
def test_any_hull_any_composition(hull, amounts):
    """Collinear and coplanar phases, duplicates, elements, faces of the simplex: HiGHS's energy and true mixtures."""
    d, phases = hull
    known = Facets(table_of(d, phases))
    queries = [dict(zip(SYMBOLS[:d], a, strict=False)) for a in amounts if any(a[:d])]
    if not queries:
        return
    assert_mixtures(known, queries)
    solved = known.solved
    known.mixtures(read_mappings(queries)[0])  # the same again comes from facets
    assert known.solved == solved
    own = [dict(zip(SYMBOLS[:d], a, strict=False)) for a, _ in phases if any(a[:d])]
    if own:
        assert_mixtures(known, own)  # on the hull or above it, at the phases themselves


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_energy_and_products_are_pymatgens(d, seed):
    """Random energies: no ties, so the products have to be the same phases with the same shares."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    rng = np.random.default_rng(seed)
    formulas = []
    while len(formulas) < 20:
        amounts = rng.integers(0, 5, d)
        if amounts.any():
            formulas.append("".join(f"{s}{n}" for s, n in zip(SYMBOLS, amounts, strict=False) if n))
    energies = rng.normal(-0.5, 0.6, len(formulas))
    hull = ReferenceHull("t", dict.fromkeys(SYMBOLS, 0.0), group_phases(formulas, energies), "t")
    entries = [
        PDEntry(Composition(p.formula), p.energy * Composition(p.formula).num_atoms) for p in hull.entries(SYMBOLS[:d])
    ]
    diagram = PhaseDiagram(entries)
    queries = ["".join(f"{s}{rng.integers(1, 9)}" for s in SYMBOLS[:d]) for _ in range(6)]
    above, products = hull.e_above_hull_many(queries, np.full(6, 0.1))
    for i, formula in enumerate(queries):
        mixture, energy = diagram.get_decomp_and_hull_energy_per_atom(Composition(formula))
        assert above[i] == pytest.approx(0.1 - energy, abs=1e-9)
        ours = {Composition(phase.formula).reduced_formula: share for phase, share in products.parts(i)}
        theirs = {entry.composition.reduced_formula: share for entry, share in mixture.items() if share > 1e-8}
        assert ours == pytest.approx(theirs, abs=1e-7)
        assert hull.e_above_hull(formula, 0.1) == (pytest.approx(above[i], abs=1e-12), products[i])


@pytest.fixture
def six() -> tuple[PhaseTable, list[dict[str, float]]]:
    """200 random phases of six elements, 300 compositions of two to six."""
    rng = np.random.default_rng(0)
    phases = [(rng.integers(0, 4, 6).tolist(), float(rng.normal(-0.8, 0.5))) for _ in range(200)]
    queries = []
    for _ in range(300):
        symbols = rng.choice(SYMBOLS, rng.integers(2, 7), replace=False)
        queries.append({s: float(rng.integers(1, 9)) for s in symbols})
    return table_of(6, phases), queries


def test_without_pivots_highs_answers(six, monkeypatch):
    """The fallback gives the same energies and valid facets."""
    table, queries = six
    rows, _ = read_mappings(queries[:40])
    expected = Facets(table).mixtures(rows)
    monkeypatch.setattr(simplex, "MAX_PIVOTS", 0)
    known = Facets(table)
    found = known.mixtures(rows)
    np.testing.assert_allclose(found.energies, expected.energies, atol=1e-9)
    assert known.mixtures(rows).energies == pytest.approx(expected.energies, abs=1e-9) and known.solved == 40


def test_small_memory_changes_nothing(six, monkeypatch):
    """Portions of systems, queries and facets, and forgotten planes, give what one piece gives."""
    table, queries = six
    rows, _ = read_mappings(queries)
    expected = Facets(table).mixtures(rows)
    for name, value in (("MOST_NUMBERS", 500), ("MOST_QUERIES", 16), ("MOST_READY", 10)):
        monkeypatch.setattr(facets, name, value)
    known = Facets(table)
    for _ in range(2):
        np.testing.assert_allclose(known.mixtures(rows).energies, expected.energies, atol=1e-9)
    assert known.solved < len(queries)  # later portions profit from the facets of earlier ones


def test_kept_on_disk(six, tmp_path, monkeypatch):
    """Another process answers from the file; other contents have other files; damage is repaired."""
    table, queries = six
    monkeypatch.setattr(facets, "WORTH", 1)
    rows, _ = read_mappings(queries)
    expected = Facets(table, folder=tmp_path).mixtures(rows)
    (file,) = tmp_path.iterdir()

    def solved() -> int:
        known = Facets(table, folder=tmp_path)
        np.testing.assert_allclose(known.mixtures(rows).energies, expected.energies, atol=1e-9)
        return known.solved

    assert solved() == 0
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no archive", whole[:400] + bytes(40) + whole[440:]):
        file.write_bytes(damaged)
        assert solved() == len(queries) and solved() == 0
    for wrong in ([[3, 8, 0, 10**6]], [[3, 8, 0, -1]], [[0, 8, 0, 1]], [[3, 8, 1]]):  # not facets of this table
        np.savez(file, **{"2": np.array(wrong, np.int32)})
        assert solved() == len(queries) and solved() == 0
    with file.open("wb") as out:
        np.savez(out, **{"2": np.array([{"a": 1}], object)})  # pickled: never loaded
    assert solved() == len(queries)
    other = PhaseTable(table.formulas[103:], table.energies[103:] - 0.001)
    assert facet_files.facet_file(other, tmp_path) != file == facet_files.facet_file(table, tmp_path)


def test_two_writers_and_a_folder_that_cannot_be_written(six, tmp_path, monkeypatch):
    table, queries = six
    monkeypatch.setattr(facets, "WORTH", 1)
    first, second = Facets(table, folder=tmp_path), Facets(table, folder=tmp_path)
    first.mixtures(read_mappings(queries[:150])[0])
    second.mixtures(read_mappings(queries[150:])[0])
    third = Facets(table, folder=tmp_path)
    third.mixtures(read_mappings(queries)[0])
    assert third.solved == 0 and [p.suffix for p in tmp_path.iterdir()] == [".npz"]
    (tmp_path / "file").write_text("")
    Facets(table, folder=tmp_path / "file" / "below").mixtures(read_mappings(queries)[0])


def test_few_facets_are_not_written(six, tmp_path):
    table, queries = six
    Facets(table, folder=tmp_path).mixtures(read_mappings(queries[:20])[0])
    assert list(tmp_path.iterdir()) == []


def test_batch_of_all_kinds():
    """A matrix, formulas and mappings give the same; what has no answer is NaN with a reason."""
    phases = group_phases(["BaO", "TiO2", "BaTiO3"], [-2.0, -3.0, -3.2])
    hull = ReferenceHull("t", {"Ba": 0.0, "O": 0.0, "Ti": 0.0}, phases, "t")
    above, products = hull.e_above_hull_many(["Ba2TiO4", "NaCl", "?", "Ba", "TiO2"], [-1.0, 0.0, 0.0, 0.1, -3.5])
    assert np.isnan(above).tolist() == [False, True, True, False, False]
    assert above[[3, 4]] == pytest.approx([0.1, -0.5])
    assert (
        list(products) == ["0.50 BaO + 0.50 BaTiO3", "", "", "1.00 Ba", "1.00 TiO2"] and products[3:] == products[-2:]
    )
    assert products.failures[1] == "Na, Cl: no elemental reference in t; leave the element out"
    assert sorted(products.failures) == [1, 2]
    matrix = np.array([[2, 1, 4], [0, 0, 0], [np.nan, 1, 1], [1, 0, 0], [0, 1, 2]])
    again, same = hull.e_above_hull_many(matrix, [-1.0, 0.0, 0.0, 0.1, -3.5], ["Ba", "Ti", "O"])
    np.testing.assert_allclose(again, above, atol=1e-12)
    assert list(same) == list(products) and sorted(same.failures) == [1, 2]
    mapped, _ = hull.e_above_hull_many([{"Ba": 2, "Ti": 1, "O": 4}], [-1.0])
    assert mapped == pytest.approx(above[:1], abs=1e-12)
    empty, none = hull.e_above_hull_many([], [])
    assert empty.shape == (0,) and list(none) == []
    with pytest.raises(GenmatError, match="one energy for each"):
        hull.e_above_hull_many(["BaO"], [0.0, 1.0])
    with pytest.raises(GenmatError, match="neither formulas nor mappings"):
        hull.e_above_hull_many(["BaO", {"Ba": 1}], [0.0, 1.0])


def test_one_question_does_not_depend_on_those_before():
    """Coplanar phases: which of the equal mixtures is named must not change when a campaign is resumed."""
    formulas = [f"Li{a}O{b}P{c}" for a in range(1, 4) for b in range(1, 4) for c in range(1, 4)]
    queries = ["Li5O4P3", "LiOP", "Li7O8P9", "Li2O3P4"]

    def hull() -> ReferenceHull:
        return ReferenceHull("t", dict.fromkeys(SYMBOLS, 0.0), group_phases(formulas, [-1.0] * 27), "t")

    alone = [hull().e_above_hull(query, 0.0) for query in queries]
    used = hull()
    used.e_above_hull_many(formulas + queries[::-1], np.zeros(31))
    assert [used.e_above_hull(query, 0.0) for query in reversed(queries)] == alone[::-1]
    assert [above for above, _ in alone] == pytest.approx([1.0] * 4, abs=1e-12)


def test_remote_phases_are_asked_for_once():
    """One question per chemical system, subsystems included; nothing written."""
    asked = []
    phases = group_phases(["BaO", "TiO2", "BaTiO3"], [-2.0, -3.0, -3.2])

    def fetch(system: str):
        asked.append(system)
        return phases.get(system, [])

    hull = ReferenceHull("t", {"Ba": 0.0, "O": 0.0, "Ti": 0.0}, {}, "t", fetch=fetch)
    assert hull.e_above_hull("BaO", 0.0) == (pytest.approx(2.0), "1.00 BaO")
    above, _ = hull.e_above_hull_many(["BaTiO3", "Ba2TiO4", "TiO"], [0.0, 0.0, 0.0])
    assert above[0] == pytest.approx(3.2) and above[2] == pytest.approx(2.25)
    assert sorted(asked) == ["Ba", "Ba-O", "Ba-O-Ti", "Ba-Ti", "O", "O-Ti", "Ti"]
    assert {p.formula for p in hull.entries(["Ba", "O", "Ti"])} == {"Ba", "O", "Ti", "BaO", "TiO2", "BaTiO3"}


def test_complete_hull_of_the_materials_project(shared):
    """132,752 entries: batches of two to six elements against HiGHS."""
    from genmat.screening.reference import load_reference

    hull = load_reference(shared / "mp" / "hull_entries.csv.gz")
    rng = np.random.default_rng(0)
    names = [name.split("-") for name in hull.phases]
    names = [name for name in names if 2 <= len(name) <= 6]
    chosen = [names[i] for i in rng.choice(len(names), 60, replace=False)]
    queries = [{s: float(n) for s, n in zip(name, rng.dirichlet(np.ones(len(name))), strict=True)} for name in chosen]
    above, _ = hull.e_above_hull_many(queries, np.zeros(60))
    expected = [-exact(hull.facets, query) for query in queries]
    np.testing.assert_allclose(above, expected, atol=1e-6)


def pairs() -> list[Rows]:
    """Compositions of 105 chemical systems, one after the other."""
    symbols = ["Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Sc", "Y", "Ti", "Zr", "O", "S"]
    return [read_mappings([{a: 1.0, b: 1.0}])[0] for a, b in combinations(symbols, 2)]


def test_memory_and_file_are_bounded_and_answers_the_same(monkeypatch) -> None:
    monkeypatch.setattr(facets, "WORTH", 4)
    table = PhaseTable(["LiO", "NaO", "MgS"], [-1.0, -1.5, -0.5])
    answers = [Facets(table).mixtures(pair).energies for pair in pairs()]
    monkeypatch.setattr(facets, "MOST_SYSTEMS", 30)
    known = Facets(table)
    for _ in range(2):
        for pair, answer in zip(pairs(), answers, strict=True):
            np.testing.assert_array_equal(known.mixtures(pair).energies, answer)
            assert len(known._known) <= 30
    kept = facet_files.load_facets(facet_files.facet_file(table), len(table.formulas))
    assert 4 <= len(kept) <= 30  # full: it is what the first found


def test_the_file_is_not_written_for_every_few_new_facets(monkeypatch) -> None:
    """A whole file is written each time: the more is known, the more must be new."""
    writes: list[int] = []
    monkeypatch.setattr(facets, "WORTH", 4)
    monkeypatch.setattr(facets, "save_facets", lambda path, known, *_: writes.append(len(known)) or True)
    known = Facets(PhaseTable(["LiO"], [-1.0]))
    for pair in pairs():
        known.mixtures(pair)
    assert len(writes) > 2 and writes[-1] > 60
    assert all(later >= earlier + max(4, earlier // 5) for earlier, later in pairwise(writes))
    assert len(writes) < 20  # of 105 systems, four at a time would be 26
