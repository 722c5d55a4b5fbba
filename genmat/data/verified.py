"""Crystals a campaign made and verified, as a table to learn from: one round of self-improvement.

Only what a hull has seen goes in: relaxed, converged, near the hull without a doubt about it, new and unique, and not
P1. The table has the columns of the Materials Project tables, so training reads it beside them (`also` in a training
configuration) and the evaluation counts its crystals as known (``--also-known``): nothing a model has taught itself is
ever counted as a discovery.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.campaign import Campaign
from genmat.data.population import PBE_VOLUME
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from genmat.candidate import Candidate

LOWEST = -0.1
"""eV/atom; further below the hull lie gaps of the reference and errors of the potential rather than crystals."""


def verified(folders: Iterable[Path], below: float) -> list[dict[str, Any]]:
    """Rows of the crystals of finished campaigns at most `below` eV/atom above the hull, one per protostructure.

    Cells are scaled by 1/1.013 in volume, from that of PBE to that of the Materials Project tables of 2025.

    Raises:
        GenmatError: a folder that holds no campaign.
    """
    rows: dict[str, dict[str, Any]] = {}
    for folder in folders:
        with Campaign.read(folder) as campaign:
            for candidate in campaign.candidates():
                if good(candidate, below):
                    assert candidate.protostructure is not None
                    rows.setdefault(candidate.protostructure.label, _row(candidate))
    return list(rows.values())


def good(candidate: Candidate, below: float) -> bool:
    """Whether a relaxed candidate is worth learning from."""
    found, proto = candidate.results, candidate.protostructure
    energy = found.get("e_above_hull")
    if not candidate.alive or energy is None or not LOWEST <= energy <= below or found.get("doubt") is not None:
        return False
    new = found.get("novel") is True and found.get("unique") is not False
    return new and bool(found.get("converged")) and proto is not None and proto.spacegroup > 1


def _row(candidate: Candidate) -> dict[str, Any]:
    structure, proto = candidate.structure, candidate.protostructure
    assert structure is not None and proto is not None
    cell = structure.copy()
    cell.scale_lattice(structure.volume / PBE_VOLUME)
    return {
        "material_id": candidate.id,
        "formula": candidate.formula,
        "n_primitive": len(cell),
        "lattice_parameters": list(cell.lattice.parameters),
        "species": [site.specie.symbol for site in cell],
        "frac_coords": [list(map(float, xyz)) for xyz in cell.frac_coords],
        "spacegroup_number": proto.spacegroup,
        "wyckoff": [[site.element, site.letter, ""] for site in proto.sites],
        "e_above_hull": max(float(candidate.results["e_above_hull"]), 0.0),
        "split": "train",
    }


def write_verified(folders: Iterable[Path], below: float, out: Path) -> int:
    """Write the table (Parquet) and return the number of its rows.

    Raises:
        GenmatError: no campaign, nothing verified in it, or a file that cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = verified(folders, below)
    if not rows:
        raise GenmatError(
            f"{out}: no verified crystal within {below:g} eV/atom of the hull; relax more, or raise --below"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), out)
    except OSError as error:
        raise GenmatError(f"{out}: cannot write it ({error.strerror}); choose another --out") from None
    return len(rows)
