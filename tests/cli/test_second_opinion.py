"""Two potentials judge one campaign: `genmat.screen(second=…)`, interrupted in the middle and continued."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import genmat
from genmat.candidate import Candidate
from genmat.screening.potentials import golden_crystal


class Interrupted(BaseException):
    """As Ctrl-C, but of our own."""


@pytest.fixture(scope="module")
def crystals() -> list[Candidate]:
    """Rock salt, and a perovskite that is new."""
    from pymatgen.core import Lattice, Structure

    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    new = Structure.from_spacegroup(221, Lattice.cubic(4.1), ["Rb", "Ge", "O"], sites)
    salt = golden_crystal("NaCl").get_primitive_structure()
    return [Candidate("salt", "test", structure=salt), Candidate("new", "test", structure=new)]


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "results.csv").open()))


def test_second_opinion_resumes(crystals, tmp_path):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "second" and done == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        genmat.screen(crystals, out=tmp_path / "a", second="chgnet:0.2.0", workers=1, progress=interrupt)
    stages: list[tuple[str, int]] = []
    genmat.screen(
        crystals, out=tmp_path / "a", second="chgnet:0.2.0", workers=1, progress=lambda s, d, n: stages.append((s, d))
    )
    assert not any(stage == "relax" for stage, _ in stages) and ("second", 1) in stages  # carried on from there
    genmat.screen(crystals[::-1], out=tmp_path / "b", second="chgnet:0.2.0", workers=2)
    once, again = rows(tmp_path / "a"), rows(tmp_path / "b")
    assert once == again  # neither the interruption nor the workers nor the order left a trace
    for row in once:
        assert row["second_potential"] == "chgnet-0.2.0" and row["second_converged"] == "True"
        assert float(row["e_above_hull_low"]) < float(row["e_above_hull_high"]) and 0 < float(row["p_stable"]) < 1
    assert "chgnet-0.2.0" in (tmp_path / "a" / "report.html").read_text()


def test_the_same_potential_is_refused_before_any_work(crystals, tmp_path):
    with pytest.raises(genmat.GenmatError, match="no second one"):
        genmat.screen(crystals[:1], out=tmp_path, second="chgnet", workers=1)
    with pytest.raises(genmat.GenmatError, match="did you mean"):
        genmat.screen(crystals[:1], out=tmp_path, second="m3gnett", workers=1)
