"""The network before relaxation: energies of the right size, those of a scan, no obstacle to what it cannot read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal.prototype import from_structure
from genmat.generation.sampler import find_model
from genmat.screening import prescreen
from genmat.screening.prescreen import above_own_hull, prescreen_stage

NETWORK = Path(find_model("cgat"))
PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


def perovskite(a: str, b: str, x: str, number: int = 0) -> Candidate:
    crystal = Structure(Lattice.cubic(4.0), [a, b, x, x, x], PEROVSKITE)
    return Candidate(f"c{number}", "test", from_structure(crystal), crystal)


@pytest.fixture(scope="module")
def judged():
    wanted = [("Ba", "Ti", "O"), ("K", "Mg", "F"), ("O", "Ba", "Ti"), ("Ti", "O", "Ba")]
    return list(prescreen_stage([perovskite(*symbols, number=i) for i, symbols in enumerate(wanted)], NETWORK))


def test_known_crystals_are_near_the_hull_and_nonsense_is_not(judged):
    above = [candidate.results["scan_e_above_hull"] for candidate in judged]
    assert max(above[:2]) < 0.1 and min(above[2:]) > 0.3
    assert all(0 < candidate.results["scan_sigma"] < 1 for candidate in judged)


def test_phases_of_other_elements_change_nothing(judged):
    """Each is placed on the hull of its own chemical system: alone or among others."""
    first = judged[0]
    above, sigma = above_own_hull([first.protostructure.label], [first.formula], NETWORK)
    assert above[0] == pytest.approx(first.results["scan_e_above_hull"], abs=2e-5)
    assert sigma[0] == pytest.approx(first.results["scan_sigma"], abs=2e-5)


def test_it_is_what_a_scan_says(judged, tmp_path):
    from genmat.screening.scan import ScanSettings, scan
    from genmat.screening.scan_output import candidates

    settings = ScanSettings(str(NETWORK), ("Ba", "O", "Ti"), below=np.inf, keys=("221:a_b_c",), least_elements=3)
    found = {c.protostructure.label: c.results for c in candidates(scan(settings, tmp_path), settings.space())}
    said = found[judged[0].protostructure.label]
    assert said["scan_e_above_hull"] == pytest.approx(judged[0].results["scan_e_above_hull"], abs=2e-4)


def test_what_cannot_be_read_passes_and_nothing_asks_nothing(monkeypatch):
    bare = Candidate("x", "test")
    monkeypatch.setattr(prescreen, "above_own_hull", lambda *_: pytest.fail("nothing to judge"))
    assert list(prescreen_stage([bare], NETWORK)) == [bare] and list(prescreen_stage([], NETWORK)) == []
