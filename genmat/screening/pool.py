"""A pool of relaxation processes that survives the death of its workers.

Each worker is ``python -m genmat.screening.pool``, a fresh interpreter with one torch thread that keeps the potential
resident and speaks pickles through its standard streams with the process that started it. A worker whose parent is
gone reads the end of its input and ends; one that dies is replaced, its candidate tried once more, then failed.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from genmat.candidate import Candidate
from genmat.errors import RunError

if TYPE_CHECKING:
    from genmat.screening.potentials.base import Potential
    from genmat.screening.relax import RelaxSettings

TRIES = 2


def run_pool(
    candidates: Iterable[Candidate], potential: Potential, settings: RelaxSettings, workers: int
) -> Iterator[Candidate]:
    """Relax in ``workers`` processes; yields each candidate as soon as it is done."""
    jobs: queue.Queue[Candidate | None] = queue.Queue()
    results: queue.Queue[Candidate | BaseException] = queue.Queue()
    stop = threading.Event()
    hello = _hello(potential, settings)
    team = [_Worker(hello) for _ in range(workers)]
    for worker in team:
        threading.Thread(target=_serve, args=(worker, jobs, results, stop), daemon=True).start()
    source, waiting = iter(candidates), 0
    try:
        while True:
            # candidates are drawn in the caller's thread, and only as many as keep the workers busy
            for candidate in islice(source, 2 * workers - waiting):
                jobs.put(candidate)
                waiting += 1
            if not waiting:
                return
            item = results.get()
            if isinstance(item, BaseException):
                raise item
            waiting -= 1
            yield item
    finally:
        stop.set()
        for worker in team:
            jobs.put(None)
            worker.kill()


def _hello(potential: Potential, settings: RelaxSettings) -> bytes:
    """What a new worker is told: the potential itself, or its name where it cannot be pickled (ASE)."""
    try:
        return pickle.dumps((potential, settings))
    except Exception:  # pickle raises whatever the object's parts raise
        return pickle.dumps((potential.info.name, settings))


def _serve(worker: _Worker, jobs: queue.Queue, results: queue.Queue, stop: threading.Event) -> None:
    """Pass jobs to one worker until there are none."""
    try:
        while not stop.is_set() and (candidate := jobs.get()) is not None:
            results.put(_attempt(worker, candidate, stop))
    except BaseException as error:  # raised where the results are read
        results.put(error)


def _attempt(worker: _Worker, candidate: Candidate, stop: threading.Event) -> Candidate:
    for _ in range(TRIES):
        if stop.is_set():
            break
        try:
            return worker.ask(candidate)
        except (EOFError, OSError):
            worker.kill()
    return candidate.fail("relax", "the worker process died twice on it")


class _Worker:
    """One process, started when first asked and again after it died."""

    def __init__(self, hello: bytes) -> None:
        self.hello, self.process = hello, None

    def ask(self, candidate: Candidate) -> Candidate:
        """Relax one candidate over there.

        Raises:
            EOFError, OSError: the process died.
            GenmatError: it could not start.
        """
        process = self.process = self.process or self._start()
        _send(process.stdin, pickle.dumps(candidate))
        return pickle.loads(_receive(process.stdout))

    def _start(self) -> subprocess.Popen:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-m", "genmat.screening.pool"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its workers
        )
        try:
            _send(process.stdin, self.hello)
            if _receive(process.stdout) == b"ready":
                return process
        except (EOFError, OSError):
            process.kill()
        raise RunError("relax: a worker process could not start; its error is printed above, or use --workers 1")

    def kill(self) -> None:
        """End the process, if there is one."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()


def _send(stream: IO[bytes] | Any, data: bytes) -> None:
    stream.write(struct.pack(">Q", len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes] | Any) -> bytes:
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError
    data = stream.read(struct.unpack(">Q", header)[0])
    if not data:
        raise EOFError
    return data


def _work() -> None:
    """The worker's life: potential and settings first, then one candidate after the other."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not enter the stream of results
    potential, settings = pickle.loads(_receive(source))
    from genmat.screening.potentials import load
    from genmat.screening.relax import relax_one

    if isinstance(potential, str):
        potential = load(potential)
    _send(sink, b"ready")
    while True:
        try:
            candidate = pickle.loads(_receive(source))
            _send(sink, pickle.dumps(relax_one(candidate, potential, settings)))
        except (EOFError, BrokenPipeError):  # the parent is gone
            os._exit(0)


if __name__ == "__main__":
    _work()
