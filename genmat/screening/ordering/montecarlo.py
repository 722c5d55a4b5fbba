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

SITES = 256  # shared sites of the box, at least
SWEEPS = 60  # attempted swaps per shared site at each temperature, the first third not counted
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
    from mchammer.calculators import ClusterExpansionCalculator  # pyright: ignore[reportMissingImports]

    box = _box(given, ground)
    calculator = ClusterExpansionCalculator(box, expansion.model)
    atoms = given.atoms / given.cells * len(box) / len(given.parent.coords)
    walk = _Walk(box, calculator, seed, sweeps)
    low = float(calculator.calculate_total(occupations=box.numbers))
    random = (walk.shuffled_energy() - low) / atoms
    if random <= 0:
        return Scan((), (), (), None, None, random, "a random crystal comes out below the ground state")
    near = walk.disordering(low, random * atoms)
    if near is None:
        return Scan((), (), (), None, None, random, f"still ordered at {TOP:.0f} K")
    temperatures = np.linspace(AROUND[0] * near, AROUND[1] * near, STEPS)
    walk.restart()
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
    """A box of at least `SITES` shared sites, made of the ground state, with edges as alike as its cell allows."""
    from ase.build import make_supercell
    from pymatgen.core import Lattice

    cell = atoms_of(given.parent, ground)
    short = Lattice(np.array(cell.cell)).get_lll_reduced_lattice().matrix
    turn = np.rint(short @ np.linalg.inv(np.array(cell.cell))).astype(int)
    lengths = np.linalg.norm(short, axis=1)
    copies = SITES / (len(given.parent.active) * ground.cells)
    times = np.ones(3, dtype=int)
    while times.prod() < copies:
        times[np.argmin(times * lengths)] += 1
    return make_supercell(cell, np.diag(times) @ turn)


class _Walk:
    """A box on its way through temperatures."""

    def __init__(self, box: Any, calculator: Any, seed: int, sweeps: int) -> None:
        self._start, self._calculator = box.numbers.copy(), calculator
        self._places = np.concatenate([part.indices for part in calculator.sublattices.active_sublattices])
        parts = {i: np.array(part.indices) for part in calculator.sublattices.active_sublattices for i in part.indices}
        self._partners, self._rng, self._sweeps = parts, np.random.default_rng(seed), sweeps
        self.numbers = self._start

    def restart(self) -> None:
        """Put the box back into its first state."""
        self.numbers = self._start

    def run(self, temperature: float, share: float = 1.0) -> float:
        """Mean of the energy (eV) over the last two thirds of the walk."""
        calculator, rng, numbers = self._calculator, self._rng, self.numbers.copy()
        calculator.set_occupations(numbers)
        steps = max(int(share * self._sweeps * len(self._places)), 100)
        first = self._places[rng.integers(len(self._places), size=steps)]
        draws = rng.integers(2**31, size=steps) % self._rooms(first)
        second = [self._partners[i][k] for i, k in zip(first, draws, strict=True)]
        luck = np.log(rng.random(steps)) * -BOLTZMANN * temperature  # eV a swap may cost
        energy, kept = float(calculator.calculate_total(occupations=numbers)), []
        for i, j, most in zip(first.tolist(), second, luck.tolist(), strict=True):
            if numbers[i] != numbers[j]:
                swap = {"sites": [i, int(j)], "new_site_occupations": [int(numbers[j]), int(numbers[i])]}
                change = calculator.calculate_change(current_occupations=[], **swap)
                if change <= most:
                    calculator.accept_change(sites=swap["sites"], species=swap["new_site_occupations"])
                    numbers[i], numbers[j] = numbers[j], numbers[i]
                    energy += change
            kept.append(energy)
        self.numbers = numbers
        return float(np.mean(kept[steps // 3 :]))

    def _rooms(self, sites: np.ndarray) -> np.ndarray:
        """How many sites each of these may swap with."""
        return np.array([len(self._partners[i]) for i in sites])

    def shuffled_energy(self, times: int = 10) -> float:
        """Mean energy (eV) of the box with every sublattice shuffled."""
        self.restart()
        return float(np.mean([self.run(1e6, share=0.1) for _ in range(times)]))

    def disordering(self, low: float, random: float) -> float | None:
        """K near which the energy (eV) rises fastest before the box is disordered; None when it is not so at `TOP`."""
        temperatures, energies = [50.0], [low]
        self.restart()
        while energies[-1] - low < DISORDERED * random:
            temperatures.append(temperatures[-1] * LADDER)
            if temperatures[-1] > TOP:
                return None
            energies.append(self.run(temperatures[-1], share=0.4))
        i = int(np.argmax(np.diff(energies) / np.diff(temperatures)))
        return (temperatures[i] + temperatures[i + 1]) / 2
