"""What a scan found: labels, formulas, intervals, and crystals that go straight into `genmat screen`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.composition import ELEMENTS, reduced_formula
from genmat.crystal.matching import KnownPhases
from genmat.crystal.prototype import Protostructure, Site, canonical_label
from genmat.crystal.realise import lattice_matrix, lattice_parameters, realise
from genmat.crystal.slots import read_key
from genmat.crystal.wyckoff import space_group
from genmat.data.decorations import Decorations
from genmat.data.graph_predict import half_width

if TYPE_CHECKING:
    import pandas as pd

NORMAL = 1.645
"""Half width of a 90 % interval in deviations, for a network without a calibration."""


def describe(best: pd.DataFrame, space: Decorations, model: Path) -> pd.DataFrame:
    """The kept ones with their `label`, `formula`, `half_width` of the interval (eV/atom) and whether they are `known`.

    Known are labels among the shipped fingerprints.
    """
    quantiles = json.loads((model / "config.json").read_text()).get("quantiles") or {"all": NORMAL}
    labels, formulas, sizes = [], [], []
    for row, numbers in _decoded(best, space):
        symbols = [ELEMENTS[z - 1] for z in numbers]
        group, letters = read_key(space.prototypes.keys[row])
        labels.append(canonical_label(group, tuple(sorted(zip(symbols, letters, strict=True)))))
        formulas.append(reduced_formula(dict(zip(symbols, space.prototypes.slot_atoms(row).tolist(), strict=True))))
        sizes.append(len(symbols))
    width = half_width(quantiles, best["sigma"].to_numpy(float), np.array(sizes)) if sizes else []
    known = KnownPhases.shipped()
    return best.assign(label=labels, formula=formulas, half_width=width, known=[known.has_label(x) for x in labels])


def candidates(best: pd.DataFrame, space: Decorations) -> Iterator[Candidate]:
    """The kept ones as crystals: the prototype's typical geometry at the volume predicted."""
    for (row, numbers), found in zip(_decoded(best, space), best.itertuples(index=False), strict=True):
        proto = decorated(space, row, numbers, float(found.volume))
        results = {
            "scan_e_above_hull": float(found.e_above_hull),
            "scan_formation_energy": float(found.energy),
            "scan_sigma": float(found.sigma),
        }
        key = space.prototypes.keys[row]
        yield Candidate(f"scan-{int(found.index)}", f"scan:{key}", proto, realise(proto), results)


def decorated(space: Decorations, row: int, numbers: np.ndarray, volume: float) -> Protostructure:
    """A decoration with a geometry: atomic numbers (k,) by slot, volume in Å³/atom."""
    typical, site_slots = space.prototypes.geometries[row], space.prototypes.site_slots[row]
    cell = lattice_matrix(*lattice_parameters(typical.spacegroup, typical.lattice))
    group = space_group(typical.spacegroup)
    now = abs(float(np.linalg.det(cell))) / group.centring_multiplicity / typical.n_atoms
    stretch = (volume / now) ** (1 / 3)
    lattice = tuple(v * stretch if k < 3 else v for k, v in zip(group.free_lattice, typical.lattice, strict=True))
    sites = [
        Site(ELEMENTS[numbers[slot] - 1], site.letter, site.coords)
        for slot, site in zip(site_slots, typical.sites, strict=True)
    ]
    return Protostructure(typical.spacegroup, tuple(sites), lattice)


def _decoded(best: pd.DataFrame, space: Decorations) -> Iterator[tuple[int, np.ndarray]]:
    """Prototype's row and atomic numbers by slot of each kept one."""
    begins = dict(zip(space.rows, np.concatenate([[0], space.ends[:-1]]).tolist(), strict=True))
    for index, row in zip(best["index"].astype(int), best["prototype"].astype(int), strict=True):
        yield row, space.decode(row, np.array([index - begins[row]]))[0]
