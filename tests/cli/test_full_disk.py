"""A full disk, for real: a small tmpfs under the output folder, through the real command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure


@pytest.fixture
def small(tmp_path: Path):
    """Two megabytes of disk; needs the right to mount."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError:
        pytest.skip("no mount command here")
    if done.returncode:
        pytest.skip("mounting a tmpfs needs more rights than these tests have")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def structures(tmp_path: Path) -> Path:
    folder = tmp_path / "alloys"
    folder.mkdir()
    for number in range(8):
        alloy = Structure(
            Lattice.cubic(3.9), ["Cu", "Au", "Pt", "Pd"], [[0, 0, 0], [0.5] * 2 + [0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
        )
        alloy.perturb(0.15, seed=number)
        alloy.to(str(folder / f"alloy{number}.cif"))
    return folder


def screen(structures: Path, out: Path) -> subprocess.CompletedProcess[str]:
    options = ["--potential", "emt", "--reference", "none", "--workers", "1"]
    command = [sys.executable, "-m", "genmat", "screen", str(structures), "--out", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ)


def test_one_line_then_on_where_it_stopped(small: Path, structures: Path, tmp_path: Path) -> None:
    """Full while the campaign grows, then while the results are written, then with room: as if nothing had been."""
    undisturbed = tmp_path / "undisturbed"
    assert screen(structures, undisturbed).returncode == 0
    ballast, lines = small / "ballast", []
    for free_kilobytes in (100, 700):
        ballast.write_bytes(bytes(2048 * 1024 - free_kilobytes * 1024 - 8192 - size_of(small / "out")))
        run = screen(structures, small / "out")
        assert run.returncode == 1 and "Traceback" not in run.stderr
        lines += [line for line in run.stderr.splitlines() if line.startswith("error: ")]
        ballast.unlink()
    assert len(lines) == 2 and all("run the same command again: nothing recorded is lost" in line for line in lines)
    assert "campaign.db: database or disk is full" in lines[0]
    assert "out: cannot write the results (No space left on device); free some space" in lines[1]
    assert not (small / "out" / "results.csv").exists() and not (small / "out" / ".new").exists()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
    assert screen(structures, small / "out").returncode == 0
    assert (small / "out" / "results.csv").read_bytes() == (undisturbed / "results.csv").read_bytes()


def size_of(folder: Path) -> int:
    """Bytes on disk, in whole pages."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in folder.rglob("*") if file.is_file())
