"""Facets of the lower hull, found as they are asked for and kept: in memory, and on disk for the next process.

A facet is an optimal basis of the linear programme (`simplex`): d phases of a system of d elements whose plane of
chemical potentials no phase lies below. It therefore answers, exactly, every composition inside its simplex: the
energy is the plane's, the mixture the barycentric weights. Compositions outside all known simplices are solved, which
gives their facet. No hull is ever built in full, so six elements or nine cost what their queries cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import numpy as np

from genmat.screening.facet_files import facet_file, load_facets, save_facets
from genmat.screening.phases import Phase, PhaseTable, Rows, symbols_of
from genmat.screening.simplex import FEASIBLE, Columns, invert, lowest_mixtures, runs

WORTH = 256  # new facets that make a file worth writing, or a quarter of the systems known: a whole file is written
DECIMALS = 12  # of weights
MOST_READY = 200_000  # facets kept with planes and inverses; all others by their phases alone
MOST_SYSTEMS = 300_000  # chemical systems whose facets are kept; then the older half is forgotten, so memory is bounded
MOST_QUERIES = 8192  # answered together
MOST_NUMBERS = 4_000_000  # in one array of heights, or in the matrices of the systems solved together (32 MB)


@dataclass(frozen=True)
class Mixtures:
    """Mixtures of least energy.

    Args:
        energies: (Q,) eV/atom, NaN for an empty composition.
        phases: (Q, most elements) rows of the phase table, -1 after the last.
        weights: (Q, most elements) shares of the atoms.
    """

    energies: np.ndarray
    phases: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Simplices:
    """Facets of systems of d elements: (F, d) phases, (F, d) planes in eV/atom, (F, d, d) barycentric inverses."""

    phases: np.ndarray
    planes: np.ndarray
    inverses: np.ndarray


class Facets:
    """All facets known of the hulls of one phase table.

    Args:
        table: the phases; elements at zero are always among them.
        fetch: phases of a chemical system ("Ba-O-Ti") from elsewhere, asked once per system; nothing is kept on disk.
        folder: where facets are kept, default `facet_files.cache_folder`.
    """

    def __init__(
        self, table: PhaseTable, fetch: Callable[[str], list[Phase]] | None = None, folder: Path | None = None
    ) -> None:
        self.table = table
        self.solved = 0  # queries that no known facet answered
        self._fetch = fetch
        self._fetched: set[bytes] = set()
        self._path = facet_file(table, folder) if fetch is None else None
        self._known = load_facets(self._path, len(table.formulas)) if self._path else {}  # (F, d) phases by system
        self._ready: dict[bytes, Simplices] = {}
        self._n_ready = 0
        self._new = 0

    def mixtures(self, rows: Rows, fresh: bool = False) -> Mixtures:
        """The mixture of least energy for each composition.

        Args:
            rows: Q compositions.
            fresh: use and keep no facet: of several mixtures of exactly equal energy it then does not depend on earlier
                questions which one is found. Otherwise facets are kept, on disk too if many of them are new.
        """
        n, width = rows.numbers.shape
        found = Mixtures(np.full(n, np.nan), np.full((n, width), -1, np.int32), np.zeros((n, width)))
        order, systems, first = rows.by_system()
        owner = np.repeat(np.arange(len(systems)), np.diff(first))
        sizes = np.array([len(system) for system in systems], int)[owner]  # ascending
        for d in sorted({len(system) for system in systems} - {0}):
            a, end = np.searchsorted(sizes, [d, d + 1]).tolist()
            for b in range(a, end, MOST_QUERIES):
                part = slice(b, min(b + MOST_QUERIES, end))
                self._answer(systems, owner[part], order[part], rows.shares[order[part], :d], found, fresh)
        if self._path is not None and self._new >= max(WORTH, len(self._known) // 4):
            if not save_facets(self._path, self._known, len(self.table.formulas), MOST_SYSTEMS):
                self._path = None  # full: what is found from here on is kept in memory alone
            self._new = 0
        if len(self._known) > MOST_SYSTEMS:
            self._known = dict(islice(self._known.items(), len(self._known) // 2, None))
            self._ready.clear()
            self._n_ready = 0
        return found

    def columns(self, system: bytes) -> Columns:
        """Linear programme of a chemical system: its elements and all phases below them."""
        numbers = np.frombuffer(system, np.uint8)
        ids = np.concatenate([np.arange(block.start, block.stop) for block in [*self._blocks(system), range(0)]])
        ids = np.concatenate([numbers.astype(int) - 1, ids[self.table.energies[ids] < 0]])
        d, width = len(system), self.table.numbers.shape[1]
        place = np.full(256, d)
        place[numbers] = np.arange(d)
        matrix = np.zeros((d + 1, len(ids)))  # the last row takes what is no element
        place = place[self.table.numbers[ids, : min(d, width)]]
        matrix[place, np.arange(len(ids))[:, None]] = self.table.shares[ids, : min(d, width)]
        return Columns(ids, np.ascontiguousarray(matrix[:d]), self.table.energies[ids])

    def fetch(self, systems: Iterable[bytes]) -> None:
        """Bring phases of systems and their subsystems into the table, where they come from elsewhere."""
        if self._fetch is None:
            return
        for system in systems:
            for part in _parts(system):
                if part not in self._fetched:
                    phases = self._fetch("-".join(symbols_of(part)))
                    self.table.add([p.formula for p in phases], [p.energy for p in phases])
                    self._fetched.add(part)

    def _blocks(self, system: bytes) -> list[range]:
        """Ranges of the phases of a system and its subsystems."""
        blocks = self.table.blocks
        if 2 ** len(system) > len(blocks):
            return [block for part, block in blocks.items() if set(part) <= set(system)]
        return [blocks[part] for part in _parts(system) if part in blocks]

    def _answer(
        self,
        systems: list[bytes],
        owner: np.ndarray,
        at: np.ndarray,
        targets: np.ndarray,
        found: Mixtures,
        fresh: bool,
    ) -> None:
        """Answer (q, d) targets, sorted by system, at their places ``at``: by facets known, the rest by new ones."""
        present = [systems[i] for i, _, _ in runs(owner)]
        self.fetch(present)
        missed = np.arange(len(owner))
        if not fresh:
            self._prepare(present)
            missed = self._look_up(systems, owner, at, targets, found)
        for a, b, columns in self._programmes(systems, owner[missed]):
            rows = missed[a:b]
            number = np.cumsum(np.diff(owner[rows], prepend=owner[rows[0]]) > 0)
            optimum, phases = self._solve(columns, number, at[rows], targets[rows], found)
            if not fresh:
                self._keep([systems[k] for k, _, _ in runs(owner[rows])], number[optimum], phases[optimum])

    def _write(self, at: np.ndarray, phases: np.ndarray, weights: np.ndarray, found: Mixtures) -> None:
        """Write phases (q, d) and weights (q, d) to their places, and the energies they give.

        Rounded weights, added up in turn: the same to the last bit whichever facet that holds a composition gave them.
        """
        weights = np.round(np.maximum(weights, 0.0), DECIMALS)
        energies = np.zeros(len(at))
        for k in range(phases.shape[1]):
            energies += weights[:, k] * self.table.energies[phases[:, k]]
        found.energies[at] = energies
        found.phases[at, : phases.shape[1]] = phases
        found.weights[at, : phases.shape[1]] = weights

    # -- known facets ---------------------------------------------------------------------------------------------

    def _prepare(self, systems: Iterable[bytes]) -> None:
        """Planes and inverses of the known facets of these systems."""
        if self._n_ready > MOST_READY:
            self._ready.clear()
            self._n_ready = 0
        some = [system for system in systems if system not in self._ready and system in self._known]
        if not some:
            return
        phases = [self._known[system] for system in some]
        counts = np.array([len(p) for p in phases])
        together = np.concatenate(phases)
        numbers = np.frombuffer(b"".join(some), np.uint8).reshape(len(some), -1).repeat(counts, axis=0)
        inverses = invert(self._matrices(numbers, together))
        planes = np.einsum("fi,fij->fj", self.table.energies[together], inverses)
        ends = np.cumsum(counts)
        for system, a, b in zip(some, (ends - counts).tolist(), ends.tolist(), strict=True):
            self._ready[system] = Simplices(together[a:b], planes[a:b], inverses[a:b])
        self._n_ready += len(together)

    def _matrices(self, numbers: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """(F, d elements, d phases) atomic fractions of phases (F, d) in the order of the elements (F, d)."""
        d = numbers.shape[1]
        matrices = np.zeros((len(phases), d, d))
        for k in range(min(d, self.table.numbers.shape[1])):
            here = self.table.numbers[phases, k][:, None, :] == numbers[:, :, None]
            matrices += here * self.table.shares[phases, k][:, None, :]
        return matrices

    def _look_up(
        self, systems: list[bytes], owner: np.ndarray, at: np.ndarray, targets: np.ndarray, found: Mixtures
    ) -> np.ndarray:
        """Answer targets by the highest plane of their system; positions of those outside all known simplices."""
        known = [(s, a, b) for s, a, b in runs(owner) if systems[s] in self._ready]
        if not known:
            return np.arange(len(owner))
        ready = [self._ready[systems[s]] for s, _, _ in known]
        starts = np.cumsum([0, *(len(facets.planes) for facets in ready)]).tolist()
        phases = np.concatenate([facets.phases for facets in ready])
        inverses = np.concatenate([facets.inverses for facets in ready])
        best = np.zeros(len(owner), int)
        inside = np.zeros(len(owner), bool)
        for (_, a, b), start, facets in zip(known, starts, ready, strict=False):
            for c, e in _portions(a, b, len(facets.planes)):
                best[c:e] = start + (targets[c:e] @ facets.planes.T).argmax(axis=1)
            inside[a:b] = True
        weights = (inverses[best] @ targets[:, :, None])[:, :, 0]
        out = inside & ~(weights.min(axis=1) >= -FEASIBLE)
        if out.any():
            for (_, a, b), start, facets in zip(known, starts, ready, strict=False):
                for c, e in _portions(a, b, len(facets.planes)):
                    q = c + np.flatnonzero(out[c:e])
                    if len(q):
                        best[q] = start + _same_plane(facets, targets[q])
            weights[out] = (inverses[best[out]] @ targets[out][:, :, None])[:, :, 0]
            inside[out] = weights[out].min(axis=1) >= -FEASIBLE
        self._write(at[inside], phases[best[inside]], weights[inside], found)
        return np.flatnonzero(~inside)

    # -- new facets -----------------------------------------------------------------------------------------------

    def _programmes(self, systems: list[bytes], owner: np.ndarray) -> Iterator[tuple[int, int, list[Columns]]]:
        """Ranges of queries and the linear programmes of their systems, as many at a time as fit into memory."""
        begin, size, columns = 0, 0, []
        for system, a, b in runs(owner):
            columns.append(self.columns(systems[system]))
            size += columns[-1].matrix.size + (b - a) * len(columns[-1].ids)
            if size > MOST_NUMBERS or b == len(owner):
                yield begin, b, columns
                begin, size, columns = b, 0, []

    def _solve(
        self, columns: list[Columns], owner: np.ndarray, at: np.ndarray, targets: np.ndarray, found: Mixtures
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answer targets by the linear programmes of their systems: which bases are facets, and their (q, d) phases."""
        optimum = lowest_mixtures(columns, owner, targets)
        starts = np.cumsum([0, *(len(c.ids) for c in columns)])
        phases = np.concatenate([c.ids for c in columns])[starts[owner][:, None] + optimum.basis]
        weights = (optimum.inverse @ targets[:, :, None])[:, :, 0]
        order = phases.argsort(axis=1)
        phases = np.take_along_axis(phases, order, axis=1)
        self._write(at, phases, np.take_along_axis(weights, order, axis=1), found)
        self.solved += len(at)
        return optimum.valid, phases

    def _keep(self, systems: list[bytes], owner: np.ndarray, phases: np.ndarray) -> None:
        """Remember facets: (q, d) phases of the systems they belong to."""
        facets = np.unique(np.column_stack([owner, phases]), axis=0)
        self._new += len(facets)
        for number, a, b in runs(facets[:, 0]):
            system, new = systems[number], facets[a:b, 1:].astype(np.int32)
            old = self._known.get(system)
            self._known[system] = new if old is None else np.concatenate([old, new])
            self._ready.pop(system, None)


def _parts(system: bytes) -> Iterator[bytes]:
    """A chemical system's subsystems and itself."""
    return (bytes(part) for size in range(1, len(system) + 1) for part in combinations(system, size))


def _portions(a: int, b: int, width: int) -> Iterator[tuple[int, int]]:
    """The range from a to b in pieces whose arrays of ``width`` columns fit into memory."""
    step = max(1, MOST_NUMBERS // width)
    return ((c, min(c + step, b)) for c in range(a, b, step))


def _same_plane(facets: Simplices, targets: np.ndarray) -> np.ndarray:
    """For each target (q, d) the facet, of those whose planes are highest, that holds it (any if none does).

    Coplanar phases make several simplices share a plane.
    """
    heights = targets @ facets.planes.T
    q, f = np.nonzero(heights >= heights.max(axis=1, keepdims=True) - FEASIBLE)
    least = (facets.inverses[f] @ targets[q][:, :, None])[:, :, 0].min(axis=1)
    order = np.lexsort((least, q))  # the last of each query is the one furthest inside
    best = np.zeros(len(targets), int)
    best[q[order]] = f[order]
    return best
