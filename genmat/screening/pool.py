"""A pool of relaxation processes that survives the death of its workers.

Each worker (`genmat.screening.worker`) is a fresh interpreter, of this or of another environment, with one torch
thread that keeps the potential resident. One that dies is replaced; what it had at hand is tried once more, each
candidate alone, and fails where the process dies on it again.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from genmat.candidate import Candidate
from genmat.errors import GenmatError, RunError
from genmat.screening.worker import PROTOCOL, Worker, describe

if TYPE_CHECKING:
    from genmat.screening.potentials.base import Potential
    from genmat.screening.relax import RelaxSettings

TRIES = 2
STARTS = 3  # failed starts in a row after which the run gives up
DIED = "the worker process died twice on it"


@dataclass
class _Place:
    """One worker of the team and what it has at hand; `alone` while it is given one suspect at a time."""

    worker: Worker
    ready: bool = False
    width: int = 1
    alone: bool = False
    streaming: bool = False
    pending: dict[str, Candidate] = field(default_factory=dict)


def run_pool(
    candidates: Iterable[Candidate], potential: Potential, settings: RelaxSettings, workers: int
) -> Iterator[Candidate]:
    """Relax in ``workers`` processes; yields each candidate as soon as it is done.

    Raises:
        RunError: workers cannot be started.
    """
    pool = _Pool(potential, settings, workers)
    try:
        yield from pool.relax(iter(candidates))
    finally:
        pool.close()


class _Pool:
    """The team. All bookkeeping is done in the caller's thread; one thread per worker only listens."""

    def __init__(self, potential: Potential, settings: RelaxSettings, workers: int) -> None:
        told, self.python = describe(potential)
        if self.python is not None:
            potential.close()  # type: ignore[attr-defined]  # its own process would only hold memory meanwhile
        self.hello = {"protocol": PROTOCOL, "potential": told, "settings": asdict(settings)}
        self.events: queue.Queue[tuple[_Place, dict[str, Any] | GenmatError | None]] = queue.Queue()
        self.suspects: deque[Candidate] = deque()
        self.deaths: dict[str, int] = {}
        self.failed_starts = 0
        self.team: list[_Place] = []
        for _ in range(max(1, workers)):
            self._hire()

    def relax(self, source: Iterator[Candidate]) -> Iterator[Candidate]:
        """Hand out, listen, yield, until nothing is left."""
        exhausted = False
        while True:
            self._try_suspects()
            # candidates are drawn in the caller's thread, and only as many as keep the workers busy
            while not exhausted and (place := self._room()) is not None:
                candidate = next(source, None)
                if candidate is None:
                    exhausted = True
                elif candidate.failure is not None:
                    yield candidate
                else:
                    self._give(place, candidate)
            if exhausted:
                self._end_streams()
                if not self.suspects and not any(place.pending for place in self.team):
                    return
            place, message = self.events.get()
            yield from self._heard(place, message)

    def close(self) -> None:
        """End every worker."""
        for place in self.team:
            place.worker.kill()

    def _hire(self) -> None:
        place = _Place(Worker(self.hello, self.python))
        self.team.append(place)
        threading.Thread(target=self._listen, args=(place,), daemon=True).start()

    def _listen(self, place: _Place) -> None:
        """Pass on what one worker says; None is its end."""
        try:
            self.events.put((place, place.worker.greeting()))
            while True:
                self.events.put((place, place.worker.receive()))
        except GenmatError as error:
            self.events.put((place, error))
        except (EOFError, OSError, ValueError):  # ValueError: its streams were closed meanwhile
            self.events.put((place, None))

    def _room(self) -> _Place | None:
        """The least busy worker that can take another candidate; a suspect shares its worker with nobody."""
        # one more than it works on at a time, so that it never waits for the next
        free = [place for place in self.team if not place.alone and len(place.pending) <= place.width]
        return min(free, key=lambda place: len(place.pending), default=None)

    def _give(self, place: _Place, candidate: Candidate) -> None:
        place.pending[candidate.id] = candidate
        place.streaming = True
        self._say(place, {"candidate": candidate.to_dict()})

    def _say(self, place: _Place, message: dict[str, Any]) -> None:
        with suppress(OSError, ValueError):  # it died; its listener says so, and what is pending is tried again
            place.worker.send(message)

    def _try_suspects(self) -> None:
        """A candidate some worker died on runs alone, so that a second death is its own."""
        for place in self.team:
            if self.suspects and not place.pending:
                place.alone = True
                self._give(place, self.suspects.popleft())
                self._end(place)

    def _end_streams(self) -> None:
        for place in self.team:
            if place.streaming:
                self._end(place)

    def _end(self, place: _Place) -> None:
        """No more candidates for now: what the worker has is finished without waiting for company."""
        place.streaming = False
        self._say(place, {"end": True})

    def _heard(self, place: _Place, message: dict[str, Any] | GenmatError | None) -> Iterator[Candidate]:
        if place not in self.team:
            return  # the last word of one that was replaced
        if message is None or isinstance(message, GenmatError):
            yield from self._lost(place, message)
        elif "error" in message:
            raise RunError(f"relax: {message['error']}")
        elif "candidate" in message:
            done = Candidate.from_dict(message["candidate"])
            del place.pending[done.id]
            place.alone = place.alone and bool(place.pending)
            yield done
        else:
            place.ready, place.width, self.failed_starts = True, int(message["width"]), 0

    def _lost(self, place: _Place, reason: GenmatError | None) -> Iterator[Candidate]:
        """A worker is gone: replace it, and put what it had at hand under suspicion."""
        place.worker.kill()
        self.team.remove(place)
        if not place.ready:
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                raise RunError(f"relax: {reason}")
        for candidate in place.pending.values():
            self.deaths[candidate.id] = self.deaths.get(candidate.id, 0) + place.ready
            if self.deaths[candidate.id] >= TRIES:
                yield candidate.fail("relax", DIED)
            else:
                self.suspects.append(candidate)
        self._hire()
