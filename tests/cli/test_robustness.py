"""The robustness benchmark in small: kills, a lost worker and a full disk change no byte of the results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty distorted alloys as JSON lines."""
    path = tmp_path_factory.mktemp("alloys") / "alloys.jsonl"
    rng, lines = np.random.default_rng(0), []
    for number in range(30):
        species = list(rng.choice(["Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"], 4))
        cell = Lattice(3.9 * np.eye(3) + rng.normal(scale=0.15, size=(3, 3)))
        alloy = Structure(cell, species, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
        alloy.perturb(0.1, seed=number)
        lines.append(json.dumps({"id": f"alloy{number:02d}", "structure": alloy.as_dict()}))
    path.write_text("\n".join(lines))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("ray", [False, True], ids=["processes", "ray"])
def test_nothing_lost_nothing_doubled(ray: bool, crystals: Path, tmp_path: Path) -> None:
    if ray:
        pytest.importorskip("ray", reason="ray is not installed: pip install 'genmat[ray]'")
    more = ["--ray"] if ray else []
    command = [sys.executable, str(ROOT / "benchmarks" / "robustness.py"), "--input", str(crystals), *more]
    command += ["--potential", "slow_emt:SlowEMT", "--reference", "none", "--folder", str(tmp_path / "work")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    figures = tmp_path / "figures.json"
    run = subprocess.run([*command, "--json", str(figures)], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    made = json.loads(figures.read_text())
    assert made["passed"] and made["candidates"] == 30 and made["structures"] == 30
    assert made["lost"] == made["doubled"] == made["records_lost_or_changed"] == made["processes_left_behind"] == 0
    assert made["events"].count("kill all") >= 2 and ("kill node" in made["events"]) == ray
    assert made["full_disk_one_clear_line"] == made["events"].count("full disk")
