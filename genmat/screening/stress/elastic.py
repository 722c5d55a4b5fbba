"""Elastic moduli with relaxed ions against DFT (binaries of matcalc's MP elasticity set).

Six strains of ±1 % give the clamped-ion tensor from stresses and, from forces, the internal strain; the response of
the ions follows from the Hessian at Γ without relaxing anything (Wu, Vanderbilt & Hamann, Phys. Rev. B 72, 035105,
2005, eq. 19): C = C_clamped - Λᵀ Φ⁺ Λ / V. Voigt-Reuss-Hill averages by pymatgen.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.errors import GenmatError
from genmat.screening.stress.eos import GPA
from genmat.screening.stress.figures import Figure
from genmat.screening.stress.gamma import hessian

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

STRAIN = 0.01
MAX_ATOMS = 6
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
SOFT = 0.05  # eV/Å²: softer (or unstable) modes are not allowed to respond; harmonic theory does not hold for them
TRUSTED = (5.0, 500.0)  # GPa: DFT moduli outside are mostly failed calculations


def choose(path: str | Path, n: int, seed: int = 0) -> list[Candidate]:
    """`n` binaries of up to `MAX_ATOMS` atoms with trustworthy DFT moduli.

    Raises:
        GenmatError: the file is missing or not matcalc's.
    """
    from pymatgen.core import Structure

    rows = _read(Path(path))
    sane = [row for row in rows if all(TRUSTED[0] <= v <= TRUSTED[1] for v in _moduli(row))]
    small = [row for row in sane if len(row["structure"]["sites"]) <= MAX_ATOMS]
    order = np.random.default_rng(seed).permutation(len(small))[:n]
    return [
        Candidate(
            row["mp_id"],
            "matcalc",
            structure=Structure.from_dict(row["structure"]),
            provenance={"formula": row["formula"], "bulk": _moduli(row)[0], "shear": _moduli(row)[1]},
        )
        for row in (small[i] for i in order)
    ]


def _moduli(row: dict[str, Any]) -> tuple[float, float]:
    return float(row["bulk_modulus_vrh"]), float(row["shear_modulus_vrh"])


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            rows = json.load(file)
        return [row for row in rows if row["structure"] and all(np.isfinite(_moduli(row)))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GenmatError(
            f"{path}: not a list of structures with elastic moduli ({error}); give matcalc's file"
        ) from None


def elastic_stage(candidates: Iterable[Candidate], potential: Potential) -> Iterator[Candidate]:
    """Add ``elastic_bulk`` and ``elastic_shear`` (GPa, Voigt-Reuss-Hill); ``elastic_reason`` where there are none."""
    from pymatgen.analysis.elasticity import ElasticTensor

    for candidate in candidates:
        tensor = stiffness(candidate.structure, potential)
        if not np.isfinite(tensor).all():
            yield candidate.add(elastic_reason="not finite")
        elif np.linalg.eigvalsh(tensor)[0] <= 0:
            yield candidate.add(elastic_reason="elastically unstable")
        else:
            voigt = ElasticTensor.from_voigt(tensor)
            yield candidate.add(elastic_bulk=float(voigt.k_vrh), elastic_shear=float(voigt.g_vrh))


def stiffness(structure: Structure, potential: Potential) -> np.ndarray:
    """Relaxed-ion elastic tensor in Voigt notation, (6, 6) GPa."""
    from pymatgen.core import Lattice, Structure

    n = len(structure)
    strained = []
    for a, b in VOIGT:
        for sign in (1.0, -1.0):
            deform = np.eye(3)
            deform[a, b] += sign * STRAIN * (1.0 if a == b else 0.5)  # engineering shear: half on either side
            if a != b:
                deform[b, a] += sign * STRAIN * 0.5
            strained.append(
                Structure(Lattice(structure.lattice.matrix @ deform), structure.species, structure.frac_coords)
            )
    result = potential.evaluate(strained)
    stress = np.array([[s[a, b] for a, b in VOIGT] for s in result.stresses]).reshape(6, 2, 6)
    clamped = (stress[:, 0] - stress[:, 1]) / (2 * STRAIN)  # (strain, stress) eV/Å³
    clamped = (clamped + clamped.T) / 2
    forces = np.array(result.forces).reshape(6, 2, 3 * n)
    internal = (forces[:, 0] - forces[:, 1]) / (2 * STRAIN)  # (strain, 3 n) eV/Å
    if n == 1:
        return GPA * clamped
    values, vectors = np.linalg.eigh(hessian(structure, potential))
    along = internal @ vectors
    inverse = np.where(values > SOFT, 1 / np.where(values > SOFT, values, 1.0), 0.0)
    return GPA * (clamped - (along * inverse) @ along.T / structure.volume)


def judge(candidates: Sequence[Candidate]) -> list[Figure]:
    """MAE and rank correlation of both moduli against DFT, guessing the median as the baseline."""
    from scipy.stats import spearmanr

    done = [c for c in candidates if c.alive and "elastic_bulk" in c.results]
    tried = [c for c in candidates if c.alive and ("elastic_bulk" in c.results or "elastic_reason" in c.results)]
    if len(done) < 3:
        return []
    figures = []
    for name, letter in (("bulk", "K"), ("shear", "G")):
        truth = np.array([c.provenance[name] for c in done])
        found = np.array([c.results[f"elastic_{name}"] for c in done])
        guess = float(np.abs(truth - np.median(truth)).mean())
        mae, rank = float(np.abs(found - truth).mean()), float(spearmanr(found, truth).statistic)
        ratio = float(np.median(found / truth))
        figures += [
            Figure(f"{name}_mae", f"MAE of {letter}_VRH", mae, "GPa", len(done), guess, "the median", "lower"),
            Figure(f"{name}_rank", f"Spearman of {letter}_VRH", rank, "", len(done), 0.0, "coin", "higher"),
            Figure(f"{name}_ratio", f"median {letter}_VRH / DFT", ratio, "", len(done)),
        ]
    unstable = 100 * (1 - len(done) / len(tried))
    return [
        *figures,
        Figure("elastic_unstable", "binaries elastically unstable", unstable, "%", len(tried), None, "", "lower"),
    ]
