"""Convex hulls of formation energies, one source of energies each.

The energy above the hull is a linear programme: of all mixtures of reference phases with the composition asked for,
the one of least energy (its dual values are the chemical potentials). Solved per query with HiGHS it is exact in any
number of elements, where facets computed once would need near-vertical ones to be dropped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from genmat.crystal.composition import parse_formula, reduce_amounts, reduced_formula
from genmat.errors import GenmatError, RunError

if TYPE_CHECKING:
    from genmat.candidate import Candidate

_PART = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)\s*")
_PLAIN = re.compile(r"\s*(?:[A-Z][a-z]?\d*\.?\d*\s*)+")
SHARE = 1e-4  # smaller shares of a decomposition are rounding


@lru_cache(maxsize=200_000)
def amounts(formula: str) -> tuple[tuple[str, float], ...]:
    """Amounts of a formula (brackets, blanks and decimals allowed), elements in alphabetical order.

    >>> amounts("Ba1 Ti1 O3")
    (('Ba', 1.0), ('O', 3.0), ('Ti', 1.0))

    Raises:
        GenmatError: it cannot be read.
    """
    if not _PLAIN.fullmatch(formula):
        return tuple(sorted((symbol, float(n)) for symbol, n in parse_formula(formula).items()))
    found: dict[str, float] = defaultdict(float)
    for symbol, number in _PART.findall(formula):
        found[symbol] += float(number) if number else 1.0
    return tuple(sorted(found.items()))


def fractions(composition: Mapping[str, float] | str) -> dict[str, float]:
    """Atomic fractions of a composition: a mapping of symbols (or pymatgen's) or a plain formula."""
    pairs = amounts(composition) if isinstance(composition, str) else [(str(k), v) for k, v in composition.items()]
    total = sum(value for _, value in pairs)
    return {symbol: value / total for symbol, value in pairs if value > 0}


@dataclass(frozen=True)
class Phase:
    """A reference phase: plain formula and formation energy (eV/atom)."""

    formula: str
    energy: float

    @property
    def fractions(self) -> dict[str, float]:
        """Atomic fractions."""
        return fractions(self.formula)

    @property
    def unit(self) -> tuple[str, float]:
        """Reduced formula and the atoms in it."""
        values = dict(amounts(self.formula))
        if any(value != round(value) for value in values.values()):
            return self.formula, sum(values.values())
        whole = reduce_amounts({symbol: round(value) for symbol, value in values.items()})
        return reduced_formula(whole), sum(whole.values())


@dataclass(frozen=True)
class ReferenceHull:
    """Reference phases of one source, and the way from a potential's energies to formation energies.

    Args:
        source: of the phases' energies, "chgnet-0.3.0" or "dft:MP2020".
        references: eV per atom of each element, subtracted from total energies.
        phases: chemical system ("Ba-O-Ti", sorted) -> phases of exactly these elements.
        energy_source: of the total energies `formation_energy` accepts (the potential the references belong to).
        note: one line on how the references were made and how good they are.
        fetch: fills ``phases`` on demand, given a chemical system (remote databases).
    """

    source: str
    references: Mapping[str, float]
    phases: Mapping[str, list[Phase]]
    energy_source: str
    note: str = ""
    fetch: Callable[[str], list[Phase]] | None = None
    _systems: dict = field(default_factory=dict, repr=False, compare=False)

    def formation_energy(
        self, composition: Mapping[str, float] | str, energy_per_atom: float, source: str | None = None
    ) -> float:
        """Formation energy in eV/atom from a total energy in eV/atom.

        Raises:
            GenmatError: the energy comes from another source than the references, or an element has none.
        """
        if source is not None and source != self.energy_source:
            raise RunError(
                f"{source}: its energies cannot be placed on a hull made for {self.energy_source}; "
                "give a reference computed with the same potential"
            )
        shares = fractions(composition)
        self._check_elements(shares)
        return energy_per_atom - sum(share * self.references[symbol] for symbol, share in shares.items())

    def e_above_hull(self, composition: Mapping[str, float] | str, e_form: float) -> tuple[float, str]:
        """Distance to the hull of the reference phases, eV/atom, and what the composition decomposes into.

        Negative when it lies below all mixtures of them. Shares are of formula units: ``"0.50 BaO + 0.50 TiO2"``.

        Raises:
            GenmatError: an element without reference.
        """
        shares = fractions(composition)
        self._check_elements(shares)
        symbols = tuple(sorted(shares))
        phases, matrix, energies = self._system(symbols)
        energy, weights = _lowest_mixture(matrix, energies, np.array([shares[s] for s in symbols]))
        parts = [(phases[i].unit, weights[i]) for i in np.flatnonzero(weights > SHARE)]
        moles = sorted(((weight / atoms, name) for (name, atoms), weight in parts), key=lambda m: (-m[0], m[1]))
        total = sum(mole for mole, _ in moles)
        text = " + ".join(f"{mole / total:.2f} {name}" for mole, name in moles)
        return e_form - energy, text

    def entries(self, elements: Iterable[str]) -> list[Phase]:
        """All reference phases made of these elements only, the lowest of each composition."""
        return list(self._system(tuple(sorted(set(elements))))[0])

    def _check_elements(self, symbols: Iterable[str]) -> None:
        missing = sorted(s for s in symbols if s not in self.references)
        if missing:
            raise GenmatError(f"{', '.join(missing)}: no elemental reference in {self.source}; leave the element out")

    def _system(self, symbols: tuple[str, ...]) -> tuple[list[Phase], np.ndarray, np.ndarray]:
        """Phases of a chemical system and its subsystems: list, (elements, phases) fractions, (phases,) eV/atom."""
        if symbols not in self._systems:
            best: dict[tuple, Phase] = {}  # by composition
            for size in range(1, len(symbols) + 1):
                for part in combinations(symbols, size):
                    for phase in self._exactly("-".join(part)):
                        _keep_lowest(best, phase)
            for symbol in symbols:  # the reference of an element is zero by definition
                _keep_lowest(best, Phase(symbol, 0.0))
            phases = list(best.values())
            matrix = np.array([[p.fractions.get(s, 0.0) for p in phases] for s in symbols])
            if len(self._systems) > 5000:
                self._systems.clear()
            self._systems[symbols] = (phases, matrix, np.array([p.energy for p in phases]))
        return self._systems[symbols]

    def _exactly(self, system: str) -> list[Phase]:
        if self.fetch is not None:
            return self.fetch(system)
        return self.phases.get(system, [])


def _keep_lowest(best: dict[tuple, Phase], phase: Phase) -> None:
    key = tuple((symbol, round(share, 6)) for symbol, share in phase.fractions.items())
    if key not in best or phase.energy < best[key].energy:
        best[key] = phase


def _lowest_mixture(matrix: np.ndarray, energies: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Least energy of non-negative weights (of atoms) that mix to ``target``: (eV/atom, (phases,))."""
    if len(target) == 1:
        weights = np.zeros(len(energies))
        weights[energies.argmin()] = 1.0
        return float(energies.min()), weights
    from scipy.optimize import linprog

    found = linprog(energies, A_eq=matrix, b_eq=target, bounds=(0, None), method="highs")
    if found.status != 0:
        raise GenmatError(f"hull: {found.message}; report the composition")
    return float(found.fun), found.x


def group_phases(formulas: Iterable[str], energies: Iterable[float]) -> dict[str, list[Phase]]:
    """Sort phases by chemical system; of equal formulas the lowest energy stays."""
    lowest: dict[str, float] = {}
    for formula, energy in zip(formulas, energies, strict=True):
        if energy < lowest.get(formula, np.inf):
            lowest[formula] = float(energy)
    systems: dict[str, list[Phase]] = defaultdict(list)
    for formula, energy in lowest.items():
        systems["-".join(symbol for symbol, _ in amounts(formula))].append(Phase(formula, energy))
    return dict(systems)


def hull_stage(candidates: Iterable[Candidate], hull: ReferenceHull) -> Iterator[Candidate]:
    """Place relaxed candidates on the hull.

    Adds ``formation_energy_per_atom`` and ``e_above_hull`` (eV/atom), ``decomposition``, ``chemsys``, ``hull_source``.

    Raises:
        GenmatError: energies of another source than the hull's references: a mistake of the whole run, not of one
            candidate.
    """
    for candidate in candidates:
        if candidate.failure is not None:
            yield candidate
            continue
        energy, structure = candidate.results.get("energy_per_atom"), candidate.structure
        if energy is None or structure is None:
            yield candidate.fail("hull", "no relaxed energy")
            continue
        shares = fractions({e.symbol: n for e, n in structure.composition.items()})
        missing = sorted(set(shares) - set(hull.references))
        if missing:
            yield candidate.fail("hull", f"no elemental reference for {', '.join(missing)}")
            continue
        formation = hull.formation_energy(shares, energy, candidate.results.get("potential"))
        above, decomposition = hull.e_above_hull(shares, formation)
        yield candidate.add(
            formation_energy_per_atom=formation,
            e_above_hull=above,
            decomposition=decomposition,
            chemsys="-".join(sorted(shares)),
            hull_source=hull.source,
        )
