"""What temperature makes of a set of orderings: ordering gap, Boltzmann weights, configurational entropy.

Every ordering is a state of one supercell of the parent, weighted by its degeneracy. There is no phase transition in so
small a system: entropies rise smoothly where a crystal's would jump, and what the curve tells is the scale of
temperature on which the potential's differences between orderings matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOLTZMANN = 8.617333262e-5  # eV/K
TEMPERATURES = tuple(range(50, 2001, 25))  # K
NEXT = 1e-4  # eV/atom: orderings closer than this to the lowest count as the lowest


@dataclass(frozen=True)
class Thermodynamics:
    """Of one set of orderings at one composition.

    Attributes:
        gap: eV/atom, the mean over all decorations (what a random crystal costs) minus the lowest.
        next_gap: eV/atom, the next ordering minus the lowest; None when there is only one.
        spread: eV/atom, standard deviation over all decorations.
        temperatures: K.
        entropy: k per shared site at each temperature.
        share: at each temperature, the entropy's way from that of the ground state's images (0) to that of all
            decorations alike (1).
        half: K at which the share is one half; None when it is not reached below 2000 K.
        limit: k per shared site, entropy of all decorations alike. Supercells of every shape count, so that in small
            ones it lies above that of ideal mixing; shares are of this limit.
        ideal: k per shared site, ideal mixing.
    """

    gap: float
    next_gap: float | None
    spread: float
    temperatures: tuple[float, ...]
    entropy: tuple[float, ...]
    share: tuple[float, ...]
    half: float | None
    limit: float
    ideal: float


def thermodynamics(
    energies: Sequence[float],
    degeneracies: Sequence[int],
    atoms: float,
    sites: int,
    ideal: float,
    temperatures: Sequence[float] = TEMPERATURES,
) -> Thermodynamics:
    """Boltzmann statistics of orderings.

    Args:
        energies: (n,) eV/atom.
        degeneracies: (n,) decorations each stands for.
        atoms: in the supercell the decorations share.
        sites: shared sites in it.
        ideal: entropy of ideal mixing, k per shared site.
        temperatures: K.
    """
    e, g = np.asarray(energies, dtype=float), np.asarray(degeneracies, dtype=float)
    low = e.min()
    mean = float(np.average(e, weights=g))
    higher = e[e > low + NEXT]
    ground = np.log(g[e <= low + 1e-9].sum())
    total = np.log(g.sum())
    entropy = np.array([_entropy((e - low) * atoms, g, t) for t in temperatures])
    share = (entropy - ground) / (total - ground) if total > ground else np.ones(len(entropy))
    return Thermodynamics(
        gap=mean - float(low),
        next_gap=float(higher.min() - low) if len(higher) else None,
        spread=float(np.sqrt(np.average((e - mean) ** 2, weights=g))),
        temperatures=tuple(float(t) for t in temperatures),
        entropy=tuple(float(s) / sites for s in entropy),
        share=tuple(float(np.clip(s, 0, 1)) for s in share),
        half=_crossing(temperatures, share),
        limit=float(total) / sites,
        ideal=ideal,
    )


def _entropy(energies: np.ndarray, degeneracies: np.ndarray, temperature: float) -> float:
    """k, of states at these energies (eV, lowest zero)."""
    weights = degeneracies * np.exp(-energies / (BOLTZMANN * temperature))
    z = weights.sum()
    return float(np.log(z) + (weights * energies).sum() / z / (BOLTZMANN * temperature))


def _crossing(temperatures: Sequence[float], share: np.ndarray, level: float = 0.5) -> float | None:
    """Temperature at which the share first reaches the level, between grid points on a line; None when it does not."""
    above = np.flatnonzero(share >= level)
    if not len(above):
        return None
    i = int(above[0])
    if i == 0:
        return float(temperatures[0])
    step = (level - share[i - 1]) / (share[i] - share[i - 1])
    return float(temperatures[i - 1] + step * (temperatures[i] - temperatures[i - 1]))
