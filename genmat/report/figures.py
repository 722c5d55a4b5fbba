"""What the report shows, reduced to numbers: rows, ranking, headline, element and space-group counts, tie lines.

Everything returned here is JSON-able. Energies are in eV/atom, lengths in Å, densities in g/cm³.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.data.disorder import is_ordered

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.candidate import Candidate

NEAR_HULL = 0.05
"""Energy above the hull (eV/atom) up to which a candidate counts as near the hull."""

COLUMNS = (
    "id",
    "formula",
    "elements",
    "spacegroup",
    "n_atoms",
    "e_above_hull",
    "interval_low",
    "interval_high",
    "p_stable",
    "formation_energy",
    "energy",
    "novel",
    "unique",
    "known_as",
    "density",
    "max_force",
    "failure",
    "doubt",
    "second_potential",
    "second_e_above_hull",
    "second_disagreement",
    "second_rmsd",
    "second_failure",
    "dynamically_stable",
    "min_frequency",
    "min_frequency_exact",
    "free_energy_300K",
    "phonon_supercell",
    "phonon_reason",
    "disorder_probability",
    "disorder_type",
    "disordered_parent",
    "decomposition",
    "chemsys",
    "origin",
    "shortlisted",
    "composition",
)
"""Fields of one row, in the order `row` writes them."""


def row(candidate: Candidate, shortlisted: bool) -> list[Any]:
    """One table row in the order of `COLUMNS`; a value that is unknown or not finite is None."""
    results = candidate.results
    composition = _composition(candidate)
    elements = sorted(composition)
    proto = candidate.protostructure
    n_atoms = len(candidate.structure) if candidate.structure is not None else getattr(proto, "n_atoms", None)
    return [
        str(candidate.id),
        candidate.formula,
        elements,
        getattr(proto, "spacegroup", None) or _int(results.get("spacegroup")),
        n_atoms,
        *(_number(results.get(key)) for key in ("e_above_hull", "e_above_hull_low", "e_above_hull_high", "p_stable")),
        _number(results.get("formation_energy_per_atom")),
        _number(results.get("energy_per_atom")),
        _flag(results.get("novel")),
        _flag(results.get("unique")),
        _text(results.get("known_as")) or _text(results.get("duplicate_of")),
        _number(results.get("density")),
        _number(results.get("max_force")),
        candidate.failure,
        _text(results.get("doubt")),
        _text(results.get("second_potential")),
        *(_number(results.get(f"second_{key}")) for key in ("e_above_hull", "disagreement", "rmsd")),
        _text(results.get("second_failure")),
        _flag(results.get("dynamically_stable")),
        _number(results.get("min_frequency_THz")),
        _number(results.get("min_frequency_commensurate_THz")),
        _number(results.get("free_energy_300K_per_atom")),
        *(_text(results.get(f"phonon_{key}")) for key in ("supercell", "reason")),
        _number(results.get("disorder_probability")),
        *(_text(results.get(key)) for key in ("disorder_type", "disordered_parent")),
        _text(results.get("decomposition")),
        "-".join(elements),
        str(candidate.origin),
        shortlisted,
        [round(composition[element], 5) for element in elements],
    ]


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first: the shortlist, then everything alive by energy above the hull, then failures in given order."""

    def key(candidate: Candidate) -> tuple:
        energy = _number(candidate.results.get("e_above_hull"))
        rank = _number(candidate.results.get("rank"))
        return (
            not on_shortlist(candidate),
            candidate.failure is not None,
            rank if rank is not None else math.inf,
            energy if energy is not None else math.inf,
        )

    return sorted(candidates, key=key)


def on_shortlist(candidate: Candidate) -> bool:
    """Alive, within `NEAR_HULL` of the hull beyond ``doubt``, and not found to be known or a duplicate."""
    results = candidate.results
    energy = _number(results.get("e_above_hull"))
    if candidate.failure is not None or energy is None or energy > NEAR_HULL or results.get("doubt"):
        return False
    return results.get("novel") is not False and results.get("unique") is not False


def headline(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """The counts the page opens with, and whether novelty was judged at all."""
    energies = [_number(c.results.get("e_above_hull")) for c in candidates]
    return {
        "total": len(candidates),
        "relaxed": sum(c.results.get("relax_steps") is not None or "energy_per_atom" in c.results for c in candidates),
        "with_hull": sum(e is not None for e in energies),
        "near_hull": sum(e is not None and e <= NEAR_HULL for e in energies),
        "novel": sum(c.results.get("novel") is True and c.results.get("unique") is not False for c in candidates),
        "novelty_judged": any(c.results.get("novel") is not None for c in candidates),
        "shortlist": sum(map(on_shortlist, candidates)),
        "ordered": sum(on_shortlist(c) and bool(is_ordered(c.results)) for c in candidates),
        "disorder_told": any(is_ordered(c.results) is not None for c in candidates),
        "failed": sum(c.failure is not None for c in candidates),
    }


def element_counts(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Number of candidates that contain each element."""
    return dict(Counter(element for c in candidates for element in _composition(c)))


def spacegroup_counts(rows: Sequence[Sequence[Any]]) -> dict[int, int]:
    """Number of rows in each space group (1–230); rows without one are left out."""
    column = COLUMNS.index("spacegroup")
    return dict(Counter(r[column] for r in rows if r[column]))


def pack_structure(structure: Structure, conventional: bool = True) -> list[Any] | None:
    """A structure as ``[cell, symbols, coordinates, occupancies, view]``, or None when it holds a non-finite number.

    ``cell`` is a, b, c (Å), α, β, γ (°); ``coordinates`` is the flat list of fractional ones; ``occupancies`` is 0
    when every site is full; ``view`` see `conventional_view`, 0 unless ``conventional``.
    """
    cell = [round(float(v), 5) for v in (*structure.lattice.abc, *structure.lattice.angles)]
    symbols, coordinates, occupancies = [], [], []
    for site in structure:
        for species, occupancy in site.species.items():
            symbols.append(getattr(species, "symbol", str(species)))
            coordinates += [round(float(x), 6) for x in site.frac_coords]
            occupancies.append(round(float(occupancy), 4))
    if not np.isfinite(cell + coordinates).all():
        return None
    full = all(occupancy == 1 for occupancy in occupancies)
    return [cell, symbols, coordinates, 0 if full else occupancies, conventional_view(structure) if conventional else 0]


def conventional_view(structure: Structure, symprec: float = 0.1) -> list[Any] | int:
    """How to draw the conventional cell without storing it: ``[9 integers, 3 fractions]``, 0 = as it is.

    The integers are the rows of the matrix that turns the lattice vectors into the conventional ones; the fractions
    are where, in the given cell, the conventional origin lies.
    """
    import moyopy

    from genmat.crystal.prototype import bearable

    if not structure.is_ordered:
        return 0
    try:
        cell = moyopy.Cell(
            structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), list(structure.atomic_numbers)
        )
        data = moyopy.MoyoDataset(cell, symprec=bearable(structure.lattice.matrix, structure.frac_coords, symprec))
    except Exception:  # moyo raises its own errors for odd cells; the given cell can always be drawn
        return 0
    matrix = np.asarray(data.std_linear).T
    integers = np.rint(matrix)
    if np.abs(matrix - integers).max() > 1e-3 or not 1 <= round(abs(np.linalg.det(integers))) <= 4:
        return 0
    shift = [round(float(x), 5) for x in data.std_origin_shift]
    return [integers.astype(int).ravel().tolist(), shift]


def element_styles(symbols: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the page draws each chemical element with.

    Colour (Jmol), covalent radius (Å; Cordero et al. 2008), name, metallicity, and for powder patterns the atomic
    number with the coefficients of its X-ray scattering factor (pymatgen's table; None where it has none).
    """
    from ase.data import atomic_names, atomic_numbers, covalent_radii
    from ase.data.colors import jmol_colors
    from pymatgen.core import Element

    # read without its module, whose imports take a second
    table = json.loads((files("pymatgen.analysis.diffraction") / "atomic_scattering_params.json").read_text())
    styles = {}
    for symbol in symbols:
        z = atomic_numbers.get(symbol, 0)
        colour = jmol_colors[z if z < len(jmol_colors) else 0]  # Jmol's end at meitnerium
        rgb = (round(255 * float(part)) for part in colour)
        styles[symbol] = {
            "color": "#{:02x}{:02x}{:02x}".format(*rgb),
            "radius": round(float(covalent_radii[z]), 2),
            "name": atomic_names[z] if z else symbol,
            "metal": bool(z) and Element(symbol).is_metal,
            "scattering": [z, coefficients] if (coefficients := table.get(symbol)) else None,
        }
    return styles


def spacegroup_symbols(numbers: Sequence[int]) -> dict[int, str]:
    """Short Hermann–Mauguin symbol of each space-group number, such as ``P2_1/c``."""
    from moyopy import SpaceGroupType

    known = sorted({number for number in numbers if 1 <= number <= 230})
    return {number: SpaceGroupType(number).hm_short.replace(" ", "") for number in known}


def tie_lines(fractions: np.ndarray, energies: np.ndarray) -> list[tuple[int, int]]:
    """Edges of the lower convex hull of ternary phases, as pairs of row numbers.

    Args:
        fractions: (n, 3) atomic fractions.
        energies: (n,) formation energies, eV/atom.
    """
    from scipy.spatial import ConvexHull, QhullError

    points = np.column_stack([fractions[:, :2], energies])
    apex = [1 / 3, 1 / 3, float(energies.max()) + 1.0]  # closes the hull from above, so three phases are enough
    try:
        hull = ConvexHull(np.vstack([points, apex]))
    except QhullError:
        return []
    lower = hull.simplices[(hull.equations[:, 2] < -1e-9) & (hull.simplices != len(points)).all(axis=1)]
    corners = [sorted(map(int, triangle)) for triangle in lower]
    return sorted({pair for a, b, c in corners for pair in ((a, b), (b, c), (a, c))})


def pack_hulls(hulls: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """The hulls as the page wants them: finite numbers, duplicates of a formula reduced to the lowest, tie lines."""
    packed = {}
    for chemsys, hull in (hulls or {}).items():
        elements = [str(element) for element in hull["elements"]]
        lowest: dict[str, Mapping[str, Any]] = {}
        for entry in hull["entries"]:
            energy = _number(entry["formation_energy"])
            if energy is not None and energy <= lowest.get(entry["formula"], {}).get("formation_energy", math.inf):
                lowest[entry["formula"]] = entry
        entries = sorted(lowest.values(), key=lambda entry: (not entry["on_hull"], entry["formation_energy"]))
        packed[str(chemsys)] = {
            "elements": elements,
            "formula": [str(e["formula"]) for e in entries],
            "x": [[round(float(x), 5) for x in e["x"]] for e in entries],
            "energy": [round(float(e["formation_energy"]), 4) for e in entries],
            "on_hull": [bool(e["on_hull"]) for e in entries],
            "ties": _ties(entries) if len(elements) == 3 else [],
        }
    return packed


def _ties(entries: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    stable = [i for i, entry in enumerate(entries) if entry["on_hull"]]
    if len(stable) < 3:
        return []
    fractions = np.array([entries[i]["x"] for i in stable], dtype=float)
    energies = np.array([entries[i]["formation_energy"] for i in stable], dtype=float)
    return [(stable[i], stable[j]) for i, j in tie_lines(fractions, energies)]


def pack_evidence(candidate: Candidate) -> dict[str, Any]:
    """What papers say of a candidate: ``synthesised`` and its ``sentences`` (`genmat.literature.evidence`)."""
    results = candidate.results
    return {"synthesised": results.get("synthesised"), "sentences": list(results.get("evidence") or ())}


def _composition(candidate: Candidate) -> dict[str, float]:
    """Atomic fraction of each element; empty when neither structure nor protostructure is known."""
    source = candidate.structure if candidate.structure is not None else candidate.protostructure
    composition = getattr(source, "composition", None)
    if not composition:
        return {}
    from pymatgen.core import Composition

    return {str(k): float(v) for k, v in Composition(composition).fractional_composition.get_el_amt_dict().items()}


def _number(value: Any) -> float | None:
    """A finite float, else None."""
    if value is None or isinstance(value, bool | str):
        return None
    return round(float(value), 6) if math.isfinite(value) else None


def _int(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _flag(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
