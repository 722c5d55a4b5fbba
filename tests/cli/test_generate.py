"""What `genmat generate --only-new` leaves out."""

from __future__ import annotations

import json
from pathlib import Path

from genmat.candidate import Candidate
from genmat.cli.generate import unknown
from genmat.cli.main import run
from genmat.crystal.prototype import Protostructure, Site


def salt(name: str, metal: str, anion: str) -> Candidate:
    return Candidate(name, "model", Protostructure(225, (Site(metal, "a"), Site(anion, "b")), (5.6,)))


def test_known_and_repeated_ones_are_left_out() -> None:
    made = [salt("a", "Na", "Cl"), salt("b", "Au", "Xe"), salt("c", "Au", "Xe"), Candidate("d", "model")]
    assert [c.id for c in unknown(made)] == ["b"]


def test_the_command_tells_how_many(tiny_model: Path, tmp_path: Path, capsys) -> None:
    command = ["generate", "--n", "5", "--formula", "NaCl", "--spacegroup", "225", "--max-atoms", "2", "--json"]
    assert run([*command, "--model", str(tiny_model), "--only-new", "--out", str(tmp_path / "x.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 0  # rock salt: everybody knows it
