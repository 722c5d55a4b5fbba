"""Imaginary modes at Γ: does the potential think that crystals which exist are stable?

The Hessian of the primitive cell by central differences of the forces (0.015 Å), mass-weighted and diagonalised. The
crystals are on the DFT hull and in the ICSD, relaxed inside their space group; none should have an imaginary mode,
but for a few whose real structure is stabilised by temperature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from genmat.candidate import Candidate
from genmat.screening.stress.figures import Figure

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

STEP = 0.015  # Å
THZ = 15.633302  # sqrt(eV / (Å² u)) / 2π in THz
IMAGINARY = -0.5  # THz; above it lies the noise of single-precision forces
MAX_ATOMS = 8


def choose(table: pd.DataFrame, n: int, seed: int = 0) -> list[Candidate]:
    """`n` crystals of up to `MAX_ATOMS` atoms on the DFT hull and in the ICSD, from the test and validation splits."""
    from genmat.errors import GenmatError
    from genmat.screening.stress.table import known

    rows = table[(table.e_above_hull <= 1e-4) & table.in_icsd.fillna(False) & (table.n_primitive <= MAX_ATOMS)]
    rows = rows[rows.split.isin(["test", "val"])].sample(frac=1.0, random_state=seed)
    chosen: list[Candidate] = []
    for row in rows.itertuples():
        if len(chosen) == n:
            break
        try:
            phase = known(row)
        except GenmatError:
            continue
        chosen.append(Candidate(phase.id, "mp", structure=phase.structure, provenance={"formula": phase.formula}))
    return chosen


def hessian(structure: Structure, potential: Potential, step: float = STEP) -> np.ndarray:
    """Force constants of the cell itself (Γ), (3 n, 3 n) eV/Å², symmetrised, translations projected out."""
    n = len(structure)
    moved = []
    for index in range(n):
        for axis in range(3):
            for sign in (1.0, -1.0):
                crystal = structure.copy()
                shift = np.zeros(3)
                shift[axis] = sign * step
                crystal.translate_sites([index], shift, frac_coords=False, to_unit_cell=False)
                moved.append(crystal)
    forces = np.array(potential.evaluate(moved).forces).reshape(n * 3, 2, n * 3)
    found = -(forces[:, 0] - forces[:, 1]) / (2 * step)
    found = (found + found.T) / 2
    rigid = np.kron(np.ones((n, n)) / n, np.eye(3))
    keep = np.eye(3 * n) - rigid
    return keep @ found @ keep


def frequencies(constants: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Frequencies at Γ in THz, ascending, negative for imaginary ones, without the three translations.

    Args:
        constants: (3 n, 3 n) eV/Å².
        masses: (n,) u.
    """
    root = np.repeat(np.sqrt(masses), 3)
    rigid = np.tile(np.eye(3), (len(masses), 1)) * root[:, None]
    rigid, _ = np.linalg.qr(rigid)
    keep = np.eye(len(root)) - rigid @ rigid.T
    values, vectors = np.linalg.eigh(keep @ (constants / np.outer(root, root)) @ keep)
    optical = np.linalg.norm(rigid.T @ vectors, axis=0) < 0.5
    values = values[optical]
    return np.sign(values) * np.sqrt(np.abs(values)) * THZ


def gamma_stage(candidates: Iterable[Candidate], potential: Potential) -> Iterator[Candidate]:
    """Add ``gamma_lowest``, the lowest optical frequency at Γ in THz (negative: imaginary; None with a single atom)."""
    for candidate in candidates:
        crystal = candidate.structure
        assert crystal is not None  # relaxed
        masses = np.array([float(site.specie.atomic_mass) for site in crystal])
        found = frequencies(hessian(crystal, potential), masses) if len(crystal) > 1 else []
        yield candidate.add(gamma_lowest=float(found[0]) if len(found) else None)


def judge(candidates: Sequence[Candidate]) -> list[Figure]:
    """Share of existing crystals with an imaginary mode."""
    lowest = [c.results["gamma_lowest"] for c in candidates if c.alive and c.results.get("gamma_lowest") is not None]
    if not lowest:
        return []
    share = 100 * float(np.mean(np.array(lowest) < IMAGINARY))
    return [
        Figure(
            "gamma_imaginary", "known crystals with an imaginary mode at Γ", share, "%", len(lowest), None, "", "lower"
        )
    ]
