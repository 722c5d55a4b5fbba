"""Campaigns the web page asks for: each is the command a user would type, in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genmat.errors import GenmatError

FILES = ("report.html", "results.csv", "structures.zip")
"""What can be fetched of a campaign."""


def discover_arguments(
    wanted: str, n: int, relax: int, seed: int, potential: str, max_steps: int, most: int
) -> list[str]:
    """Arguments of `genmat discover` for what was typed into the page.

    Args:
        wanted: elements ("Li-P-S", "Li P S"), a formula ("BaTiO3"), or nothing.
        n, relax: candidates to generate and to relax.
        seed: same seed, same result.
        potential: known name.
        max_steps: of a relaxation.
        most: largest `n` allowed.

    Raises:
        GenmatError: no such element or formula, or a number out of range.
    """
    from genmat.cli.settings import Prompt, check_prompt

    if not 1 <= n <= most:
        raise GenmatError(f"candidates {n}: out of range; ask for 1 to {most}")
    if not 1 <= relax <= n:
        raise GenmatError(f"relax {relax}: out of range; relax 1 to {n}, as many as are generated")
    words = wanted.replace(",", " ").replace("-", " ").split()
    system = "-".join(words) if len(words) > 1 else None
    formula = words[0] if len(words) == 1 else None
    asked = check_prompt(Prompt(n, elements=system, formula=formula, seed=seed))
    chemistry = ["--elements", asked.elements] if asked.elements else ["--formula", asked.formula] if formula else []
    how = screening_arguments(seed, potential, max_steps)
    return ["discover", "-n", str(n), "--relax", str(relax), *chemistry, *how]


def screening_arguments(seed: int, potential: str, max_steps: int) -> list[str]:
    """Arguments that `genmat discover` and `genmat screen` share. Only CHGNet comes with a hull of its own energies."""
    hull = [] if potential == "chgnet" else ["--reference", "none"]
    return ["--potential", potential, *hull, "--max-steps", str(max_steps), "--seed", str(seed)]


def screen_arguments(files: Sequence[str], folder: Path, seed: int, potential: str, max_steps: int) -> list[str]:
    """Arguments of `genmat screen` for uploaded files, which are copied into the campaign's `folder`."""
    given = folder / "given"
    given.mkdir(parents=True)
    for number, file in enumerate(files):
        name = Path(file).name
        shutil.copyfile(file, given / (f"{number:03d}-{name}" if (given / name).exists() else name))
    return ["screen", str(given), *screening_arguments(seed, potential, max_steps)]


@dataclass
class Campaigns:
    """The campaigns of all visitors under one folder, and which visitor is running what.

    Attributes:
        root: holds one folder per campaign, named by a key nobody can guess.
    """

    root: Path
    _running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _stopped: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new(self) -> Path:
        """An empty folder for one campaign.

        Raises:
            GenmatError: it cannot be made.
        """
        folder = self.root / secrets.token_hex(8)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise GenmatError(f"{self.root}: cannot write there ({error.strerror}); choose another --out") from None
        return folder

    def file(self, key: str, name: str) -> Path | None:
        """A file of a campaign that may be fetched, or None."""
        path = self.root / key / name
        return path if name in FILES and key.isalnum() and path.is_file() else None

    def begin(self, visitor: str) -> None:
        """The visitor starts anew: an earlier wish to stop is forgotten."""
        with self._lock:
            self._stopped.discard(visitor)

    def run(self, visitor: str, folder: Path, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Run a command to its end, and tell how far it is.

        Yields:
            ``{"stage", "done", "total"}`` as it goes; last ``{"summary": ...}`` with what ``--json`` prints,
            ``{"error": line}`` or ``{"stopped": True}``.
        """
        with self._lock:
            if visitor in self._stopped:
                yield {"stopped": True}
                return
            process = self._running[visitor] = _start([*arguments, "--out", str(folder), "--json"])
        last, end = "", {}
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said = _parsed(line)
                if "stage" in said:
                    yield said
                elif "counts" in said:
                    end = {"summary": said}
                elif line.strip():
                    last = line.strip()
            process.wait()
            if not end:
                end = {"stopped": True} if visitor in self._stopped else {"error": last.removeprefix("error: ")}
            if "summary" in end:
                shutil.make_archive(str(folder / "structures"), "zip", folder / "structures")
            yield end
        finally:  # also when the visitor is gone
            _end(process)
            with self._lock:
                if self._running.get(visitor) is process:
                    del self._running[visitor]

    def stop(self, visitor: str) -> None:
        """End what the visitor is running or waiting for."""
        with self._lock:
            self._stopped.add(visitor)
            process = self._running.get(visitor)
        if process is not None:
            _end(process)


def command(arguments: Sequence[str]) -> str:
    """The command line that does the same."""
    return shlex.join(["genmat", *arguments])


def _start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environment = {**os.environ, "GENMAT_PROGRESS": "lines", "PYTHONPATH": path, "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "genmat", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=environment, start_new_session=True,
    )  # fmt: skip


def _end(process: subprocess.Popen[str]) -> None:
    """End a campaign's process; its workers end with it, since their pipe closes."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _parsed(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
