"""Monte Carlo at fixed composition: where a cluster expansion puts the order-disorder transition.

A box made of the ground state is heated until it has disordered, then cooled again. Atoms swap places (Metropolis).
The transition on heating comes late, on cooling early: both are given, and no number between them is better.
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
ABOVE = 1.4  # the scan ends this far above where the energy has risen half way to that of a random crystal
STEPS = 16  # temperatures of a scan
BELOW = 0.3  # of its highest temperature is its lowest


@dataclass(frozen=True)
class Scan:
    """Energies along a scan of temperature.

    Attributes:
        temperatures: K, rising.
        heating, cooling: eV per atom above the ground state, means at each temperature.
        heats: K where the heat capacity on heating peaks.
        cools: K where it peaks on cooling.
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
    top = walk.disordering(low, random * atoms)
    if top is None:
        return Scan((), (), (), None, None, random, f"still ordered at {TOP:.0f} K")
    temperatures = np.linspace(BELOW * top, top, STEPS)
    walk.set(box.numbers)
    heating = [walk.run(t) for t in temperatures]
    cooling = [walk.run(t) for t in temperatures[::-1]][::-1]
    means = [tuple((e - low) / atoms for e, _ in branch) for branch in (heating, cooling)]
    peaks = [_peak(temperatures, [v for _, v in branch]) for branch in (heating, cooling)]
    refusal = None
    if min(*means[0], *means[1]) < -2e-3:
        refusal = f"it finds a crystal {-1000 * min(*means[0], *means[1]):.1f} meV/atom below the ground state"
    return Scan(tuple(map(float, temperatures)), *means, peaks[0], peaks[1], random, refusal)


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

    def run(self, temperature: float, share: float = 1.0) -> tuple[float, float]:
        """Mean of the energy (eV) and heat capacity (variance / k T², eV/K) over the last two thirds of the walk."""
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
        return float(energies.mean()), float(energies.var() / (BOLTZMANN * temperature**2))

    def shuffled_energy(self, times: int = 10) -> float:
        """Mean energy (eV) of the box with every sublattice shuffled."""
        self.set(self._box.numbers)
        return float(np.mean([self.run(1e6, share=0.1)[0] for _ in range(times)]))

    def disordering(self, low: float, random: float) -> float | None:
        """K above which the box has disordered, with room for the scan; None when it has not at `TOP`."""
        temperature, self._numbers = 50.0, self._box.numbers.copy()
        while temperature <= TOP:
            energy, _ = self.run(temperature, share=0.3)
            if energy - low > 0.55 * random:
                return min(temperature * ABOVE, TOP)
            temperature *= 1.2
        return None


def _peak(temperatures: np.ndarray, capacities: list[float]) -> float:
    """Temperature of the largest heat capacity, refined by a parabola through its neighbours."""
    i = int(np.argmax(capacities))
    if not 0 < i < len(capacities) - 1:
        return float(temperatures[i])
    a, b, c = capacities[i - 1 : i + 2]
    step = temperatures[1] - temperatures[0]
    bend = a - 2 * b + c
    return float(temperatures[i] + (0.5 * (a - c) / bend * step if bend < 0 else 0.0))
