"""Before anything is relaxed: what crystal-graph attention thinks of a candidate's protostructure.

The network reads no coordinates, and its hull is of its own energies of the known phases, so that what it gets wrong of
both cancels. It errs otherwise than the language model does: where both like a candidate it is stable far more often
than where one does (`benchmarks/prescreen.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.slots import MOST_SLOTS


def prescreen_stage(candidates: Iterable[Candidate], model: Path) -> Iterator[Candidate]:
    """Add ``scan_e_above_hull`` and its standard deviation ``scan_sigma`` (eV/atom); a whole-set stage.

    Candidates without a protostructure, or of more elements than a prototype can hold, pass without.

    Args:
        candidates: of any number.
        model: folder of a snapshot of the network.

    Raises:
        GenmatError: no such network there.
    """
    everyone = list(candidates)
    protos = [candidate.protostructure for candidate in everyone]
    readable = [i for i, proto in enumerate(protos) if proto and len(proto.composition) <= MOST_SLOTS]
    if not readable:
        yield from everyone
        return
    labels = [protos[i].label for i in readable]  # type: ignore[union-attr]
    above, sigma = above_own_hull(labels, [everyone[i].formula for i in readable], model)
    place = {i: k for k, i in enumerate(readable)}
    for i, candidate in enumerate(everyone):
        k = place.get(i)
        if k is None:
            yield candidate
        else:
            told = {"scan_e_above_hull": above[k], "scan_sigma": sigma[k]}
            yield candidate.add(**{name: round(float(value), 5) for name, value in told.items()})


def above_own_hull(labels: Sequence[str], formulas: Sequence[str], model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Energies above the hull of the network's own energies, and their standard deviations: (n,), (n,), eV/atom.

    Raises:
        GenmatError: no network in the folder, or a label that cannot be read.
    """
    from genmat.data.crystal_table import label_table
    from genmat.data.graph_predict import load_graph_model, predict_rows
    from genmat.data.prototypes import load_prototypes
    from genmat.screening.scan import ScanSettings
    from genmat.screening.scan_hull import hull_phases, network_hull

    table = label_table(labels, load_prototypes())
    systems = {frozenset(label.rpartition(":")[2].split("-")) for label in labels}
    settings = ScanSettings(str(model), tuple(sorted(frozenset().union(*systems))))
    network = load_graph_model(model)
    hull = network_hull(settings.elements, network.config.source, hull_phases(settings, systems))
    found = predict_rows(network, table, np.arange(len(table)))
    floor = -hull.e_above_hull_many(formulas, np.zeros(len(formulas)))[0]
    return found["energy"] - floor, found["sigma"]
