"""One set of orderings of a mixed crystal, evaluated with one potential under one protocol, in one campaign."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genmat.campaign import Campaign, Stage
from genmat.candidate import Candidate
from genmat.crystal import disorder
from genmat.crystal.parents import Merge, mixing
from genmat.errors import GenmatError
from genmat.screening.ordering.enumerate import Counts, Ordering, decorated, orderings, sublattices, target_counts
from genmat.screening.ordering.parent import Parent
from genmat.screening.ordering.protocols import energy_stage
from genmat.screening.ordering.thermo import Thermodynamics, thermodynamics

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

MOST_ORDERINGS = 150
PotentialLoader = Callable[[], "Potential"]


@dataclass(frozen=True)
class Ensemble:
    """The decorations of one supercell size at one composition.

    Attributes:
        parent: the lattice.
        merge: which elements mix.
        cells: primitive cells of the supercell.
        counts: decorations of each shared sublattice.
        members: every ordering that fits the supercell, of ``cells`` or a divisor of it.
        exact: whether the composition is the parent's own.
    """

    parent: Parent
    merge: Merge
    cells: int
    counts: Counts
    members: tuple[Ordering, ...]
    exact: bool

    @property
    def sites(self) -> int:
        """Shared sites in the supercell."""
        return len(self.parent.active) * self.cells

    @property
    def atoms(self) -> int:
        """Atoms in the supercell, vacancies not counted."""
        fixed = (len(self.parent.coords) - len(self.parent.active)) * self.cells
        kinds = [self.parent.species(int(sites[0])) for sites in sublattices(self.parent)]
        return fixed + sum(
            n for names, held in zip(kinds, self.counts, strict=True)
            for name, n in zip(names, held, strict=True) if name != "Va"
        )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one potential says under one protocol.

    Attributes:
        potential: its source.
        protocol: see `genmat.screening.ordering.protocols`.
        candidates: all orderings, in the order enumerated.
        lowest: id of the lowest that stayed on the lattice; None when none did.
        left: how many left the lattice or failed; they are in no average.
        thermodynamics: None when nothing is left.
    """

    potential: str
    protocol: str
    candidates: tuple[Candidate, ...]
    lowest: str | None
    left: int
    thermodynamics: Thermodynamics | None


def ensemble(structure: Structure, parent: Parent, max_atoms: int, most: int = MOST_ORDERINGS) -> Ensemble:
    """The largest supercell whose orderings number at most `most`, in which the fractions come out whole if possible.

    Args:
        structure: the disordered crystal the parent was made of.
        parent: its lattice.
        max_atoms: sites in the supercell at most.
        most: orderings at most.

    Raises:
        GenmatError: not even one primitive cell, or the smallest supercell with more than one ordering, fits.
    """
    merge = mixing(structure)
    largest = max_atoms // len(parent.coords)
    step = parent.commensurate
    whole = list(range(step, largest + 1, step))
    # where no size makes the fractions whole, the largest comes nearest to them
    sizes = whole or list(range(largest, 0, -1))
    if not sizes:
        raise GenmatError(
            f"{structure.composition.reduced_formula}: {len(parent.coords)} sites in the primitive cell, more than "
            f"{max_atoms}; raise --max-atoms"
        )
    best: Ensemble | None = None
    reason = f"more than {most} orderings"
    for cells in sizes:
        try:
            members = _members(parent, cells, most)
        except GenmatError as error:
            reason, members = str(error), None
        if members is not None:
            best = Ensemble(parent, merge, cells, target_counts(parent, cells), members, cells % step == 0)
        if (members is None) == bool(whole):  # the next is larger and has more, or this one is the largest that fits
            break
    if best is None:
        raise GenmatError(f"{structure.composition.reduced_formula}: {sizes[0]} cells have {reason}; raise --most")
    if len(best.members) < 2:
        raise GenmatError(
            f"{structure.composition.reduced_formula}: one ordering only in {best.cells} cells; raise --max-atoms"
        )
    return best


def _members(parent: Parent, cells: int, most: int) -> tuple[Ordering, ...] | None:
    """All orderings at the composition of ``cells`` in it and its divisors; None beyond `most`."""
    target, found = target_counts(parent, cells), []
    for size in (d for d in range(1, cells + 1) if cells % d == 0):
        if any(n * size % cells for held in target for n in held):
            continue
        counts = tuple(tuple(n * size // cells for n in held) for held in target)
        for ordering in orderings(parent, size, counts):
            found.append(ordering)
            if len(found) > most:
                return None
    return tuple(found)


def evaluate(
    folder: Path,
    given: Ensemble,
    extra: Sequence[Ordering],
    load: PotentialLoader,
    source: str,
    protocol: str,
    *,
    fmax: float = 0.05,
    max_steps: int = 200,
    workers: int = 1,
    fresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Energies of an ensemble's orderings and of `extra` ones, recorded one by one; a rerun goes on where it ended.

    Raises:
        GenmatError: the folder holds another run.
    """
    members = (*given.members, *extra)
    digest = hashlib.sha256(repr((given.parent.matrix.round(6).tolist(), [o.id for o in members])).encode())
    settings = {
        "potential": source, "protocol": protocol, "fmax": fmax, "max_steps": max_steps,
        "parent": digest.hexdigest()[:12], "orderings": len(members),
    }  # fmt: skip
    wanted = {ordering.id for ordering in given.members}

    def stage(candidates):  # the potential is loaded only if something is left to do
        return energy_stage(candidates, load(), protocol, given.merge, fmax=fmax, max_steps=max_steps, workers=workers)

    with Campaign.open(folder, command="order", settings=settings, fresh=fresh) as campaign:
        candidates = campaign.source(lambda: [_candidate(given.parent, ordering) for ordering in members])
        done = campaign.run(Stage("relax", stage), candidates, progress)
    target = [c for c in done if c.id in wanted]
    kept = [c for c in target if settled(c)]
    if not kept:
        return Outcome(source, protocol, tuple(done), None, len(target), None)
    lowest = min(kept, key=lambda c: (c.results["energy_per_atom"], c.id))
    statistics = thermodynamics(
        [c.results["energy_per_atom"] for c in kept],
        [c.provenance["degeneracy"] for c in kept],
        given.atoms,
        given.sites,
        given.parent.ideal_entropy,
    )
    return Outcome(source, protocol, tuple(done), lowest.id, len(target) - len(kept), statistics)


def settled(candidate: Candidate) -> bool:
    """Whether an ordering has an energy and is still one of its parent."""
    return candidate.alive and bool(candidate.results.get("on_lattice"))


def _candidate(parent: Parent, ordering: Ordering) -> Candidate:
    facts = {"cells": ordering.cells, "degeneracy": ordering.degeneracy, "counts": [list(c) for c in ordering.counts]}
    return Candidate(ordering.id, "order", None, decorated(parent, ordering), provenance=facts)


def label_of(structure: Structure) -> str:
    """Label of a crystal, ordered or not; its formula where there is no symmetry to find."""
    try:
        return disorder.from_structure(structure).label
    except GenmatError:
        return structure.composition.reduced_formula
