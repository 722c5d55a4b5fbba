"""Lennard-Jones with the parameters of argon for every element: a potential for tests, without chemistry."""

from __future__ import annotations

from genmat.screening.potentials.ase_adapter import ASEPotential

EPSILON, SIGMA, CUTOFF = 0.0104, 3.40, 8.5  # eV, Å, Å: argon (Rahman, Phys. Rev. 136, A405, 1964)


class LJPotential(ASEPotential):
    """ASE's Lennard-Jones calculator, smoothly cut off at 8.5 Å."""

    def __init__(self) -> None:
        from ase.calculators.lj import LennardJones

        super().__init__(
            LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, smooth=True),
            name="lj",
            golden={"Ar": -0.0789},
            functional="Lennard-Jones (argon)",
            licence="LGPL-2.1-or-later (ASE)",
        )
