"""`genmat screen` killed with SIGKILL three times and started again ends as an undisturbed run does, byte for byte."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from genmat.campaign import Campaign


def command(structures: Path, out: Path, *more: str) -> list[str]:
    options = ["--potential", "slow_emt:SlowEMT", "--reference", "none", "--workers", "2", "--fmax", "0.01"]
    return [sys.executable, "-m", "genmat", "screen", str(structures), "--out", str(out), *options, *more]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


def relaxed(out: Path) -> int:
    """How many relaxations the campaign has recorded."""
    with Campaign.read(out) as campaign:
        return {row["stage"]: row["entered"] for row in campaign.tally()}.get("relax", 0)


@pytest.fixture(scope="module")
def structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Distorted alloys, one of them twice, and one impossible crystal."""
    folder = tmp_path_factory.mktemp("alloys")
    rng = np.random.default_rng(0)
    metals = ["Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"]
    for number in range(12):
        species = list(rng.choice(metals, 4))
        cell = Lattice(3.9 * np.eye(3) + rng.normal(scale=0.15, size=(3, 3)))
        alloy = Structure(cell, species, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
        alloy.perturb(0.1, seed=number) if number else None
        alloy.to(str(folder / f"alloy{number:02d}.cif"))
    (folder / "twin.cif").write_text((folder / "alloy03.cif").read_text())
    (folder / "wrong.cif").write_text("data_wrong\nnothing of a crystal\n")
    return folder


@pytest.fixture(scope="module")
def undisturbed(structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(structures, out), env=environment(), check=True, capture_output=True)
    return out


def test_every_structure_ends_as_a_result_or_a_failure(undisturbed: Path) -> None:
    rows = {row["id"]: row for row in csv.DictReader((undisturbed / "results.csv").open())}
    assert len(rows) == 14
    for row in rows.values():
        assert bool(row["failure"]) == (row["id"] == "wrong") != bool(row["energy_per_atom"]), row
    assert rows["wrong"]["failure"].startswith("read: ")
    assert rows["twin"]["duplicate_of"] == "alloy03" and rows["twin"]["unique"] == "False"
    assert rows["alloy01"]["novel"] == "True" and rows["alloy01"]["converged"] == "True"
    assert len(list((undisturbed / "structures").glob("*.cif"))) == 13
    assert "<html" in (undisturbed / "report.html").read_text()


def test_killed_three_times(structures: Path, undisturbed: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "campaign.db-wal"
    seen = []
    for records in (3, 5, 4):  # killed this many records after the relaxations (re)started
        run = subprocess.Popen(
            command(structures, out), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_records(run, out, records)
        run.send_signal(signal.SIGKILL)
        run.wait()
        seen.append(relaxed(out))
    assert seen == sorted(seen), f"{seen}: recorded relaxations were lost"
    assert any(0 < count < 13 for count in seen), f"{seen}: every kill missed the relaxations"
    assert not log.exists()
    subprocess.run(command(structures, out), env=environment(), check=True, capture_output=True)
    assert (out / "results.csv").read_bytes() == (undisturbed / "results.csv").read_bytes()
    for file in (undisturbed / "structures").iterdir():
        assert (out / "structures" / file.name).read_bytes() == file.read_bytes()


def wait_for_records(run: subprocess.Popen, out: Path, records: int) -> None:
    """Until the log of the database has grown `records` times at a relaxation's pace."""
    log, size, grown, last = out / "campaign.db-wal", 0, 0, time.monotonic()
    while run.poll() is None and grown < records:
        now = log.stat().st_size if log.exists() else 0
        if now != size:
            grown = grown + 1 if time.monotonic() - last > 0.03 and size else grown
            size, last = now, time.monotonic()
        time.sleep(0.003)


def test_other_settings_need_another_folder(structures: Path, undisturbed: Path) -> None:
    run = subprocess.run(
        [*command(structures, undisturbed), "--max-steps", "7"], env=environment(), capture_output=True, text=True
    )
    assert run.returncode == 1 and "max_steps was 200, now 7" in run.stderr and "--fresh" in run.stderr


def test_report_of_a_campaign(undisturbed: Path) -> None:
    before = (undisturbed / "results.csv").read_bytes()
    (undisturbed / "results.csv").unlink()
    command = [sys.executable, "-m", "genmat", "report", str(undisturbed), "--json"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert '"relaxed": 13' in run.stdout and (undisturbed / "results.csv").read_bytes() == before
