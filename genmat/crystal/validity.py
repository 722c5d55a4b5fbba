"""Is a structure physically possible, and does its composition balance?

Two different questions, kept apart. *Impossible* (coinciding atoms, a density no solid has, NaN) fails a candidate with
a reason. *Charge balance* is chemistry's usual rule, which real intermetallics and suboxides break, so it is recorded
for everybody and fails a candidate only where the caller asks for it.

Charge balance is the rule of SMACT 4 with every oxidation state seen at least once in the ICSD (``consensus=1,
commonality="low"``): Davies et al., Chem 1, 617 (2016), doi:10.1016/j.chempr.2016.09.010.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Composition, Element, Structure

if TYPE_CHECKING:
    from genmat.candidate import Candidate

MIN_DISTANCE = 0.5
"""Å; no two atoms of a solid are closer (H-H in H2: 0.74 Å)."""
DENSITY = (0.05, 30.0)
"""g/cm³; solid hydrogen has 0.09, osmium 22.6, the densest entry of the Materials Project 26.6."""
VOLUME_PER_ATOM = (2.0, 1000.0)
"""Å³/atom; in the Materials Project 4.4 is the smallest and 99.9 % are below 20 to 80."""
MAX_ATOMS = 1000
"""Atoms per cell; larger cells are proteins, slabs or mistakes, and would stall every later stage."""
MAX_LENGTH = 500.0
"""Å; longest lattice vector."""
MAX_FRACTION = 100.0
"""Cells between an atom and the origin; the search for neighbours would walk all the way."""
_AMU_PER_A3 = 1.66053906660  # g/cm³ of one atomic mass unit per Å³
_CUTOFFS = (2.5, 5.0, 12.0)  # Å; the search widens only when the previous sphere was empty


@dataclass(frozen=True)
class Validity:
    """What `check` found.

    Attributes:
        charge_balanced: SMACT's verdict on the composition (see `charge_rule`).
        charge_rule: why: ``element`` or ``alloy`` (all metals; both pass by convention of the generative benchmarks),
            ``neutral`` (a neutral, Pauling-ordered assignment exists) or ``unbalanced``.
        min_distance: shortest distance between two atoms, periodic images included (Å); None when not computable or
            beyond 12 Å.
        density: g/cm³, None when not computable.
        reason: why the structure is impossible, None when it is possible.
    """

    charge_balanced: bool
    charge_rule: str
    min_distance: float | None
    density: float | None
    reason: str | None


def check(structure: Structure) -> Validity:
    """Judge one structure. Never raises: whatever is wrong with it ends up in `Validity.reason`."""
    try:
        return _check(structure)
    except Exception as error:  # structures come from anywhere; a stage must survive all of them
        return Validity(False, "unbalanced", None, None, f"not a readable structure ({type(error).__name__}: {error})")


def valid_stage(candidates: Iterable[Candidate], *, require_charge_balance: bool = False) -> Iterator[Candidate]:
    """Record charge balance, shortest distance (Å) and density (g/cm³); fail what is physically impossible.

    Candidates that already failed pass unchanged. With ``require_charge_balance`` an unbalanced composition fails too.
    """
    for candidate in candidates:
        if candidate.failure is not None:
            yield candidate
            continue
        if candidate.structure is None:
            yield candidate.fail("valid", "no structure to check")
            continue
        found = check(candidate.structure)
        candidate = candidate.add(
            charge_balanced=found.charge_balanced, min_distance=found.min_distance, density=found.density
        )
        if found.reason is not None:
            candidate = candidate.fail("valid", found.reason)
        elif require_charge_balance and not found.charge_balanced:
            candidate = candidate.fail("valid", f"no charge-neutral oxidation states for {candidate.formula}")
        yield candidate


def charge_rule(composition: Composition | Mapping[str, float], states: str = "icsd24") -> str:
    """Which rule decides the charge balance of a composition: element, alloy, neutral or unbalanced.

    ``states`` names the list of oxidation states: ``icsd24`` (seen at least once in the ICSD; ours), or ``smact14``,
    SMACT's first list, with which the compositional validity of generative models is published since CDVAE (Xie et al.,
    ICLR 2022, arXiv:2110.06197).

    Identical to ``smact.screening.smact_validity`` with ``ICSD24FilterConfig(consensus=1, commonality="low")``, Pauling
    test and alloys included, but found by a sum over sets instead of the product of all oxidation states: the cations
    of an assignment are exactly the elements below some electronegativity, so one pass per cut replaces millions of
    combinations in many-element compositions. Raises ValueError for amounts that are not integers.

    >>> charge_rule(Composition("BaTiO3")), charge_rule(Composition("NaCl3O9")), charge_rule(Composition("Cu3Au"))
    ('neutral', 'unbalanced', 'alloy')
    """
    amounts = Composition(composition).get_el_amt_dict()  # oxidation states dropped
    counts = {symbol: round(amount) for symbol, amount in amounts.items()}
    if not counts or any(abs(counts[symbol] - amounts[symbol]) > 1e-3 or counts[symbol] < 1 for symbol in counts):
        raise ValueError(f"amounts are not positive integers: {amounts}")
    divisor = math.gcd(*counts.values())
    return _charge_rule(tuple(sorted((symbol, count // divisor) for symbol, count in counts.items())), states)


def charge_balanced(composition: Composition | Mapping[str, float]) -> bool:
    """True unless the composition is neither an element, nor an alloy, nor neutral (`charge_rule`)."""
    return charge_rule(composition) != "unbalanced"


def min_distance(structure: Structure) -> float | None:
    """Shortest distance between two atoms of the crystal in Å, an atom and its own images included.

    None when it exceeds 12 Å. Linear in the number of atoms at usual densities.
    """
    for cutoff in _CUTOFFS:
        # an atom is no neighbour of itself, but its periodic images and coinciding other atoms are
        first, second, images, distances = structure.get_neighbor_list(cutoff, exclude_self=False)
        real = (first != second) | np.any(images != 0, axis=1)
        if real.any():
            return float(distances[real].min())
    return None


def _check(structure: Structure) -> Validity:
    """`check` without the safety net; cheap tests first, so that the later ones see finite numbers."""
    reason = _unusable(structure)
    if reason is not None:
        return Validity(False, "unbalanced", None, None, reason)
    rule = charge_rule(structure.composition)
    volume = float(structure.volume)
    density = float(structure.composition.weight) * _AMU_PER_A3 / volume
    per_atom = volume / len(structure)
    reason = None
    if not VOLUME_PER_ATOM[0] <= per_atom <= VOLUME_PER_ATOM[1]:
        reason = f"volume per atom {per_atom:.3g} Å³ outside {VOLUME_PER_ATOM[0]:g} to {VOLUME_PER_ATOM[1]:g}"
    elif not DENSITY[0] <= density <= DENSITY[1]:
        reason = f"density {density:.3g} g/cm³ outside {DENSITY[0]:g} to {DENSITY[1]:g}"
    if reason is not None:
        return Validity(rule != "unbalanced", rule, None, density, reason)
    shortest = min_distance(structure)
    if shortest is not None and shortest < MIN_DISTANCE:
        reason = f"atoms {shortest:.2f} Å apart, closer than {MIN_DISTANCE:g} Å"
    return Validity(rule != "unbalanced", rule, shortest, density, reason)


def _unusable(structure: Structure) -> str | None:
    """Why nothing can be computed from this structure, or None."""
    if len(structure) == 0:
        return "no atoms"
    if len(structure) > MAX_ATOMS:
        return f"{len(structure)} atoms per cell, more than {MAX_ATOMS}"
    if not structure.is_ordered:
        return "disordered: partial occupancies; order it first (genmat order)"
    unknown = sorted({str(site.specie) for site in structure if not _known(site.specie)})
    if unknown:
        return f"unknown element {', '.join(unknown)}"
    matrix = np.asarray(structure.lattice.matrix, dtype=float)
    if not (np.isfinite(matrix).all() and np.isfinite(structure.frac_coords).all()):
        return "lattice or coordinates are not finite numbers"
    if np.abs(structure.frac_coords).max() > MAX_FRACTION:
        return f"fractional coordinate of {np.abs(structure.frac_coords).max():.3g}, far from its cell"
    lengths = np.linalg.norm(matrix, axis=1)
    if lengths.max() > MAX_LENGTH:
        return f"lattice vector of {lengths.max():.4g} Å, longer than {MAX_LENGTH:g} Å"
    if lengths.min() < MIN_DISTANCE:
        return f"lattice vector of {lengths.min():.2g} Å, shorter than {MIN_DISTANCE:g} Å"
    if abs(np.linalg.det(matrix)) < 1e-6 * lengths.prod():
        return "lattice vectors span no volume"
    return None


def _known(specie: object) -> bool:
    """True for a chemical element, with or without an oxidation state; False for dummies such as X or Vac."""
    return Element.is_valid_symbol(str(getattr(specie, "symbol", specie)))


@lru_cache(maxsize=200_000)
def _charge_rule(formula: tuple[tuple[str, int], ...], source: str) -> str:
    """`charge_rule` of sorted (symbol, count) pairs without a common divisor."""
    symbols = [symbol for symbol, _ in formula]
    if len(symbols) == 1:
        return "element"
    metals, states, negativity = _smact(source)
    if all(symbol in metals for symbol in symbols):
        return "alloy"
    if any(symbol not in states or symbol not in negativity for symbol in symbols):
        return "unbalanced"
    ordered = sorted(formula, key=lambda pair: negativity[pair[0]])
    for cut in range(1, len(ordered)):
        # every cation must be strictly less electronegative than every anion (Pauling)
        if negativity[ordered[cut - 1][0]] == negativity[ordered[cut][0]]:
            continue
        cations = [(count, [q for q in states[symbol] if q > 0]) for symbol, count in ordered[:cut]]
        anions = [(count, [-q for q in states[symbol] if q < 0]) for symbol, count in ordered[cut:]]
        if not _sums(cations).isdisjoint(_sums(anions)):
            return "neutral"
    return "unbalanced"


def _sums(ions: list[tuple[int, list[int]]]) -> set[int]:
    """All total charges reachable when each element takes one of its states; empty when one has none."""
    totals = {0}
    for count, charges in ions:
        totals = {total + count * charge for total in totals for charge in charges}
    return totals


@cache
def _smact(source: str) -> tuple[frozenset[str], dict[str, tuple[int, ...]], dict[str, float]]:
    """SMACT's metals, oxidation states of a list (see `charge_rule`) and Pauling electronegativities."""
    from smact import Element as SmactElement
    from smact import metals

    states = _first_states() if source == "smact14" else _icsd_states()
    listed = {symbol: SmactElement(symbol).pauling_eneg for symbol in states}
    return frozenset(metals), states, {symbol: value for symbol, value in listed.items() if value is not None}


def _icsd_states() -> dict[str, tuple[int, ...]]:
    """Oxidation states seen at least once in the ICSD of 2024."""
    from smact.utils.oxidation import ICSD24OxStatesFilter

    table = ICSD24OxStatesFilter().filter(consensus=1, include_zero=False, commonality="low")
    return {
        str(element): tuple(int(state) for state in str(found).split())
        for element, found in zip(table["element"], table["oxidation_state"], strict=True)
    }


def _first_states() -> dict[str, tuple[int, ...]]:
    """SMACT's list of 2014, elements without any left out."""
    from smact import Element as SmactElement
    from smact import ordered_elements

    found = {symbol: SmactElement(symbol).oxidation_states_smact14 for symbol in ordered_elements(1, 103)}
    return {symbol: tuple(states) for symbol, states in found.items() if states}
