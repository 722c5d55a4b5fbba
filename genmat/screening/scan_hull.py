"""The hull decorations are placed on: DFT's, or one of the network's own energies of the known phases."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.slots import MOST_SLOTS
from genmat.data.crystal_table import label_table
from genmat.data.graph_predict import load_graph_model, predict_rows
from genmat.data.prototypes import load_prototypes
from genmat.errors import GenmatError
from genmat.screening.facet_files import cache_folder
from genmat.screening.hull import ReferenceHull
from genmat.screening.phases import group_phases

if TYPE_CHECKING:
    from genmat.screening.scan import ScanSettings


def hull_phases(
    settings: ScanSettings, systems: Iterable[frozenset[str]] | None = None
) -> tuple[list[str], list[float]]:
    """Formulas and formation energies (eV/atom) of the phases a scan is measured against.

    `systems`: where only compositions of these elements are to be placed, the network's own hull needs no others.

    A hull is made of energies of one source: DFT formation energies of the network's own level of theory where a table
    is given, else the network's own energies of the known phases near the Materials Project's hull.

    Raises:
        GenmatError: a table of another level of theory.
    """
    from genmat.screening.reference import load_reference, read_table

    model, allowed = load_graph_model(Path(settings.model)), set(settings.elements)
    if settings.reference:
        hull = load_reference(settings.reference)
        if hull.source != model.config.source:
            raise GenmatError(
                f"{settings.reference}: energies of {hull.source}; the network's are {model.config.source}, give such"
            )
        found = hull.entries(allowed) if len(allowed) < 8 else [p for s in hull.phases for p in hull.phases[s]]
        found = [phase for phase in found if set(phase.fractions) <= allowed]
        return [phase.formula for phase in found], [phase.energy for phase in found]
    table = read_table()
    held = [label.rpartition(":")[2].split("-") for label in table.label]  # a few hold more elements than can be placed
    parts = None if systems is None else {part for system in systems for part in subsets(system)}
    inside = [
        set(symbols) <= allowed and len(symbols) <= MOST_SLOTS and (parts is None or frozenset(symbols) in parts)
        for symbols in held
    ]
    table = table[np.array(inside) & (table.label != "")]
    energies = network_energies(model, settings, table.label.tolist())
    single = table.formula.map(lambda formula: sum(c.isupper() for c in formula) == 1).to_numpy()
    return table.formula.tolist(), np.where(single, 0.0, energies).tolist()


def network_energies(model: Any, settings: ScanSettings, labels: list[str]) -> np.ndarray:
    """What a network says of protostructures, eV/atom; all known phases take it most of a minute, so the answer to
    the same question is kept with everything else that can be computed again."""
    asked = hashlib.sha256("\n".join(labels).encode())
    for _, file in sorted(settings.files().items()):
        asked.update(file.read_bytes())
    path = cache_folder() / f"energies-v1-{asked.hexdigest()[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        kept = np.load(path)
        if kept.shape == (len(labels),) and np.isfinite(kept).all():
            return kept
    prototypes = load_prototypes(None if settings.prototypes is None else Path(settings.prototypes))
    known = label_table(labels, prototypes)
    energies = predict_rows(model, known, np.arange(len(known)))["energy"]
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, energies)
        partial.replace(path)
    return energies


def subsets(system: frozenset[str]) -> Iterator[frozenset[str]]:
    """Every choice of at least one element."""
    for n in range(1, len(system) + 1):
        yield from map(frozenset, combinations(system, n))


def network_hull(elements: Iterable[str], source: str, phases: tuple[list[str], list[float]]) -> ReferenceHull:
    """The hull of `hull_phases`; `source` is the network's level of theory."""
    return ReferenceHull(source, dict.fromkeys(elements, 0.0), group_phases(*phases), source)
