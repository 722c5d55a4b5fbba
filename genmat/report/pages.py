"""What the page of one candidate needs, compressed piece by piece, so that a browser unpacks only what is looked at.

Structures travel in blocks of `BLOCK`, pages one by one: JSON, zlib, base64. A browser inflates both by itself.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.candidate import Candidate

BLOCK = 40
"""Structures in one compressed block: a few hundredths of a second to open, a third of the size of plain JSON."""

STRUCTURES = 10_000
"""The best so many keep their structure in the page; of the others the table alone, which bounds the file."""

PAGES = 100
"""The best so many get input files and the nearest known materials on their page."""

CARRIED = ("nearest",)
"""Results that go to the page of a candidate as they are: the nearest known materials."""


def shrunk(value: Any) -> str:
    """JSON-able `value` as base64 of its compressed JSON; `grown` in Python and ``inflate`` in the page undo it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def grown(text: str) -> Any:
    """The value `shrunk` packed.

    >>> grown(shrunk({"a": [1, None]}))
    {'a': [1, None]}
    """
    return json.loads(zlib.decompress(base64.b64decode(text)))


def blocks(structures: Sequence[Any]) -> list[str]:
    """Packed structures (`genmat.report.figures.pack_structure`, or None) in blocks of `BLOCK`, in order."""
    return [shrunk(structures[start : start + BLOCK]) for start in range(0, len(structures), BLOCK)]


def pages(ordered: Sequence[Candidate]) -> dict[int, str]:
    """Page of each of the best living candidates by its place in `ordered`, compressed; empty pages are left out."""
    alive = [(place, candidate) for place, candidate in enumerate(ordered) if candidate.failure is None]
    made = {place: page(candidate) for place, candidate in alive[:PAGES]}
    return {place: shrunk(content) for place, content in made.items() if content}


def page(candidate: Candidate) -> dict[str, Any]:
    """``files`` (name -> text), and what `CARRIED` names, as far as there is any."""
    found = {key: candidate.results.get(key) for key in CARRIED}
    files = input_files(candidate.structure) if candidate.structure is not None else {}
    return {key: value for key, value in {"files": files, **found}.items() if value}


def input_files(structure: Structure) -> Mapping[str, str]:
    """Inputs of density functional codes, name -> text, without pseudopotentials; none for a disordered structure.

    A code that has no settings for one of the elements is left out: the page still has the CIF.
    """
    from genmat.data.handover import qe_input, vasp_inputs

    files: dict[str, str] = {}
    for write in (vasp_inputs, lambda crystal: {"pw.in": qe_input(crystal)}):
        with suppress(GenmatError):
            files |= write(structure)
    return files
