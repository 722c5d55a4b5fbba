"""Vibrations of the shortlist: is a crystal dynamically stable, and what is its free energy at 300 K?

Finite displacements in a supercell with phonopy (Togo et al., J. Phys.: Condens. Matter 35, 353001, 2023) and the
potential of the run, after a tight relaxation inside the space group. An opinion: what goes wrong becomes a reason in
the results, never a failure of the candidate.

Force constants are exact only at wave vectors commensurate with the supercell; elsewhere they are interpolated. An
imaginary frequency is therefore believed at commensurate points alone. The long-range field of polar crystals (LO-TO
splitting) is left out: potentials know no Born charges.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.errors import GenmatError, RunError

if TYPE_CHECKING:
    from phonopy import Phonopy
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

FMAX = 0.005  # eV/Å before displacing
LOOSE = 0.05  # eV/Å: worse than this, frequencies mean nothing
DISPLACEMENT = 0.02  # Å
SIDES = (10.0, 4.0)  # Å, height of the supercell: from the wanted down to the least
MOST_ATOMS = 150
TOLERANCE = -0.3  # THz: noise of single-precision forces on acoustic modes
MESH = 30.0  # Å, length that sets the density of wave vectors (phonopy's convention)
TEMPERATURE = 300.0  # K
METHOD = (
    f"finite displacements of {DISPLACEMENT} Å (phonopy), supercells {SIDES[0]:g} Å high up to {MOST_ATOMS} atoms; "
    f"unstable means below {TOLERANCE} THz at a wave vector commensurate with the supercell"
)
KJ_PER_MOL = 96.485332  # per eV


def vibration_stage(candidates: Iterable[Candidate], potential: Potential, n: int) -> Iterator[Candidate]:
    """Add the vibrations of the `n` best-ranked candidates; the others pass unchanged.

    Adds ``min_frequency_THz`` (lowest on a mesh, negative when imaginary), ``min_frequency_commensurate_THz`` (lowest
    where the supercell is exact), ``dynamically_stable``, ``free_energy_300K_per_atom`` (eV/atom, harmonic, with
    zero-point energy, only of stable crystals), ``phonon_supercell``; or ``phonon_reason`` when there are none.
    """
    for candidate in candidates:
        rank = candidate.results.get("rank")
        if not candidate.alive or rank is None or rank > n or candidate.structure is None:
            yield candidate
        else:
            yield candidate.add(**opinion(candidate.structure, potential))


def opinion(structure: Structure, potential: Potential) -> dict[str, Any]:
    """The results `vibration_stage` adds for one crystal; ``phonon_reason`` instead of an exception."""
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(1):
            return vibrations(structure, potential)
    except RunError:
        raise
    except Exception as error:  # potential, phonopy or the symmetry search may raise anything
        text = str(error) if isinstance(error, GenmatError) else f"{type(error).__name__}: {error}"
        return {"phonon_reason": " ".join(text.split())}


def vibrations(structure: Structure, potential: Potential) -> dict[str, Any]:
    """Relax tightly, displace, and read frequencies and free energy off the force constants.

    Raises:
        GenmatError: the crystal cannot be relaxed tightly enough, or its cell alone is too large.
    """
    crystal = tightened(structure, potential)
    multiples = supercell(crystal)
    phonon = force_constants(crystal, potential, multiples)
    phonon.run_mesh(MESH, is_gamma_center=True)
    everywhere = float(np.min(phonon.mesh.frequencies))
    exact = lowest_commensurate(phonon)
    stable = exact >= TOLERANCE
    atoms = len(crystal) * int(np.prod(multiples))
    return {
        "min_frequency_THz": round(min(everywhere, exact), 4) + 0.0,
        "min_frequency_commensurate_THz": round(exact, 4) + 0.0,
        "dynamically_stable": stable,
        "free_energy_300K_per_atom": free_energy(phonon) if stable else None,
        "phonon_supercell": f"{'x'.join(map(str, multiples))}, {atoms} atoms",
    }


def tightened(structure: Structure, potential: Potential) -> Structure:
    """The primitive cell at rest inside its space group, to `FMAX`.

    Raises:
        GenmatError: forces stay above `LOOSE`.
    """
    from genmat.screening.flight import RelaxationError
    from genmat.screening.optimise import minimise, symmetric_subspace
    from genmat.screening.relax import symmetrise

    crystal, operations, _ = symmetrise(structure, 0.01)
    try:
        basis = symmetric_subspace(crystal, *operations)
        minimum = minimise(crystal, potential, basis=basis, fmax=FMAX, max_steps=150)
    except RelaxationError as error:
        raise GenmatError(f"tight relaxation: {error}") from None
    if minimum.max_force > LOOSE:
        raise GenmatError(f"tight relaxation: forces stay at {minimum.max_force:.2f} eV/Å")
    return minimum.structure


def supercell(structure: Structure) -> tuple[int, int, int]:
    """Multiples of the cell vectors: as high as `SIDES` asks within `MOST_ATOMS` atoms.

    Raises:
        GenmatError: the cell alone has more atoms.
    """
    if len(structure) > MOST_ATOMS:
        raise GenmatError(f"{len(structure)} atoms in the cell, more than {MOST_ATOMS}")
    heights = 1 / np.linalg.norm(np.linalg.inv(structure.lattice.matrix), axis=0)  # between opposite faces
    for side in np.arange(SIDES[0], SIDES[1] - 0.01, -0.25):
        multiples = np.maximum(np.ceil(side / heights - 1e-6), 1).astype(int)
        if len(structure) * multiples.prod() <= MOST_ATOMS:
            return tuple(int(m) for m in multiples)  # type: ignore[return-value]
    return 1, 1, 1


def force_constants(structure: Structure, potential: Potential, multiples: tuple[int, int, int]) -> Phonopy:
    """A `Phonopy` with force constants from symmetry-distinct displacements, sum rule and symmetry imposed.

    Raises:
        GenmatError: phonopy is not installed.
    """
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError:
        raise GenmatError("phonons: phonopy is not installed; run `pip install genmat[phonons]`") from None

    cell = PhonopyAtoms(
        symbols=[site.specie.symbol for site in structure],
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        phonon = Phonopy(cell, supercell_matrix=list(multiples), primitive_matrix="P", symprec=1e-3)
        phonon.generate_displacements(distance=DISPLACEMENT)
        forces = [_forces(displaced, potential) for displaced in phonon.supercells_with_displacements or []]
        phonon.produce_force_constants(forces=forces, show_drift=False)
        phonon.symmetrize_force_constants(show_drift=False)
    return phonon


def _forces(cell: Any, potential: Potential) -> np.ndarray:
    """(n, 3) eV/Å of a displaced supercell of phonopy's."""
    from pymatgen.core import Lattice, Structure

    forces = potential.evaluate([Structure(Lattice(cell.cell), cell.symbols, cell.scaled_positions)]).forces[0]
    if not np.isfinite(forces).all():
        raise GenmatError("potential returned no number for a displaced supercell")
    return np.asarray(forces, dtype=float)


def lowest_commensurate(phonon: Phonopy) -> float:
    """Lowest frequency in THz at the wave vectors the supercell holds exactly, translations at Γ left out."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    matrix = np.rint(np.asarray(phonon.supercell_matrix)).astype(int)
    lowest = np.inf
    for point in get_commensurate_points(matrix):
        found = np.sort(phonon.get_frequencies(point))
        if np.abs(point - np.rint(point)).max() < 1e-8:  # Γ: the three nearest zero are the translations
            found = np.sort(found[np.argsort(np.abs(found))[3:]])
        if len(found):
            lowest = min(lowest, float(found[0]))
    return lowest if np.isfinite(lowest) else 0.0


def free_energy(phonon: Phonopy) -> float:
    """Harmonic Helmholtz energy at `TEMPERATURE` in eV/atom, zero-point energy included, from the mesh run before."""
    phonon.run_thermal_properties(temperatures=[TEMPERATURE], cutoff_frequency=1e-2)
    energy = phonon.get_thermal_properties_dict()["free_energy"][0]
    return float(energy) / KJ_PER_MOL / len(phonon.primitive)
