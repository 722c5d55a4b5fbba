"""Effective-medium theory for a few face-centred metals (Jacobsen, Stoltze, Nørskov, Surf. Sci. 366, 394, 1996)."""

from __future__ import annotations

from genmat.screening.potentials.ase_adapter import ASEPotential


class EMTPotential(ASEPotential):
    """ASE's effective-medium calculator: Al, Ni, Cu, Pd, Ag, Pt, Au."""

    def __init__(self) -> None:
        from ase.calculators.emt import EMT

        super().__init__(
            EMT(),
            name="emt",
            elements=("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"),
            golden={"Cu": -0.0057},
            functional="effective-medium theory",
            licence="LGPL-2.1-or-later (ASE)",
        )

    def __reduce__(self) -> tuple:
        """Workers build their own: ASE's calculator cannot be pickled once it has been used."""
        return type(self), ()
