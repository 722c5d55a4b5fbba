"""Real crystals as candidates of a small campaign."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate

CUBIC = Lattice.cubic
CRYSTALS = {
    "NaCl": ("Fm-3m", CUBIC(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "SrTiO3": ("Pm-3m", CUBIC(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]),
    "Si": ("Fd-3m", CUBIC(5.43), ["Si"], [[0, 0, 0]]),
    "CsCl": ("Pm-3m", CUBIC(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "TiO2": ("P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]),
    "MgB2": ("P6/mmm", Lattice.hexagonal(3.086, 3.524), ["Mg", "B"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]),
}
NUMBERS = {"NaCl": 225, "SrTiO3": 221, "Si": 227, "CsCl": 221, "TiO2": 136, "MgB2": 191}


def crystal(name: str) -> Structure:
    """Primitive cell of a textbook crystal."""
    group, lattice, species, coordinates = CRYSTALS[name]
    return Structure.from_spacegroup(group, lattice, species, coordinates).get_primitive_structure()


def candidate(name: str, id: str, failure: str | None = None, **results: Any) -> Candidate:
    """A candidate with a real structure; the protostructure carries what the report reads."""
    structure = crystal(name)
    proto = SimpleNamespace(
        spacegroup=NUMBERS[name], n_atoms=len(structure), formula=name, composition=structure.composition
    )
    return Candidate(
        id=id, origin="model:crystal-gpt", protostructure=proto, structure=structure, results=results, failure=failure
    )


@pytest.fixture(scope="session")
def candidates() -> list[Candidate]:
    """Six alive, two failed; order shuffled against their ranking."""
    relaxed = {"relax_steps": 20, "energy_per_atom": -4.0, "unique": True}
    return [
        candidate("CsCl", "c4", e_above_hull=0.31, formation_energy_per_atom=-1.6, novel=True, **relaxed),
        candidate("Si", "c7", failure="relax: forces above 0.05 eV/Å after 200 steps"),
        candidate(
            "NaCl", "c1", e_above_hull=0.012, formation_energy_per_atom=-2.0, novel=True,
            decomposition="0.50 Na + 0.50 Cl2", **relaxed,
        ),
        candidate(
            "TiO2", "c3", e_above_hull=0.0, formation_energy_per_atom=-3.3, novel=False, known_as="mp-2657", **relaxed
        ),
        candidate("SrTiO3", "c0", e_above_hull=-0.004, formation_energy_per_atom=-3.4, novel=True, **relaxed),
        candidate("MgB2", "c5", e_above_hull=0.07, formation_energy_per_atom=-0.1, novel=True, **relaxed),
        candidate("NaCl", "c2", e_above_hull=0.02, novel=True, **{**relaxed, "unique": False}, duplicate_of="c1"),
        Candidate(id="c8", origin="file:broken.cif", failure="read: not a CIF"),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def page_inputs() -> dict[str, Any]:
    """Funnel, run, training space groups and hulls as the command line hands them in."""
    phase = lambda formula, x, energy, stable=True: {  # noqa: E731
        "formula": formula, "x": x, "formation_energy": energy, "on_hull": stable,
    }  # fmt: skip
    return {
        "funnel": [
            {"stage": "read", "entered": 8, "passed": 7, "failed": 1, "reasons": {"not a CIF": 1}},
            {"stage": "relax", "entered": 7, "passed": 6, "failed": 1, "reasons": {"forces above 0.05 eV/Å": 1}},
        ],
        "run": {
            "command": "genmat discover --seed 0", "seed": 0, "potential": "chgnet 0.3.0",
            "hull_source": "chgnet 0.3.0", "versions": {"genmat": "0.1.0"}, "elapsed_s": 12.5,
        },
        "training_spacegroups": {225: 900, 221: 700, 62: 400, 1: 50},
        "hulls": {
            "Cl-Na": {
                "elements": ["Cl", "Na"],
                "entries": [
                    phase("Cl2", [1, 0], 0.0), phase("Na", [0, 1], 0.0), phase("NaCl", [0.5, 0.5], -2.1),
                    phase("NaCl3", [0.75, 0.25], -0.6, False),
                ],
            },
            "O-Sr-Ti": {
                "elements": ["O", "Sr", "Ti"],
                "entries": [
                    phase("O2", [1, 0, 0], 0.0), phase("Sr", [0, 1, 0], 0.0), phase("Ti", [0, 0, 1], 0.0),
                    phase("SrO", [0.5, 0.5, 0], -3.0), phase("TiO2", [2 / 3, 0, 1 / 3], -3.4),
                ],
            },
            "Cl-Cs-Na-O": {
                "elements": ["Cl", "Cs", "Na", "O"],
                "entries": [phase("CsCl", [0.5, 0.5, 0, 0], -2.2), phase("Na", [0, 0, 1, 0], 0.0)],
            },
        },
    }  # fmt: skip
