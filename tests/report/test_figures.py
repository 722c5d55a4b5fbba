"""Numbers behind the report."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.report import figures


def test_ranking_puts_the_shortlist_first_and_failures_last(candidates):
    order = [c.id for c in figures.ranked(candidates)]
    assert order == ["c0", "c1", "c3", "c2", "c5", "c4", "c7", "c8"]


def test_rank_of_the_campaign_beats_the_energy(candidates):
    swapped = [c.add(rank={"c1": 1, "c0": 2}[c.id]) for c in candidates if c.id in ("c0", "c1")]
    assert [c.id for c in figures.ranked(swapped)] == ["c1", "c0"]


def test_headline_counts(candidates):
    assert figures.headline(candidates) == {
        "total": 8, "relaxed": 6, "with_hull": 6, "near_hull": 4, "novel": 4, "novelty_judged": True,
        "shortlist": 2, "ordered": 0, "disorder_told": False, "failed": 2,
    }  # fmt: skip


def test_rows_hold_no_infinite_number():
    odd = Candidate(id="x", origin="file:x", results={"e_above_hull": float("nan"), "density": float("inf")})
    row = dict(zip(figures.COLUMNS, figures.row(odd, False), strict=True))
    assert row["e_above_hull"] is None and row["density"] is None and row["formula"] == ""
    assert figures.ranked([odd]) == [odd]


def test_rows_tell_the_doubt(candidates):
    told = {"e_above_hull_low": -0.03, "e_above_hull_high": 0.11, "p_stable": 0.62, "second_potential": "m3gnet-x"}
    odd = candidates[0].add(**told, second_e_above_hull=0.2, second_rmsd=None, doubt="m3gnet-x disagrees")
    row = dict(zip(figures.COLUMNS, figures.row(odd, False), strict=True))
    assert (row["interval_low"], row["interval_high"], row["p_stable"]) == (-0.03, 0.11, 0.62)
    assert (row["second_potential"], row["second_e_above_hull"], row["second_rmsd"]) == ("m3gnet-x", 0.2, None)
    assert row["doubt"] == "m3gnet-x disagrees" and not figures.on_shortlist(odd)


def test_rows_tell_the_vibrations(candidates):
    told = {"dynamically_stable": False, "min_frequency_THz": -2.5, "min_frequency_commensurate_THz": -2.0}
    row = dict(zip(figures.COLUMNS, figures.row(candidates[0].add(**told), False), strict=True))
    assert row["dynamically_stable"] is False and row["free_energy_300K"] is None and row["phonon_reason"] is None
    assert (row["min_frequency"], row["min_frequency_exact"]) == (-2.5, -2.0)


def test_composition_is_atomic_fractions(candidates):
    sto = next(c for c in candidates if c.id == "c0")
    row = dict(zip(figures.COLUMNS, figures.row(sto, True), strict=True))
    assert row["elements"] == ["O", "Sr", "Ti"]
    assert row["composition"] == [0.6, 0.2, 0.2]
    assert row["chemsys"] == "O-Sr-Ti"


def test_packed_structure_can_be_rebuilt(candidates):
    for c in candidates:
        if c.structure is None:
            continue
        cell, symbols, flat, occupancies, _ = figures.pack_structure(c.structure)
        rebuilt = Structure(Lattice.from_parameters(*cell), symbols, np.reshape(flat, (-1, 3)))
        assert occupancies == 0
        assert rebuilt.composition == c.structure.composition
        difference = np.sort(rebuilt.distance_matrix.ravel()) - np.sort(c.structure.distance_matrix.ravel())
        assert np.abs(difference).max() < 1e-4


def test_conventional_view_spans_the_conventional_cell(candidates):
    salt = next(c for c in candidates if c.id == "c1").structure
    integers, shift = figures.conventional_view(salt)
    vectors = np.reshape(integers, (3, 3)) @ salt.lattice.matrix
    assert np.allclose(vectors @ vectors.T, 5.64**2 * np.eye(3), atol=1e-3)
    assert len(shift) == 3


def test_disordered_and_broken_structures():
    mixed = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    assert figures.pack_structure(mixed)[1:4] == [["Fe", "Ni"], [0.0] * 6, [0.5, 0.5]]
    broken = Structure(Lattice.cubic(4), ["Fe"], [[float("nan"), 0, 0]])
    assert figures.pack_structure(broken) is None


def test_spacegroup_symbols_are_short():
    assert figures.spacegroup_symbols([12, 14, 225, 0, 999]) == {12: "C2/m", 14: "P2_1/c", 225: "Fm-3m"}


@pytest.mark.parametrize("seed", range(3))
def test_tie_lines_triangulate_the_lower_hull(seed):
    """Every stable phase is in a tie line, and no phase lies below the plane of any triangle of tie lines."""
    rng = np.random.default_rng(seed)
    inner = rng.dirichlet([1, 1, 1], size=6)
    x = np.vstack([np.eye(3), inner])
    energy = -2.0 * (1 - (x**2).sum(axis=1))  # strictly convex: every phase is on the hull
    pairs = set(figures.tie_lines(x, energy))
    assert {i for pair in pairs for i in pair} == set(range(len(x)))
    triangles = [
        t for t in itertools.combinations(range(len(x)), 3) if set(itertools.combinations(t, 2)) <= pairs
    ]  # fmt: skip
    empty = []
    for t in triangles:
        weights = np.linalg.solve(x[list(t)].T, x.T).T
        inside = (weights > 1e-9).all(axis=1)
        inside[list(t)] = False
        if not inside.any():
            empty.append(t)
    assert len(empty) >= len(inner) + 1
    for t in empty:
        middle = x[list(t)].mean(axis=0)
        plane = energy[list(t)].mean()
        others = [
            np.dot(np.linalg.solve(x[list(s)].T, middle), energy[list(s)])
            for s in triangles if (np.linalg.solve(x[list(s)].T, middle) >= -1e-12).all()
        ]  # fmt: skip
        assert plane <= min(others) + 1e-9


def test_three_phases_make_one_triangle():
    assert figures.tie_lines(np.eye(3), np.zeros(3)) == [(0, 1), (0, 2), (1, 2)]


def test_pack_hulls_keeps_the_lowest_polymorph():
    entries = [
        {"formula": "TiO2", "x": [2 / 3, 1 / 3], "formation_energy": energy, "on_hull": energy == -3.4}
        for energy in (-3.3, -3.4, -3.2)
    ]
    packed = figures.pack_hulls({"O-Ti": {"elements": ["O", "Ti"], "entries": entries}})["O-Ti"]
    assert packed["formula"] == ["TiO2"] and packed["energy"] == [-3.4] and packed["on_hull"] == [True]


@pytest.mark.parametrize("symbol", ["H", "Mt", "Ds", "Og", "X"])
def test_every_element_has_a_style(symbol: str) -> None:
    """Jmol has colours up to meitnerium only; heavier elements once ended the report."""
    style = figures.element_styles([symbol])[symbol]
    assert len(style["color"]) == 7 and style["radius"] > 0
