"""Keep several relaxations in flight through one potential: what has converged leaves, the next enters.

A relaxation is a generator that yields the crystal it wants evaluated, is sent a `Point`, and returns its result. It
knows nothing of its company: a potential that fails for one crystal of a batch fails that one alone, and the time of a
round is charged to each crystal by its share of the atoms.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

GPU_WIDTH = 64  # crystals of about ten atoms that fill a GPU


class RelaxationError(Exception):
    """A relaxation that cannot go on; the message is the reason."""


@dataclass(frozen=True)
class Point:
    """What a potential says about one crystal.

    Args:
        energy: eV, whole cell.
        forces: (n_atoms, 3) eV/Å.
        stress: (3, 3) eV/Å³, positive under tension.
        seconds: the crystal's share of the time the evaluation took.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray
    seconds: float = 0.0


Result = TypeVar("Result")
Flight = Generator["Structure", Point, Result]
"""Yields crystals, is sent points (or thrown what the potential raised for it), returns its result."""


def best_width(potential: Potential) -> int:
    """How many crystals to keep in flight.

    A potential on a GPU gets 64. On a CPU it is the potential's ``in_flight``, which those declare whose numbers do not
    depend on the other crystals of a batch; for all others each crystal flies alone, so that a result never depends on
    what else was running when it was made.
    """
    if str(getattr(potential, "device", "cpu")).startswith(("cuda", "xpu", "mps")):
        return GPU_WIDTH
    return max(1, int(getattr(potential, "in_flight", 1)))


def fly(flights: Iterable[Flight[Result]], potential: Potential, width: int = 1) -> Iterator[Result]:
    """Drive flights to their ends, ``width`` at a time, one batched evaluation per round.

    Args:
        flights: drawn only as places become free.
        potential: evaluated on the crystals of all flights in the air together.
        width: flights in the air at most.

    Yields:
        Each flight's result as soon as it has landed.

    Raises:
        Exception: whatever a flight or the source raises ends the whole; flights that must not do so return failures.
    """
    from threadpoolctl import threadpool_limits

    source = iter(flights)
    air: list[tuple[Flight[Result], Structure]] = []
    more = True
    while more or air:
        landed: list[Result] = []
        with threadpool_limits(1):  # sums in the linear algebra must not depend on the number of cores
            while not landed and (more or air):
                # what has landed goes out before the source is asked again: it may wait for that
                while more and not landed and len(air) < width:
                    flight = next(source, None)
                    more = flight is not None
                    if flight is not None:
                        _advance(flight, None, air, landed)
                waiting, air = air, []
                for (flight, _), point in zip(waiting, measure(potential, [s for _, s in waiting]), strict=True):
                    _advance(flight, point, air, landed)
        yield from landed


def measure(potential: Potential, structures: list[Structure]) -> list[Point | Exception]:
    """A point for each crystal, or what the potential raised for it; those of a batch that failed are tried alone."""
    if not structures:
        return []
    began = time.perf_counter()
    try:
        points = list(_points(potential, structures))
    except Exception as error:  # a third-party potential may raise anything
        return [error] if len(structures) == 1 else [measure(potential, [s])[0] for s in structures]
    spent = (time.perf_counter() - began) / sum(map(len, structures))
    out: list[Point | Exception] = []
    for structure, point in zip(structures, points, strict=True):
        if len(structures) > 1 and not np.isfinite(point.energy):  # its own fault, or that of its company?
            out.append(measure(potential, [structure])[0])
        else:
            out.append(Point(point.energy, point.forces, point.stress, spent * len(structure)))
    return out


def _points(potential: Potential, structures: list[Structure]) -> Iterator[Point]:
    made = potential.evaluate(structures)
    for i, structure in enumerate(structures):
        forces = np.asarray(made.forces[i], dtype=float)
        if forces.shape != (len(structure), 3):
            raise RelaxationError(f"potential returned forces of shape {forces.shape} for {len(structure)} atoms")
        yield Point(float(made.energies[i]), forces, np.asarray(made.stresses[i], dtype=float))


def _advance(flight: Flight[Any], point: Point | Exception | None, air: list, landed: list) -> None:
    """Let one flight go on to its next crystal, or land."""
    try:
        if isinstance(point, Exception):
            crystal = flight.throw(point)
        else:
            crystal = flight.send(point)  # type: ignore[arg-type]  # None starts a generator
    except StopIteration as end:
        landed.append(end.value)
    else:
        air.append((flight, crystal))
