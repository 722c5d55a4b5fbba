"""What every interatomic potential offers: a name card and batched energies, forces and stresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class PotentialInfo:
    """Name card of a potential.

    Args:
        name: as given to `load`.
        version: of the weights or parameters.
        functional: level of theory the energies belong to, with corrections.
        licence: of weights or parameters.
        elements: symbols it was made for.
        stress_unit: unit the underlying code speaks; `Evaluation` is always eV/Å³.
        golden: eV/atom of built-in crystals (`genmat.screening.potentials.golden`), checked before use.
    """

    name: str
    version: str
    functional: str
    licence: str
    elements: frozenset[str]
    stress_unit: str = "eV/Å³"
    golden: Mapping[str, float] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Label of the energies this potential makes: energies of different sources are never mixed."""
        return f"{self.name}-{self.version}"


@dataclass(frozen=True)
class Evaluation:
    """Energies and their derivatives for a list of crystals.

    Args:
        energies: (n,) eV, of the whole cell.
        forces: n arrays (n_atoms, 3), eV/Å; empty list when not asked for.
        stresses: (n, 3, 3) eV/Å³, positive under tension (dE/dstrain / volume); zeros (0, 3, 3) when not asked for.
    """

    energies: np.ndarray
    forces: list[np.ndarray]
    stresses: np.ndarray


class Potential(Protocol):
    """Anything with a name card and a batched `evaluate`."""

    @property
    def info(self) -> PotentialInfo:
        """The name card."""
        ...

    def evaluate(self, structures: Sequence[Structure], *, gradients: bool = True) -> Evaluation:
        """Evaluate crystals; ``gradients=False`` may skip forces and stresses."""
        ...


def correction_of(potential: Potential, structure: Structure) -> float:
    """What the potential's energies of this crystal need before they are compared, eV/atom; 0.0 where it says nothing.

    A potential trained on uncorrected energies has a method ``correction(structure)``; energies in results and in
    reference tables include it.
    """
    own = getattr(potential, "correction", None)
    return float(own(structure)) if own is not None else 0.0
