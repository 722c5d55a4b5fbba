"""Known disordered phases from anybody's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genmat.data.read import read_candidates
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from genmat.crystal.parents import DisorderedPhases


def read_disordered(path: str | Path) -> DisorderedPhases:
    """The disordered phases in a file, zip or folder of structures (CIFs, or a table with a CIF column).

    Ordered structures in it, and entries that cannot be read, are passed over.

    Raises:
        GenmatError: nothing there can be read, or no structure in it has a shared site.
    """
    from genmat.crystal.parents import DisorderedPhases

    given = [(c.id, c.structure) for c in read_candidates(path) if c.alive and c.structure is not None]
    found = DisorderedPhases.from_structures(given, Path(path).name)
    if not len(found):
        raise GenmatError(f"{path}: {len(given)} structures, none with shared sites; give disordered ones")
    return found
