"""Convex hulls of formation energies, one source of energies each.

The energy above the hull is a linear programme: of all mixtures of reference phases with the composition asked for,
the one of least energy (its dual values are the chemical potentials). `facets` answers it exactly in any number of
elements, for one composition or a hundred thousand, from the facets it has met and otherwise by the simplex method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, overload

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, ELEMENTS
from genmat.errors import GenmatError, RunError
from genmat.screening.facets import Facets, Mixtures
from genmat.screening.phases import (
    Phase,
    PhaseTable,
    Rows,
    amounts,
    fractions,
    group_phases,
    read_formulas,
    read_mappings,
    read_matrix,
    system_of,
)

if TYPE_CHECKING:
    from genmat.candidate import Candidate

__all__ = ["Decompositions", "Phase", "ReferenceHull", "amounts", "fractions", "group_phases", "hull_stage"]

SHARE = 1e-4  # of the atoms; smaller ones are left out of the text of a decomposition
ROUNDING = 1e-8  # smaller shares are none


@dataclass(frozen=True)
class Decompositions(Sequence[str]):
    """What compositions decompose into, as texts made on demand: ``"0.50 BaO + 0.50 TiO2"``, shares of formula units.

    Args:
        table: the phases.
        mixtures: rows and atomic weights of each decomposition's phases.
        failures: why a composition has none (its text is empty): position -> one line.
    """

    table: PhaseTable
    mixtures: Mixtures
    failures: Mapping[int, str]

    def parts(self, index: int) -> list[tuple[Phase, float]]:
        """Phases of a decomposition and their shares of the atoms, down to rounding."""
        weights = self.mixtures.weights[index]
        mixing = np.flatnonzero(weights > ROUNDING).tolist()
        return [(self.table.phase(int(self.mixtures.phases[index, k])), float(weights[k])) for k in mixing]

    def __len__(self) -> int:
        return len(self.mixtures.energies)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        units = [(*phase.unit, weight) for phase, weight in self.parts(index) if weight > SHARE]
        total = sum(weight / atoms for _, atoms, weight in units)
        moles = sorted((-round(weight / atoms / total, 6), name) for name, atoms, weight in units)
        return " + ".join(f"{-mole:.2f} {name}" for mole, name in moles)


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
        The same to the last bit whatever was asked before.

        Raises:
            GenmatError: an element without reference, or no composition at all.
        """
        shares = fractions(composition)
        self._check_elements(shares)
        rows, failures = read_mappings([shares])
        if failures:
            raise GenmatError(f"{composition}: {failures[0]}")
        mixtures = self.facets.mixtures(rows, fresh=True)
        return e_form - float(mixtures.energies[0]), Decompositions(self.facets.table, mixtures, {})[0]

    def e_above_hull_many(
        self,
        compositions: Sequence[str] | Sequence[Mapping[str, float]] | np.ndarray,
        e_forms: Sequence[float] | np.ndarray,
        elements: Sequence[str] | None = None,
    ) -> tuple[np.ndarray, Decompositions]:
        """`e_above_hull` of many compositions at once; facets found on the way are kept on disk for the next process.

        Energies are those of `e_above_hull` to rounding (1e-12), and so are decompositions, unless several have exactly
        the same energy: then one of them is given.

        A batch does not fail for one of its rows: where a composition cannot be read or has an element without
        reference the energy is NaN, the decomposition empty, and ``decompositions.failures`` gives the reason.

        Args:
            compositions: Q formulas, Q mappings of symbols to amounts, or a matrix (Q, elements) of amounts.
            e_forms: (Q,) formation energies in eV/atom.
            elements: symbols of the columns of the matrix.

        Returns:
            (Q,) eV/atom, negative below all mixtures of reference phases; the decompositions, read on demand.

        Raises:
            GenmatError: lengths or shapes that do not fit each other.
        """
        rows, failures = _read(compositions, elements)
        energies = np.asarray(e_forms, float)
        if energies.shape != (len(rows),):
            raise GenmatError(f"e_forms: shape {energies.shape} for {len(rows)} compositions; give one energy for each")
        covered = np.zeros(256, bool)
        covered[[0, *(ATOMIC_NUMBER[symbol] for symbol in self.references if symbol in ATOMIC_NUMBER)]] = True
        without = ~covered[rows.numbers].all(axis=1)
        for i in np.flatnonzero(without).tolist():
            numbers = rows.numbers[i]
            missing = [ELEMENTS[number - 1] for number in numbers[~covered[numbers]].tolist()]
            failures[i] = f"{', '.join(missing)}: no elemental reference in {self.source}; leave the element out"
        rows = Rows(np.where(without[:, None], 0, rows.numbers).astype(np.uint8), rows.shares)
        mixtures = self.facets.mixtures(rows)
        return energies - mixtures.energies, Decompositions(self.facets.table, mixtures, failures)

    def entries(self, elements: Iterable[str]) -> list[Phase]:
        """All reference phases made of these elements only, the lowest of each composition."""
        symbols = sorted(set(elements))
        self.facets.fetch([system_of(symbols)])
        found: list[Phase] = []
        for size in range(1, len(symbols) + 1):
            for part in combinations(symbols, size):
                phases = self.facets.table.lowest(system_of(part))
                if size == 1 and not (phases and phases[0].energy <= 0):
                    phases = [Phase(part[0], 0.0)]  # the reference of an element is zero by definition
                found += phases
        return found

    @cached_property
    def facets(self) -> Facets:
        """The facets met so far, and the phases as arrays."""
        if self.fetch is not None:
            return Facets(PhaseTable(), self.fetch)
        if isinstance(self.phases, PhaseTable):
            return Facets(self.phases)
        phases = [phase for system in self.phases.values() for phase in system]
        return Facets(PhaseTable([p.formula for p in phases], [p.energy for p in phases]))

    def _check_elements(self, symbols: Iterable[str]) -> None:
        missing = sorted(s for s in symbols if s not in self.references)
        if missing:
            raise GenmatError(f"{', '.join(missing)}: no elemental reference in {self.source}; leave the element out")


def _read(compositions: Sequence | np.ndarray, elements: Sequence[str] | None) -> tuple[Rows, dict[int, str]]:
    """Compositions as rows, and why some could not be read."""
    if elements is not None:
        return read_matrix(np.asarray(compositions, float), elements)
    given = list(compositions)
    if all(isinstance(c, str) for c in given):
        return read_formulas(given)
    if all(isinstance(c, Mapping) for c in given):
        return read_mappings(given)
    raise GenmatError("compositions: neither formulas nor mappings; give one kind, or a matrix with its elements")


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
