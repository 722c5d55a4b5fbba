"""Text of one structure -> a pymatgen `Structure` of plain elements; sites may be shared (partial occupancies).

Every function raises ValueError with a reason a person can act on; nothing else leaves this module.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from itertools import pairwise
from typing import Any

import numpy as np
from pymatgen.core import Element, Lattice, Structure

_BLOCK = re.compile(r"(?im)^data_")
FARTHEST = 1e6
"""Cells; atoms this far from the origin are wrapped back, those beyond are refused."""
MOST_OCCUPIED = 1.02
"""Sum of the occupancies of a site; what rounding put above 1 is scaled down, more is a mistake."""
_CIF_CELL = re.compile(r"(?i)_cell[_.]length_a\b")


def from_cif(text: str) -> list[Structure | ValueError]:
    """One structure, or the reason there is none, for every block of a CIF that lists atoms."""
    starts = [match.start() for match in _BLOCK.finditer(text)]
    blocks = [text[a:b] for a, b in pairwise([*starts, len(text)])]
    # journals put an empty data_global in front; a file without any atoms is still one failure
    blocks = [block for block in blocks if "_atom_site" in block] or [text]
    return [attempt(_cif_block, block) for block in blocks]


def from_poscar(text: str) -> Structure:
    """A VASP POSCAR or CONTCAR; one without element symbols is refused."""
    return _guard(_poscar, text)


def from_extxyz(frame: str) -> tuple[Structure, dict[str, Any]]:
    """One frame of an extended XYZ file: the structure and the frame's info dictionary."""
    return _guard(_extxyz, frame)


def from_mapping(data: Mapping[str, Any]) -> Structure:
    """A pymatgen dictionary (``lattice`` and ``sites``)."""
    return _guard(_mapping, data)


def from_value(value: Any) -> Structure:
    """Whatever stands in a structure column: pymatgen dictionary, its JSON, CIF or POSCAR text."""
    if isinstance(value, Mapping):
        return from_mapping(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("empty structure")
    text = value.strip()
    if text.startswith("{"):
        return from_mapping(_dictionary(text))
    if "\n" not in text and "\\n" in text:  # line ends escaped by whoever wrote the table
        text = text.replace("\\r", "").replace("\\n", "\n")
    if _CIF_CELL.search(text) or _BLOCK.match(text):
        first = from_cif(text)[0]
        if isinstance(first, ValueError):
            raise first
        return first
    return from_poscar(text)


def from_arrays(parameters: Any, species: Any, frac_coords: Any) -> Structure:
    """A structure from lattice parameters (a, b, c in Å, angles in degrees) or a 3x3 matrix (Å, rows are vectors)."""

    def build(_: None) -> Structure:
        numbers = np.array([list(row) if np.ndim(row) else row for row in parameters], dtype=float)
        lattice = Lattice(numbers) if numbers.shape == (3, 3) else Lattice.from_parameters(*numbers)
        return Structure(lattice, list(species), np.array([list(row) for row in frac_coords], dtype=float))

    return _guard(build, None)


def attempt(parse: Callable[[Any], Structure], text: Any) -> Structure | ValueError:
    """What a parser of this module gives, or the reason it gives nothing, returned instead of raised."""
    try:
        return _guard(parse, text)
    except ValueError as error:
        return error


def clean(structure: Structure) -> Structure:
    """The same crystal with nothing but lattice, elements and coordinates; raises ValueError for what cannot be used.

    Shared sites keep their occupancies. Oxidation states, charges and site properties are dropped, so that equal
    crystals compare equal later.
    """
    if len(structure) == 0:
        raise ValueError("no atoms")
    holders = [_holders(site) for site in structure]
    unknown = sorted({s for held in holders for s in ([held] if isinstance(held, str) else held) if not _known(s)})
    if unknown:
        raise ValueError(f"unknown element {', '.join(unknown)}")
    matrix, coords = np.array(structure.lattice.matrix), np.array(structure.frac_coords)
    if not (np.isfinite(matrix).all() and np.isfinite(coords).all()):
        raise ValueError("lattice or coordinates are not finite numbers")
    if abs(np.linalg.det(matrix)) < 1e-3:
        raise ValueError("lattice has no volume")
    if np.abs(coords).max() > FARTHEST:
        raise ValueError(f"fractional coordinate of {np.abs(coords).max():.3g}: no digits are left of its place")
    if np.abs(coords).max() > 2:
        coords -= np.floor(coords)
    return Structure(Lattice(matrix), holders, coords)


def _holders(site: Any) -> str | dict[str, float]:
    """The symbol of a site's atom, or the occupancies of those who share it."""
    if site.is_ordered:
        return getattr(site.specie, "symbol", str(site.specie))
    held: dict[str, float] = {}
    for species, occupancy in site.species.items():
        symbol = getattr(species, "symbol", str(species))
        held[symbol] = held.get(symbol, 0.0) + occupancy
    total = sum(held.values())
    if not (min(held.values()) > 0 and total <= MOST_OCCUPIED):
        raise ValueError(f"a site holds {site.species_string}: occupancies are not between 0 and 1")
    return {symbol: occupancy / max(total, 1.0) for symbol, occupancy in held.items()}


def _known(symbol: str) -> bool:
    return Element.is_valid_symbol(symbol)


def xyz_frames(lines: Iterator[str]) -> Iterator[str | ValueError]:
    """Split an (extended) XYZ file into frames; a broken count ends the file, since the next frame cannot be found."""
    for line in lines:
        if not line.strip():
            continue
        try:
            count = int(line)
        except ValueError:
            yield ValueError(f"expected a number of atoms, found {line.strip()[:40]!r}; rest of the file skipped")
            return
        body = [next(lines, None) for _ in range(count + 1)]
        if None in body:
            yield ValueError(f"file ends inside a frame of {count} atoms")
            return
        yield line + "".join(part for part in body if part is not None)


def _guard(parse: Any, data: Any) -> Any:
    """Run a third-party parser, silence its chatter, and turn whatever it raises into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return parse(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except Exception as error:  # parsers of foreign text raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, KeyError):
            reason = f"{reason} is missing"
        raise ValueError(reason[:200]) from None


def _cif_block(text: str) -> Structure:
    from pymatgen.io.cif import CifParser

    parser = CifParser.from_str(text, check_cif=False, occupancy_tolerance=MOST_OCCUPIED)
    structures = parser.parse_structures(primitive=False, check_occu=True, on_error="raise")
    return clean(structures[0])


def _poscar(text: str) -> Structure:
    from pymatgen.io.vasp import Poscar

    poscar = Poscar.from_str(text)
    if not poscar.true_names:
        raise ValueError("no element symbols (VASP 4 format)")
    return clean(poscar.structure)


def _extxyz(frame: str) -> tuple[Structure, dict[str, Any]]:
    from ase.io.extxyz import read_xyz

    atoms = next(iter(read_xyz(StringIO(frame), index=slice(0, 1))))
    if abs(atoms.cell.volume) < 1e-3:
        raise ValueError("no unit cell (Lattice=... is missing)")
    symbols = atoms.get_chemical_symbols()
    structure = Structure(Lattice(atoms.cell.array), symbols, atoms.positions, coords_are_cartesian=True)
    return clean(structure), dict(atoms.info)


def _mapping(data: Mapping[str, Any]) -> Structure:
    if "lattice" not in data or "sites" not in data:
        raise ValueError("dictionary without 'lattice' and 'sites' (expected pymatgen's Structure.as_dict())")
    return clean(Structure.from_dict(dict(data)))


def _dictionary(text: str) -> Mapping[str, Any]:
    """JSON, or the Python literal that pandas writes for a column of dictionaries."""
    try:
        data = json.loads(text)
    except ValueError:
        try:
            data = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise ValueError("neither JSON nor a Python dictionary") from None
    if not isinstance(data, Mapping):
        raise ValueError("not a dictionary")
    return data
