"""Scanned decorations and the energies they relaxed to: hard negatives for the network that chose them.

The label is that of the decoration as scanned, whatever symmetry it relaxed to, for that is what the network is asked
about. Energies are the potential's, brought to the scale of DFT formation energies by its fitted element references
(eV/atom); ones that are far off physics stay out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genmat.campaign import Campaign
from genmat.errors import GenmatError

LOWEST, HIGHEST = -6.0, 6.0
"""eV/atom; formation energies beyond are failures of a relaxation, not of the network."""


def relaxed(labels: Mapping[str, str], folder: Path, references: Mapping[str, float]) -> list[dict[str, Any]]:
    """Rows of the relaxed decorations of a campaign.

    Args:
        labels: protostructure label as scanned, by the candidate's id.
        folder: of the campaign.
        references: eV/atom of each element, subtracted from total energies.

    Raises:
        GenmatError: a folder that holds no campaign.
    """
    rows = []
    with Campaign.read(folder) as campaign:
        for candidate in campaign.candidates():
            energy, structure = candidate.results.get("energy_per_atom"), candidate.structure
            label = labels.get(candidate.id)
            if energy is None or structure is None or label is None or not candidate.results.get("converged"):
                continue
            shares = structure.composition.fractional_composition.get_el_amt_dict()
            if not shares.keys() <= references.keys():
                continue
            formation = energy - sum(share * references[symbol] for symbol, share in shares.items())
            if not LOWEST < formation < HIGHEST:
                continue
            rows.append(
                {
                    "material_id": candidate.id,
                    "formula": candidate.formula,
                    "lattice_parameters": list(structure.lattice.parameters),
                    "species": [site.specie.symbol for site in structure],
                    "frac_coords": [list(map(float, xyz)) for xyz in structure.frac_coords],
                    "formation_energy_per_atom": float(formation),
                    "e_above_hull": None,
                    "split": "train",
                    "label": label,
                }
            )
    return rows


def write_relaxed(scan: Path, folder: Path, out: Path, references: Mapping[str, float]) -> int:
    """Write the table (Parquet) of a scan's ``best.csv`` and the campaign that relaxed it; the number of its rows.

    Args:
        references: eV/atom of each element at the scale of DFT formation energies, fitted to the potential.

    Raises:
        GenmatError: no such file or campaign, or nothing in it that was relaxed.
    """
    import pandas as pd

    if not scan.is_file():
        raise GenmatError(f"{scan}: no such file; give best.csv of a scan")
    table = pd.read_csv(scan)
    labels = {f"scan-{index}": label for index, label in zip(table["index"].astype(int), table.label, strict=True)}
    rows = relaxed(labels, folder, references)
    if not rows:
        raise GenmatError(f"{folder}: nothing of {scan} was relaxed there; give the campaign that screened it")
    out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(out, index=False)
    return len(rows)
