"""Relax on a Ray cluster: the potential resident in every actor, big crystals first, lost actors and nodes replaced.

The results are those of one process: a relaxation depends on its candidate and the settings alone. They come back one
by one to the process that asked, the campaign file's only writer; nothing is kept in Ray (Moritz et al., OSDI 2018).
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from genmat.candidate import Candidate
from genmat.errors import RunError
from genmat.screening.pool import DIED, STARTS, TRIES
from genmat.screening.worker import describe

if TYPE_CHECKING:
    from genmat.screening.potentials.base import Potential
    from genmat.screening.relax import RelaxSettings

LOCAL = "local"
PATIENCE = 600.0  # s without any actor before the run gives up
ROUNDS = 8  # times the width: candidates handed to an actor at once
STORE_BYTES = 100 * 2**20  # object store of a local cluster: candidates are small


@dataclass
class _Place:
    """One actor, the stream of results it is working on, and the candidates of that stream still missing."""

    actor: Any
    stream: Any  # first the reference of its greeting, then a generator of references
    node: str = ""
    width: int = 1
    pending: dict[str, Candidate] = field(default_factory=dict)


def run_ray(
    candidates: Iterable[Candidate],
    potential: Potential,
    settings: RelaxSettings,
    address: str = LOCAL,
    workers: int = 0,
) -> Iterator[Candidate]:
    """Relax on a cluster; yields each candidate as soon as it is done.

    Args:
        candidates: drawn at once, so that the big ones can be first.
        potential: any that `run_pool` takes; its package must be installed on every node.
        settings: of the relaxation.
        address: of a running cluster ("auto", "host:6379", "ray://host:10001"); ``local`` starts one here.
        workers: actors; 0 = one per GPU of the cluster, or one per CPU where there is none.

    Raises:
        RunError: Ray is not installed, there is no cluster at the address, or no actor can be started.
    """
    ready, waiting = [], []
    for candidate in candidates:
        (waiting if candidate.failure is None else ready).append(candidate)
    yield from ready
    if not waiting:
        return
    waiting.sort(key=_n_atoms, reverse=True)
    ray = _connect(address, workers)
    try:
        yield from _Crew(ray, potential, settings, workers).relax(waiting)
    finally:
        ray.shutdown()


class _Crew:
    """The actors. All bookkeeping is done here; an actor only relaxes what it is given."""

    def __init__(self, ray: Any, potential: Potential, settings: RelaxSettings, workers: int) -> None:
        self.ray = ray
        told, python = describe(potential)
        self.told, self.settings = {**told, "python": python}, asdict(settings)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        self.size = workers or gpus or int(resources.get("CPU", 1)) or 1
        self.share = min(1.0, gpus / self.size) if gpus else 0.0
        self.suspects: deque[Candidate] = deque()
        self.deaths: dict[str, int] = {}
        self.failed_starts = 0

    def relax(self, waiting: list[Candidate]) -> Iterator[Candidate]:
        """Hand out chunks that shrink towards the end, listen, yield, until nothing is left."""
        todo = deque(waiting)
        crew = [self._hire() for _ in range(min(self.size, len(todo)))]
        heard = time.monotonic()
        while todo or self.suspects or any(place.pending for place in crew):
            for place in crew:
                if place.node and not place.pending and (chunk := self._chunk(todo, place.width)):
                    self._give(place, chunk)
            streams = {place.stream: place for place in crew if place.pending or not place.node}
            done, _ = self.ray.wait(list(streams), num_returns=1, timeout=10.0, fetch_local=False)
            if done or any(place.node for place in crew):
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE:
                raise RunError(f"ray: no node had room for an actor in {PATIENCE:.0f} s; free CPUs or ask for fewer")
            for stream in done:
                yield from self._heard(streams[stream], crew)

    def _hire(self) -> _Place:
        options = {"num_cpus": 1, "num_gpus": self.share, "max_restarts": 0}
        actor = self.ray.remote(_relaxer()).options(**options).remote(sys.path, self.told, self.settings)
        return _Place(actor, actor.greet.remote())

    def _chunk(self, todo: deque[Candidate], width: int) -> list[Candidate]:
        """The next candidates for an actor: many at first, few at the end; a suspect travels alone."""
        if self.suspects:
            return [self.suspects.popleft()]
        count = max(1, min(ROUNDS * width, len(todo) // (2 * self.size)))
        return [todo.popleft() for _ in range(min(count, len(todo)))]

    def _give(self, place: _Place, chunk: list[Candidate]) -> None:
        place.pending = {candidate.id: candidate for candidate in chunk}
        call = place.actor.relax.options(num_returns="streaming")
        place.stream = call.remote([candidate.to_dict() for candidate in chunk])

    def _heard(self, place: _Place, crew: list[_Place]) -> Iterator[Candidate]:
        """Take one message of an actor: its greeting, a result, or the news of its death."""
        from ray.exceptions import RayError, RayTaskError

        try:
            if not place.node:
                self._greeted(place, self.ray.get(place.stream))
                return
            done = Candidate.from_dict(self.ray.get(next(place.stream)))
            del place.pending[done.id]
            yield done
        except StopIteration:  # the stream ended early: what is missing is tried again
            yield from self._missing(place, blame=True)
        except RayTaskError as error:  # genmat failed over there, not the machine
            raise RunError(f"ray: {_line(error.cause or error)}") from None
        except RayError as error:
            yield from self._lost(place, crew, error)

    def _greeted(self, place: _Place, greeting: dict[str, Any]) -> None:
        from genmat import __version__

        if "error" in greeting:
            raise RunError(f"ray: {greeting['error']}")
        if greeting["genmat"] != __version__:
            raise RunError(f"ray: a node has genmat {greeting['genmat']}, this is {__version__}; install the same one")
        place.node, place.width, self.failed_starts = greeting["node"], greeting["width"], 0

    def _lost(self, place: _Place, crew: list[_Place], error: Exception) -> Iterator[Candidate]:
        """An actor is gone: hire another; its candidates are suspect, unless the whole node went."""
        crew.remove(place)
        if not place.node:
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                raise RunError(f"ray: actors do not start ({_line(error)})")
        alive = {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}
        yield from self._missing(place, blame=place.node in alive)
        crew.append(self._hire())

    def _missing(self, place: _Place, blame: bool) -> Iterator[Candidate]:
        for candidate in place.pending.values():
            self.deaths[candidate.id] = self.deaths.get(candidate.id, 0) + blame
            if self.deaths[candidate.id] >= TRIES:
                yield candidate.fail("relax", DIED)
            else:
                self.suspects.append(candidate)
        place.pending = {}


def _relaxer() -> type:
    """The actor's class. Local, so that it travels as code and finds genmat on the paths it brings along."""

    class Relaxer:
        """Loads the potential once, then relaxes what it is given."""

        def __init__(self, paths: list[str], told: dict[str, Any], settings: dict[str, Any]) -> None:
            import sys

            sys.path[:0] = [path for path in paths if path not in sys.path]
            self.told, self.settings = told, settings
            self.potential: Any = None

        def greet(self) -> dict[str, Any]:
            """Load the potential; where this is, and how many candidates it relaxes together."""
            import ray

            from genmat import __version__
            from genmat.screening.flight import best_width
            from genmat.screening.worker import one_line, potential_from

            try:
                self.potential = potential_from(self.told)
            except Exception as error:
                return {"error": one_line(error)}
            node = ray.get_runtime_context().get_node_id()
            return {"node": node, "width": best_width(self.potential), "genmat": __version__}

        def relax(self, chunk: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
            """Results as they are done."""
            from genmat.candidate import Candidate
            from genmat.screening.relax import relax

            for done in relax(map(Candidate.from_dict, chunk), self.potential, **self.settings):
                yield done.to_dict()

    return Relaxer


def _connect(address: str, workers: int) -> Any:
    """Ray, connected; quiet, and without its usage statistics."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its coming default; says so at length otherwise
    try:
        import ray
    except ImportError:
        raise RunError("ray: not installed; run `pip install 'genmat[ray]'`, or leave --ray out") from None
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address == LOCAL:
            size = workers or os.cpu_count() or 1
            ray.init(LOCAL, num_cpus=size, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
        else:
            ray.init(address, **quiet)
    except Exception as error:  # ray raises ConnectionError, ValueError, RuntimeError, …
        fix = "try again" if address == LOCAL else "start a cluster there, or give no address"
        raise RunError(f"--ray {address}: {_line(error)}; {fix}") from None
    # Ray prints pages of a lost node's log on our stdout, whatever its logging is told
    import ray._private.worker as internals

    internals._worker_logs_enabled = False
    return ray


def _n_atoms(candidate: Candidate) -> int:
    if candidate.structure is not None:
        return len(candidate.structure)
    return candidate.protostructure.n_atoms if candidate.protostructure is not None else 0


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
