"""Monte Carlo at fixed composition: where a cluster expansion puts the order-disorder transition.

A box made of the ground state is heated in long steps until it has disordered, then in short ones through the
temperature at which its energy rose fastest, and cooled again. Atoms swap places (Metropolis). A transition comes late
on heating and early on cooling: both are given, and no number between them is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.errors import GenmatError
from genmat.screening.ordering.expansion import Expansion, atoms_of
from genmat.screening.ordering.thermo import BOLTZMANN

if TYPE_CHECKING:
    from genmat.screening.ordering.ensemble import Ensemble
    from genmat.screening.ordering.enumerate import Ordering

SITES = 128  # shared sites of the box, at least
SWEEPS = 40  # attempted swaps per shared site at each temperature, the first third not counted
TOP = 2000.0  # K
BELOW = 2e-3  # eV/atom a box may fall below the ground state it was made of
LADDER = 1.2  # ratio of the temperatures of the first heating
DISORDERED = 0.55  # of the energy of a random crystal: short-range order stays far above the transition
AROUND = (0.6, 1.5)  # the scan, in units of the temperature the first heating found
STEPS = 18  # temperatures of the scan


@dataclass(frozen=True)
class Scan:
    """Energies along a scan of temperature.

    Attributes:
        temperatures: K, rising.
        heating, cooling: eV per atom above the ground state, means at each temperature.
        heats: K where the energy rises fastest on heating.
        cools: K where it falls fastest on cooling.
        random: eV per atom above the ground state of a random crystal, by the expansion.
        refusal: why the scan means nothing; None when it does.
    """

    temperatures: tuple[float, ...]
    heating: tuple[float, ...]
    cooling: tuple[float, ...]
    heats: float | None
    cools: float | None
    random: float
    refusal: str | None = None


def scan(given: Ensemble, expansion: Expansion, ground: Ordering, seed: int = 0, sweeps: int = SWEEPS) -> Scan:
    """Heat a box of the ground state and cool it again.

    Args:
        given: the ensemble the expansion was fitted for.
        expansion: not refused.
        ground: the ordering to start from.
        seed: of the swaps.
        sweeps: attempted swaps per shared site at each temperature.

    Raises:
        GenmatError: the expansion was refused.
    """
    if expansion.refusal:
        raise GenmatError(f"expansion: {expansion.refusal}; no Monte Carlo with it")
    from mchammer.calculators import ClusterExpansionCalculator

    box = _box(given, ground)
    calculator = ClusterExpansionCalculator(box, expansion.model)
    atoms = given.atoms / given.cells * len(box) / len(given.parent.coords)
    walk = _Walk(box, calculator, given, seed, sweeps)
    low = float(calculator.calculate_total(occupations=box.numbers))
    random = (walk.shuffled_energy() - low) / atoms
    if random <= 0:
        return Scan((), (), (), None, None, random, "a random crystal comes out below the ground state")
    near = walk.disordering(low, random * atoms)
    if near is None:
        return Scan((), (), (), None, None, random, f"still ordered at {TOP:.0f} K")
    temperatures = np.linspace(AROUND[0] * near, AROUND[1] * near, STEPS)
    walk.set(box.numbers)
    heating = np.array([walk.run(t) for t in temperatures])
    cooling = np.array([walk.run(t) for t in temperatures[::-1]])[::-1]
    heating, cooling = (heating - low) / atoms, (cooling - low) / atoms
    heats, cools = steepest(temperatures, heating), steepest(temperatures, cooling)
    refusal = None
    if min(heating.min(), cooling.min()) < -BELOW:
        refusal = f"it finds a crystal {-1000 * min(heating.min(), cooling.min()):.1f} meV/atom below the ground state"
    elif heats is None or cools is None:
        refusal = "the energy rises fastest at an end of the scan: no transition in between"
    curves = (tuple(map(float, values)) for values in (temperatures, heating, cooling))
    return Scan(*curves, heats, cools, random, refusal)


def steepest(temperatures: np.ndarray, energies: np.ndarray) -> float | None:
    """Temperature in the middle of the step over which the energy rises fastest; None at either end."""
    slopes = np.diff(energies) / np.diff(temperatures)
    i = int(np.argmax(slopes))
    return float(temperatures[i : i + 2].mean()) if 0 < i < len(slopes) - 1 else None


def _box(given: Ensemble, ground: Ordering) -> Any:
    """A nearly cubic box of at least `SITES` shared sites, made of the ground state."""
    from ase.build import find_optimal_cell_shape, make_supercell

    cell = atoms_of(given.parent, ground)
    copies = int(np.ceil(SITES / (len(given.parent.active) * ground.cells)))
    shape = find_optimal_cell_shape(cell.cell, copies, "sc", lower_limit=-3, upper_limit=3)
    return make_supercell(cell, shape)


class _Walk:
    """A box on its way through temperatures."""

    def __init__(self, box: Any, calculator: Any, given: Ensemble, seed: int, sweeps: int) -> None:
        self._box, self._calculator, self._seed = box, calculator, seed
        share = len(given.parent.active) / len(given.parent.coords)
        self._steps = max(int(sweeps * len(box) * share), 300)
        self._sites = max(int(len(box) * share), 1)
        self._numbers = box.numbers.copy()

    def set(self, numbers: np.ndarray) -> None:
        """Put the box into this state."""
        self._numbers = np.array(numbers)

    def run(self, temperature: float, share: float = 1.0) -> float:
        """Mean of the energy (eV) over the last two thirds of the walk."""
        from mchammer.ensembles import CanonicalEnsemble

        self._seed += 1
        box = self._box.copy()
        box.numbers = self._numbers
        steps = int(self._steps * share)
        every = max(self._sites // 2, 1)
        walk = CanonicalEnsemble(
            box, self._calculator, temperature, boltzmann_constant=BOLTZMANN, random_seed=self._seed,
            ensemble_data_write_interval=every, trajectory_write_interval=10**9,
        )  # fmt: skip
        walk.run(steps)
        energies = np.asarray(walk.data_container.get("potential"), dtype=float)
        energies = energies[len(energies) // 3 :]
        self._numbers = walk.structure.numbers.copy()
        return float(energies.mean())

    def shuffled_energy(self, times: int = 10) -> float:
        """Mean energy (eV) of the box with every sublattice shuffled."""
        self.set(self._box.numbers)
        return float(np.mean([self.run(1e6, share=0.1) for _ in range(times)]))

    def disordering(self, low: float, random: float) -> float | None:
        """K near which the energy (eV) rises fastest before the box is disordered; None when it is not so at `TOP`."""
        temperatures, energies = [50.0], [low]
        self._numbers = self._box.numbers.copy()
        while energies[-1] - low < DISORDERED * random:
            temperatures.append(temperatures[-1] * LADDER)
            if temperatures[-1] > TOP:
                return None
            energies.append(self.run(temperatures[-1], share=0.4))
        i = int(np.argmax(np.diff(energies) / np.diff(temperatures)))
        return (temperatures[i] + temperatures[i + 1]) / 2
