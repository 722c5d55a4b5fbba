"""`genmat screen --phonons`: flags in results.csv, more of them on a rerun, everything else kept."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from genmat.campaign import Campaign
from genmat.cli.main import run

pytest.importorskip("phonopy")


def metals(folder: Path) -> Path:
    """Face-centred copper, silver and palladium as CIFs."""
    from pymatgen.core import Lattice, Structure

    folder.mkdir()
    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    for element, a in (("Cu", 3.6), ("Ag", 4.1), ("Pd", 3.9)):
        Structure(Lattice.cubic(a), [element] * 4, sites).to(str(folder / f"{element}.cif"))
    return folder


def read(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_vibrations_of_the_best(tmp_path: Path, capsys: pytest.CaptureFixture):
    source, out = metals(tmp_path / "in"), tmp_path / "out"
    command = ["screen", str(source), "--out", str(out), "--potential", "emt", "--reference", "none", "--workers", "1"]
    assert run([*command, "--phonons", "1"]) == 0
    rows = read(out)
    assert [row["dynamically_stable"] for row in rows] == ["True", "", ""]
    assert float(rows[0]["min_frequency_THz"]) > -0.3 and float(rows[0]["free_energy_300K_per_atom"]) < 0
    assert "atoms" in rows[0]["phonon_supercell"]
    with Campaign.read(out) as campaign:
        before = campaign.seconds()
    assert run([*command, "--phonons", "2"]) == 0
    assert [row["dynamically_stable"] for row in read(out)] == ["True", "True", ""]
    with Campaign.read(out) as campaign:
        after = campaign.seconds()
    assert after["relax"] == before["relax"] and "vibrations_of_2" in after
    assert run([*command]) == 0  # and back: what was asked for decides what is shown
    assert [row["dynamically_stable"] for row in read(out)] == ["", "", ""]
    capsys.readouterr()
