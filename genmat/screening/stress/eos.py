"""Equation of state: energy against volume from strong compression to strong expansion, without holes.

Eleven volumes between 0.6 and 1.5 of the relaxed one, scaled isotropically at fixed fractional coordinates. A sane
potential has one minimum near V0, rises monotonically towards compression, and never falls again on expansion.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from genmat.candidate import Candidate
from genmat.screening.stress.figures import Figure

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

RATIOS = tuple(float(x) for x in np.linspace(0.6, 1.5, 11))
TOLERANCE = 0.002  # eV/atom: smaller wiggles are rounding and the switching of neighbours
NEAR = (0.85, 1.2)  # volumes the bulk modulus is fitted to
GPA = 160.21766  # per eV/Å³


def eos_stage(candidates: Iterable[Candidate], potential: Potential) -> Iterator[Candidate]:
    """Add ``eos_energies`` (eV/atom above the least, one per ratio of `RATIOS`), ``eos_reason``, ``eos_bulk`` (GPa)."""
    for candidate in candidates:
        energies = curve(candidate.structure, potential)
        reason = fault(energies)
        finite = np.isfinite(energies).all()
        yield candidate.add(
            eos_energies=[float(e - np.nanmin(energies)) if np.isfinite(e) else None for e in energies],
            eos_reason=reason,
            eos_bulk=bulk_modulus(candidate.structure, potential) if finite else None,
        )


def curve(structure: Structure, potential: Potential, ratios: Sequence[float] = RATIOS) -> np.ndarray:
    """Energy (eV/atom) at each ratio of the crystal's volume."""
    cells = []
    for ratio in ratios:
        cell = structure.copy()
        cell.scale_lattice(ratio * structure.volume)
        cells.append(cell)
    return potential.evaluate(cells, gradients=False).energies / len(structure)


def fault(energies: np.ndarray, ratios: Sequence[float] = RATIOS) -> str | None:
    """What is wrong with a curve, or None.

    >>> fault(np.array([2.0, 1.2, 0.7, 0.3, 0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5]))
    >>> fault(np.array([-9.0, 1.2, 0.7, 0.3, 0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5]))
    'hole under compression'
    """
    if not np.isfinite(energies).all():
        return "not finite"
    middle = int(np.argmin(np.where((np.array(ratios) > 0.85) & (np.array(ratios) < 1.2), energies, np.inf)))
    steps = np.diff(energies)
    if energies[:middle].min(initial=np.inf) < energies[middle] - TOLERANCE:
        return "hole under compression"
    if energies[middle:].min() < energies[middle] - TOLERANCE:
        return "hole under expansion"
    if (steps[:middle] > TOLERANCE).any():
        return "second minimum under compression"
    if (steps[middle:] < -TOLERANCE).any():
        return "second minimum under expansion"
    return None


def bulk_modulus(structure: Structure, potential: Potential) -> float | None:
    """Clamped bulk modulus, GPa: third-order Birch-Murnaghan through seven volumes within ±6 %; None without a fit."""
    from pymatgen.analysis.eos import EOS

    ratios = np.linspace(0.94, 1.06, 7)
    energies = curve(structure, potential, ratios)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = EOS("birch_murnaghan").fit(ratios * structure.volume, energies * len(structure))
        modulus = float(fit.b0_GPa)
    except Exception:  # a curve without a minimum defeats the fit in several ways; `fault` tells why
        return None
    return modulus if 0 < modulus < 2000 else None


def judge(candidates: Sequence[Candidate]) -> list[Figure]:
    """Shares of crystals whose curve has a fault, by kind of fault."""
    done = [c for c in candidates if c.alive and "eos_energies" in c.results]
    if not done:
        return []
    reasons = [c.results["eos_reason"] for c in done]

    def share(key: str, label: str, hits: Iterable[bool]) -> Figure:
        return Figure(key, label, 100 * sum(hits) / len(done), "%", len(done), None, "", "lower")

    return [
        share("eos_faults", "equations of state with any fault", (reason is not None for reason in reasons)),
        share(
            "eos_holes", "equations of state with a hole", ("hole" in (r or "") or r == "not finite" for r in reasons)
        ),
    ]
