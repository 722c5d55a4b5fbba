"""The hull against pymatgen's, its sources, its stage."""

from __future__ import annotations

import numpy as np
import pytest

from genmat.candidate import Candidate
from genmat.errors import GenmatError
from genmat.screening.hull import Phase, ReferenceHull, amounts, fractions, group_phases, hull_stage
from genmat.screening.potentials import golden_crystal


def random_hull(elements: str, seed: int, n: int = 40) -> ReferenceHull:
    """Random phases in random subsystems of ``elements``."""
    rng = np.random.default_rng(seed)
    symbols = elements.split("-")
    formulas, energies = [], []
    for _ in range(n):
        chosen = rng.choice(symbols, size=rng.integers(2, len(symbols) + 1), replace=False)
        formulas.append("".join(f"{s}{rng.integers(1, 5)}" for s in chosen))
        energies.append(rng.normal(-0.5, 0.6))
    zero = dict.fromkeys(symbols, 0.0)
    return ReferenceHull("test", zero, group_phases(formulas, energies), "test")


@pytest.mark.parametrize(("elements", "seed"), [("Ba-O", 0), ("Ba-O-Ti", 1), ("Ba-Fe-O-Ti", 2), ("Ba-Fe-La-O-S-Ti", 3)])
def test_equals_pymatgen(elements, seed):
    """Same energies above the hull as `PhaseDiagram`, same decomposition energy, up to six elements."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    hull = random_hull(elements, seed)
    entries = []
    for phase in hull.entries(elements.split("-")):
        composition = Composition(phase.formula)
        entries.append(PDEntry(composition, phase.energy * composition.num_atoms))
    diagram = PhaseDiagram(entries)
    rng = np.random.default_rng(seed)
    for _ in range(25):
        formula = "".join(f"{s}{rng.integers(1, 9)}" for s in elements.split("-"))
        above, text = hull.e_above_hull(formula, 0.1)
        assert above == pytest.approx(0.1 - diagram.get_hull_energy_per_atom(Composition(formula)), abs=1e-7)
        # the mixture in the text has the composition asked for
        mixed = {}
        for part in text.split(" + "):
            share, name = part.split()
            for symbol, number in amounts(name):
                mixed[symbol] = mixed.get(symbol, 0.0) + float(share) * number
        expected = fractions(formula)
        assert fractions(mixed) == pytest.approx(expected, abs=0.06)


def test_below_hull_is_negative_and_own_phase_is_zero():
    hull = ReferenceHull("t", {"Ba": -2.0, "O": -4.0}, group_phases(["BaO", "BaO2"], [-2.0, -1.5]), "t")
    assert hull.e_above_hull("BaO", -2.0) == (pytest.approx(0.0), "1.00 BaO")
    assert hull.e_above_hull("BaO", -2.2)[0] == pytest.approx(-0.2)
    assert hull.e_above_hull({"Ba": 2, "O": 3}, -1.0)[1] == "0.50 BaO + 0.50 BaO2"
    assert hull.e_above_hull("Ba", 0.3) == (pytest.approx(0.3), "1.00 Ba")
    assert hull.formation_energy("Ba1 O1", -5.0) == pytest.approx(-2.0)


def test_equal_formulas_keep_the_lowest():
    grouped = group_phases(["BaO", "BaO", "Ba"], [-1.0, -2.0, 0.0])
    assert grouped == {"Ba-O": [Phase("BaO", -2.0)], "Ba": [Phase("Ba", 0.0)]}
    hull = ReferenceHull("t", {"Ba": 0.0, "O": 0.0}, group_phases(["BaO", "Ba2O2"], [-1.0, -2.0]), "t")
    assert [p.energy for p in hull.entries(["Ba", "O"]) if len(p.fractions) == 2] == [-2.0]


def test_formulas():
    assert dict(amounts("Ca3(PO4)2")) == {"Ca": 3, "P": 2, "O": 8}
    assert dict(amounts("Ba0.5 O1.5")) == {"Ba": 0.5, "O": 1.5}
    with pytest.raises(GenmatError, match="not a chemical element"):
        amounts("Xx(O)2")


def test_sources_do_not_mix():
    hull = random_hull("Na-Cl", 0)
    assert hull.formation_energy("NaCl", -3.0, "test") == -3.0
    with pytest.raises(GenmatError, match="cannot be placed"):
        hull.formation_energy("NaCl", -3.0, "lj-3.29.0")
    done = Candidate("a", "test", structure=golden_crystal("NaCl")).add(energy_per_atom=-3.0, potential="lj-3.29.0")
    with pytest.raises(GenmatError, match="cannot be placed"):
        list(hull_stage([done], hull))


def test_stage():
    """Results, failures with reasons, failed candidates untouched."""
    hull = ReferenceHull("t", {"Na": -1.0, "Cl": -2.0}, group_phases(["NaCl"], [-2.0]), "p-1")
    relaxed = Candidate("a", "test", structure=golden_crystal("NaCl")).add(energy_per_atom=-3.4, potential="p-1")
    unknown = Candidate("b", "test", structure=golden_crystal("Si")).add(energy_per_atom=-5.0, potential="p-1")
    raw = Candidate("c", "test", structure=golden_crystal("Si"))
    dead = raw.replace(id="d").fail("relax", "reason")
    a, b, c, d = hull_stage([relaxed, unknown, raw, dead], hull)
    assert a.results["formation_energy_per_atom"] == pytest.approx(-1.9)
    assert a.results["e_above_hull"] == pytest.approx(0.1)
    assert (a.results["decomposition"], a.results["chemsys"], a.results["hull_source"]) == ("1.00 NaCl", "Cl-Na", "t")
    assert b.failure == "hull: no elemental reference for Si" and c.failure == "hull: no relaxed energy" and d is dead
