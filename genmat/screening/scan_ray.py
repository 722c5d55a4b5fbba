"""A scan on a Ray cluster: network, prototypes and hull resident in every actor, shards handed out one by one.

Whoever is free takes the next shard, a lost actor's shard is given to another, and the process that asked writes the
files: the result is that of one process. The GPU of an actor's node is used where there is one.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from genmat.errors import RunError
from genmat.screening.distributed import PATIENCE, _connect, _line
from genmat.screening.pool import STARTS, TRIES

if TYPE_CHECKING:
    import pandas as pd

    from genmat.screening.scan import ScanSettings

AHEAD = 2
"""Shards an actor has at a time: the next one waits there while it works."""


@dataclass
class _Actor:
    """An actor, its greeting until it was heard, and the shards it has: reference -> number."""

    handle: Any
    greeting: Any
    shards: dict[Any, int]


@contextmanager
def hired(settings: ScanSettings, address: str, workers: int, shards: int) -> Iterator[Crew]:
    """Actors on a cluster. They load the network at once, while the phases of the hull are still being asked for.

    Args:
        address: of a running cluster; ``local`` starts one here. Weights, prototypes and hull must be readable at
            the same paths on every node.
        workers: actors; 0 = one per GPU of the cluster, or one per CPU where there is none.
        shards: how many there are to judge: no more actors than that.

    Raises:
        RunError: Ray is not installed, or there is no cluster.
    """
    ray = _connect(address, workers)
    try:
        yield Crew(ray, settings, workers, shards)
    finally:
        ray.shutdown()


class Crew:
    """The actors; all bookkeeping is done here."""

    def __init__(self, ray: Any, settings: ScanSettings, workers: int, shards: int) -> None:
        self.ray, self.settings = ray, asdict(settings)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        size = workers or gpus or int(resources.get("CPU", 1)) or 1
        self.share = min(1.0, gpus / size) if gpus else 0.0
        self.deaths: dict[int, int] = {}
        self.failed_starts = 0
        self.actors = [self._hire() for _ in range(min(size, shards))]

    def scan(self, missing: list[int], phases: tuple[list[str], list[float]]) -> Iterator[tuple[int, pd.DataFrame]]:
        """Judge shards: hand out, listen, yield each as soon as it is done, until none is left.

        Args:
            missing: numbers of the shards.
            phases: of the hull.

        Raises:
            RunError: no actor starts, or a shard kills every actor it is given.
        """
        todo, crew, told = deque(missing), self.actors, [self.ray.put(phases)]  # in a list: fetched once by each actor
        heard = time.monotonic()
        while todo or any(actor.shards for actor in crew):
            for actor in crew:
                while actor.greeting is None and todo and len(actor.shards) < AHEAD:
                    number = todo.popleft()
                    actor.shards[actor.handle.shard.remote(number, told)] = number
            owners = {ref: actor for actor in crew for ref in [actor.greeting, *actor.shards] if ref is not None}
            done, _ = self.ray.wait(list(owners), num_returns=1, timeout=10.0)
            if done or any(actor.greeting is None for actor in crew):
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE:
                raise RunError(f"ray: no node had room for an actor in {PATIENCE:.0f} s; free CPUs or ask for fewer")
            for ref in done:
                yield from self._heard(ref, owners[ref], crew, todo)

    def _hire(self) -> _Actor:
        options = {"num_cpus": 1, "num_gpus": self.share, "max_restarts": 0}
        handle = self.ray.remote(_judge()).options(**options).remote(sys.path, self.settings)
        return _Actor(handle, handle.greet.remote(), {})

    def _heard(
        self, ref: Any, actor: _Actor, crew: list[_Actor], todo: deque[int]
    ) -> Iterator[tuple[int, pd.DataFrame]]:
        """One message of an actor: its greeting, a shard, or the news of its death."""
        from ray.exceptions import RayError, RayTaskError

        try:
            value = self.ray.get(ref)
        except RayTaskError as error:  # genmat failed over there, not the machine
            raise RunError(f"ray: {_line(error.cause or error)}") from None
        except RayError as error:
            self._lost(actor, crew, todo, error)
            return
        if ref == actor.greeting:
            self._greeted(actor, value)
        else:
            yield actor.shards.pop(ref), value

    def _greeted(self, actor: _Actor, version: str) -> None:
        from genmat import __version__

        if version != __version__:
            raise RunError(f"ray: a node has genmat {version}, this is {__version__}; install the same one")
        actor.greeting, self.failed_starts = None, 0

    def _lost(self, actor: _Actor, crew: list[_Actor], todo: deque[int], error: Exception) -> None:
        """An actor is gone: its shards go back, first the one it worked on; another is hired."""
        if actor not in crew:
            return
        crew.remove(actor)
        if actor.greeting is not None:
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                raise RunError(f"ray: actors do not start ({_line(error)})")
        for place, number in enumerate(actor.shards.values()):
            if place == 0:
                self.deaths[number] = self.deaths.get(number, 0) + 1
                if self.deaths[number] >= TRIES:
                    raise RunError(f"ray: shard {number} ended {TRIES} actors; more memory, or a smaller --shard")
        todo.extendleft(reversed(actor.shards.values()))
        crew.append(self._hire())


def _judge() -> type:
    """The actor's class. Local, so that it travels as code and finds genmat on the paths it brings along."""

    class Resident:
        """Loads the network at once, prototypes and hull with its first shard, and judges."""

        def __init__(self, paths: list[str], settings: dict[str, Any]) -> None:
            import sys

            sys.path[:0] = [path for path in paths if path not in sys.path]
            self.settings, self.judge = settings, None

        def greet(self) -> str:
            """Import and read what takes longest; the version of genmat here."""
            from pathlib import Path

            from genmat import __version__
            from genmat.screening.scan import load_graph_model

            load_graph_model(Path(self.settings["model"]))
            return __version__

        def shard(self, number: int, phases: list[Any]) -> Any:
            """The best of a shard; `phases` holds the reference to those of the hull."""
            if self.judge is None:
                import ray

                from genmat.screening.scan import Judge, ScanSettings

                self.judge = Judge(ScanSettings(**self.settings), ray.get(phases[0]))
            return self.judge.shard(number)

    return Resident
