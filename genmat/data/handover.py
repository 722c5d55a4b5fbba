"""Structures as inputs of first-principles codes: VASP as the Materials Project runs it, Quantum ESPRESSO with SSSP."""

from __future__ import annotations

import csv
import math
import warnings
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

KSPACING = 0.2
"""1/Å, 2π included; distance of k-points in the inputs of Quantum ESPRESSO."""
MAGNETIC = frozenset({
    "V", "Cr", "Mn", "Fe", "Co", "Ni", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb",
    "U", "Np", "Pu", "Am", "Cm",
})  # fmt: skip
"""Elements that start with a moment in the inputs of Quantum ESPRESSO."""


def vasp_inputs(structure: Structure, scan: bool = False) -> dict[str, str]:
    """Text of the input files of a relaxation with VASP, by name: INCAR, POSCAR, POTCAR.spec and, where used, KPOINTS.

    The settings are pymatgen's MPRelaxSet (PBE, +U) or, with `scan`, MPScanRelaxSet (r2SCAN, k-points by KSPACING in
    the INCAR): energies fit the Materials Project's after its corrections. POTCARs are VASP's and not written;
    POTCAR.spec names them, one a line, in the order of POSCAR.

    Raises:
        GenmatError: partial occupancies, or an element the set has no POTCAR for.
    """
    from pymatgen.io.vasp.sets import MPRelaxSet, MPScanRelaxSet

    cell = plain(structure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about POTCARs that are not installed, which is what POTCAR.spec is for
        inputs = (MPScanRelaxSet if scan else MPRelaxSet)(cell)
        try:
            found = inputs.get_input_set(potcar_spec=True)
        except (KeyError, ValueError) as error:
            name = "MPScanRelaxSet" if scan else "MPRelaxSet"
            raise GenmatError(f"{cell.formula}: {name} has no settings for it ({error}); leave it out") from None
    return {name: f"{str(text).rstrip()}\n" for name, text in found.items() if text is not None}


def qe_input(structure: Structure) -> str:
    """Input file of a variable-cell relaxation with pw.x of Quantum ESPRESSO (PBE).

    Pseudopotentials and cutoffs are those of SSSP PBE efficiency 1.3.0 (Prandini et al., npj Comput. Mater. 4, 72,
    2018), expected under their own names in ``./pseudo``; k-points are `KSPACING` apart; cold smearing of 0.01 Ry;
    thresholds in Ry and Ry/bohr. Elements of `MAGNETIC` start ferromagnetic.

    Raises:
        GenmatError: partial occupancies, or an element without pseudopotential.
    """
    from pymatgen.io.pwscf import PWInput

    cell = plain(structure)
    table, symbols = pseudopotentials(), sorted(element.symbol for element in cell.composition)
    missing = [symbol for symbol in symbols if symbol not in table]
    if missing:
        raise GenmatError(f"{cell.formula}: SSSP has no pseudopotential of {', '.join(missing)}; leave it out")
    system: dict[str, Any] = {
        "ecutwfc": max(table[symbol][1] for symbol in symbols),
        "ecutrho": max(table[symbol][2] for symbol in symbols),
        "occupations": "smearing",
        "smearing": "cold",
        "degauss": 0.01,
    }
    if MAGNETIC.intersection(symbols):
        system |= {"nspin": 2, "starting_magnetization": [0.3 if symbol in MAGNETIC else 0.0 for symbol in symbols]}
    n = len(cell)
    return str(
        PWInput(
            cell,
            pseudo={symbol: table[symbol][0] for symbol in symbols},
            control={
                "calculation": "vc-relax", "prefix": "genmat", "pseudo_dir": "./pseudo", "outdir": "./out",
                "tprnfor": True, "tstress": True, "etot_conv_thr": 1e-5 * n, "forc_conv_thr": 1e-4,
            },
            system=system,
            electrons={"conv_thr": 2e-10 * n, "mixing_beta": 0.4, "electron_maxstep": 80},
            kpoints_grid=tuple(max(1, math.ceil(b / KSPACING)) for b in cell.lattice.reciprocal_lattice.abc),
            format_options={"coord_decimals": 10},
        )
    )  # fmt: skip


@lru_cache(maxsize=1)
def pseudopotentials() -> dict[str, tuple[str, int, int]]:
    """File name, wavefunction and density cutoff (Ry) of each element in SSSP PBE efficiency 1.3.0."""
    text = (files("genmat.data") / "data" / "sssp_efficiency.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["element"]: (row["file"], int(row["ecutwfc"]), int(row["ecutrho"])) for row in rows}


def plain(structure: Structure) -> Structure:
    """The structure by elements alone: no oxidation states, isotopes as their element, no properties of sites.

    Raises:
        GenmatError: partial occupancies.
    """
    from pymatgen.core import Structure

    if not structure.is_ordered:
        raise GenmatError(f"{structure.formula}: partial occupancies have no input file; order it with genmat order")
    symbols = ["H" if site.specie.symbol in ("D", "T") else site.specie.symbol for site in structure]
    return Structure(structure.lattice, symbols, structure.frac_coords)
