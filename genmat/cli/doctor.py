"""`genmat doctor`: is this installation able to do what it says?"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt
from genmat.errors import GenmatError

OWN_WEIGHTS = ("chgnet", "emt", "lj")  # potentials that must work in every installation
PACKAGES = ("torch", "transformers", "datasets", "pymatgen", "moyopy", "chgnet", "smact", "ase", "numpy", "typer")


@dataclass(frozen=True)
class Check:
    """One finding: `state` is ok, note (works, but worth knowing) or fail; `detail` is what was seen or what to do."""

    name: str
    state: str
    detail: str


def doctor(
    potential: Annotated[
        list[str] | None, typer.Option(help="Check this one too, such as m3gnet:/path/to/weights; may be repeated.")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Check versions, golden energies of the potentials, shipped models and this folder. Exit 1 if any fails."""
    checks = examine(potential or ())
    failed = [check for check in checks if check.state == "fail"]
    if json:
        from genmat.cli.console import emit

        emit({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.state:4}  {check.name:{width}}  {check.detail}")
    if failed:
        raise typer.Exit(1)


def examine(potentials: Sequence[str] = ()) -> list[Check]:
    """Every check, in order; one that raises has failed and the others still run."""
    groups: list[tuple[str, Callable[[], list[Check]]]] = [
        ("python", _python),
        ("packages", _packages),
        ("threads", _threads),
        ("potentials", partial(_potentials, potentials)),
        ("reference", _reference),
        ("known phases", _known_phases),
        ("models", _models),
        ("folder", _folder),
    ]
    found: list[Check] = []
    for name, group in groups:
        try:
            found += group()
        except Exception as error:  # a diagnosis must not die of what it diagnoses
            reason = str(error) if isinstance(error, GenmatError) else f"{type(error).__name__}: {error}"
            found.append(Check(name, "fail", reason.splitlines()[0]))
    return found


def _python() -> list[Check]:
    state = "ok" if sys.version_info >= (3, 11) else "fail"
    return [Check("python", state, f"{platform.python_version()} on {platform.system()} {platform.machine()}")]


def _packages() -> list[Check]:
    from importlib.metadata import PackageNotFoundError, version

    tested = _constraints()
    checks = []
    for package in PACKAGES:
        try:
            found = version(package)
        except PackageNotFoundError:
            checks.append(Check(package, "fail", "not installed; pip install -c constraints.txt genmat"))
            continue
        wanted = tested.get(package)
        same = wanted is None or found.split("+")[0] == wanted
        checks.append(Check(package, "ok" if same else "note", found if same else f"{found}; tested with {wanted}"))
    return checks


def _constraints() -> dict[str, str]:
    """Package -> tested version, from the file beside the package in a wheel or above it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for path in (package / "constraints.txt", package.parent / "constraints.txt"):
        if path.is_file():
            pinned = (line.split("==") for line in path.read_text().splitlines() if "==" in line and line[0] != "#")
            return {name.strip().lower(): value.strip() for name, value in pinned}
    return {}


def _threads() -> list[Check]:
    import torch

    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    if threads > 1:
        return [
            Check("threads", "note", f"{threads} torch threads on {cores} cores; OMP_NUM_THREADS=1 is usually faster")
        ]
    return [Check("threads", "ok", f"one torch thread per worker, {cores} cores")]


def _potentials(named: Sequence[str] = ()) -> list[Check]:
    """Known potentials, and those named with their weights: only what was asked for, or what carries its own, fails."""
    from genmat.screening.potentials import known, why_not

    checks = []
    for name in [*sorted(known()), *named]:
        asked = name in named
        reason = None if asked else why_not(name)
        state, detail = ("note", reason) if reason else _potential(name)
        if state == "fail" and not asked and name not in OWN_WEIGHTS:
            state = "note"
        checks.append(Check(f"potential {name}", state, detail))
    return checks


def _potential(name: str) -> tuple[str, str]:
    """State and detail of one potential: golden energies, or the check of compounds for weights that have none."""
    from genmat.screening.potentials import check_golden, load
    from genmat.screening.potentials.physics import check_physics

    try:
        potential = load(name, check=False)
    except GenmatError as error:
        return "fail", str(error)
    golden = check_golden(potential)
    if golden:
        wrong = [c for c in golden if not c.passed]
        seen = ", ".join(f"{c.crystal} {c.energy:.4f} (expected {c.expected:.4f})" for c in wrong or golden)
        return "fail" if wrong else "ok", f"{potential.info.version}: {seen} eV/atom"
    faults = check_physics(potential)
    if faults:
        return "fail", f"{potential.info.version}: no golden energies, and {'; '.join(faults)}"
    return "ok", f"{potential.info.version}: no golden energies; formation energies of a few compounds are sane"


def _reference() -> list[Check]:
    from genmat.screening.reference import load_reference

    hull = load_reference(None)
    return [Check("reference hull", "ok", hull.note)]


def _known_phases() -> list[Check]:
    from genmat.crystal.matching import KnownPhases

    return [Check("known phases", "ok", f"{len(KnownPhases.shipped())} fingerprints")]


def _models() -> list[Check]:
    from genmat.generation.sampler import model_folders

    found = model_folders()
    if not found:
        return [Check("models", "fail", "none shipped; reinstall genmat")]
    sizes = {name: (folder / "model.safetensors").stat().st_size / 1e6 for name, folder in found.items()}
    return [Check(f"model {name}", "ok", f"{size:.1f} MB") for name, size in sizes.items()]


def _folder() -> list[Check]:
    here = Path.cwd()
    writable = os.access(here, os.W_OK)
    return [Check("folder", "ok" if writable else "note", f"{here} is {'' if writable else 'not '}writable")]
