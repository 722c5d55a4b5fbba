"""Any ASE calculator as a potential: one crystal at a time, the adapter loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.screening.potentials.base import Evaluation, PotentialInfo

if TYPE_CHECKING:
    from pymatgen.core import Structure


class ASEPotential:
    """Wrap an ASE calculator.

    Args:
        calculator: speaks eV, eV/Å and eV/Å³, as ASE demands.
        name: how it was asked for; becomes part of the energies' source.
        elements: symbols it covers; all when not given.
        golden: eV/atom of built-in crystals.
        functional, licence: for the name card.
    """

    def __init__(
        self,
        calculator: Any,
        *,
        name: str,
        elements: Sequence[str] | None = None,
        golden: Mapping[str, float] | None = None,
        functional: str = "unknown",
        licence: str = "unknown",
    ) -> None:
        from ase.data import chemical_symbols

        self._calculator = calculator
        package = type(calculator).__module__.split(".")[0]
        try:
            number = version(package)
        except PackageNotFoundError:
            number = "unknown"
        self.info = PotentialInfo(
            name=name,
            version=number,
            functional=functional,
            licence=licence,
            elements=frozenset(elements or chemical_symbols[1:]),
            golden=dict(golden or {}),
        )

    def evaluate(self, structures: Sequence[Structure], *, gradients: bool = True) -> Evaluation:
        """Energies (eV), forces (eV/Å) and stresses (eV/Å³); calculators without stress raise their own error."""
        from pymatgen.io.ase import AseAtomsAdaptor

        energies, forces, stresses = [], [], []
        for structure in structures:
            atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
            atoms.calc = self._calculator
            energies.append(atoms.get_potential_energy())
            if gradients:
                forces.append(np.array(atoms.get_forces()))
                stresses.append(atoms.get_stress(voigt=False))
        return Evaluation(np.array(energies, dtype=float), forces, np.array(stresses, dtype=float).reshape(-1, 3, 3))
