"""The periodic table as a grid of cells with counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One element: its place in the 18-column grid (rows 8 and 9 are the f block) and how often it occurs."""

    symbol: str
    row: int
    column: int
    count: int
    level: int
    """0 = absent, 1–5 by the square root of the count, so that a ubiquitous element does not drown the others."""


def periodic_table(counts: Mapping[str, int], last: int = 103) -> list[Cell]:
    """Cells of the elements up to atomic number `last`, in order."""
    from pymatgen.core import Element

    largest = max(counts.values(), default=0)
    cells = []
    for z in range(1, last + 1):
        element = Element.from_Z(z)
        # pymatgen puts lanthanides and actinides into period 6 and 7, group 3
        f_block = 57 <= z <= 70 or 89 <= z <= 102
        row = (8 if z < 80 else 9) if f_block else element.row
        column = (z - 57 if z < 80 else z - 89) + 3 if f_block else element.group
        count = counts.get(element.symbol, 0)
        level = math.ceil(5 * math.sqrt(count / largest)) if count else 0
        cells.append(Cell(element.symbol, row, column, count, level))
    return cells
