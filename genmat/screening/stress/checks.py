"""The checks of a stress test, each a campaign of its own: choose the crystals, run the stages, survive any kill."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.campaign import Campaign, Stage
from genmat.candidate import Candidate
from genmat.errors import GenmatError, RunError
from genmat.screening.stress import elastic, eos, gamma, polymorphs, substitution
from genmat.screening.stress.table import read_table
from genmat.workers import process_pool

if TYPE_CHECKING:
    from genmat.screening.potentials.base import Potential

Progress = Callable[[int, int], None]

RELAXATION = {
    "polymorphs": {"fmax": 0.05, "rattle": 0.0},  # inside the space group: a polymorph stays itself
    "substituted": {"fmax": 0.05, "rattle": 0.02},
    "known": {"fmax": 0.01, "rattle": 0.0},
    "elastic": {"fmax": 0.01, "rattle": 0.0},
}
"""How each check relaxes (eV/Å; Å), in the order they are run."""
MAX_STEPS = 200


@dataclass(frozen=True)
class Sizes:
    """How much to test.

    Args:
        pairs: of known polymorphs.
        substituted: crystals made by substitution.
        known: existing crystals for equations of state and Γ modes.
        elastic: binaries with DFT moduli.
        seed: of every choice.
    """

    pairs: int = 2000
    substituted: int = 200
    known: int = 100
    elastic: int = 120
    seed: int = 0


@dataclass(frozen=True)
class Task:
    """One check of one potential.

    Args:
        potential: as `genmat.screening.potentials.load` takes it.
        source: of its energies.
        check: a key of `RELAXATION`.
        folder: of the campaign.
        candidates: what to test.
        fresh: drop an earlier campaign.
    """

    potential: str
    source: str
    check: str
    folder: Path
    candidates: Sequence[Candidate] = field(repr=False)
    fresh: bool = False


def choose(data: str | Path, moduli: str | Path | None, sizes: Sizes) -> dict[str, list[Candidate]]:
    """The crystals of every check, the same for all potentials.

    Args:
        data: table of the Materials Project, or its folder.
        moduli: matcalc's elasticity file; None leaves that check out.
        sizes: how many.

    Raises:
        GenmatError: a file that is missing or something else.
    """
    table = read_table(data)
    chosen = {
        "polymorphs": polymorphs.choose(table, sizes.pairs, sizes.seed),
        "substituted": substitution.choose(table, sizes.substituted, sizes.seed),
        "known": gamma.choose(table, sizes.known, sizes.seed),
    }
    if moduli is not None:
        chosen["elastic"] = elastic.choose(moduli, sizes.elastic, sizes.seed)
    return {check: candidates for check, candidates in chosen.items() if candidates}


def run_task(task: Task, progress: Progress | None = None) -> list[Candidate]:
    """Run a check, or what an earlier run left of it.

    Raises:
        GenmatError: the folder holds another test, or cannot be written.
    """
    settings = {"potential": task.source, "input": _digest(task.candidates), **RELAXATION[task.check]}
    with Campaign.open(task.folder, command=f"stress {task.check}", settings=settings, fresh=task.fresh) as campaign:
        current = campaign.source(lambda: task.candidates)
        stages = _stages(task)
        total = len(stages) * len(current)
        for index, stage in enumerate(stages):
            shift = index * len(current)
            report = (lambda done, _, s=shift: progress(s + done, total)) if progress else None
            current = campaign.run(stage, current, report)
        return current


def stages_of(check: str) -> int:
    """How many stages a check has, for progress."""
    return 3 if check == "known" else 2


def _stages(task: Task) -> list[Stage]:
    """The stages of a check; the potential is loaded by the first that has something to do."""

    def with_potential(stage: Callable[..., Iterator[Candidate]], **options: Any) -> Callable:
        return lambda candidates: stage(candidates, potential=_loaded(task.potential), **options)

    from genmat.screening.relax import relax

    relaxation = Stage("relax", with_potential(relax, max_steps=MAX_STEPS, **RELAXATION[task.check]))
    if task.check == "polymorphs":
        return [Stage("single_point", with_potential(polymorphs.single_point_stage)), relaxation]
    if task.check == "substituted":
        starts = {candidate.id: candidate.structure for candidate in task.candidates}
        return [relaxation, Stage("drift", lambda candidates: substitution.drift_stage(candidates, starts))]
    if task.check == "known":
        eos_stage, gamma_stage = with_potential(eos.eos_stage), with_potential(gamma.gamma_stage)
        return [relaxation, Stage("eos", eos_stage), Stage("gamma", gamma_stage)]
    return [relaxation, Stage("elastic", with_potential(elastic.elastic_stage))]


@lru_cache(maxsize=1)
def _loaded(name: str) -> Potential:
    from genmat.screening.potentials import load

    return load(name, check=False)  # checked once, where the run began


def run_tasks(tasks: Sequence[Task], workers: int = 1, progress: Progress | None = None) -> list[list[Candidate]]:
    """Run all tasks, each in one process; results in the order given, the same for any number of workers.

    Raises:
        GenmatError: as `run_task`; RunError when a process dies. A rerun goes on where this one ended.
    """
    done = [0] * len(tasks)
    total = sum(stages_of(task.check) * len(task.candidates) for task in tasks)

    def report(index: int, count: int) -> None:
        done[index] = count
        if progress is not None:
            progress(sum(done), total)

    if workers <= 1:
        return [run_task(task, lambda count, _, i=i: report(i, count)) for i, task in enumerate(tasks)]
    queue = multiprocessing.get_context("spawn").Queue()
    # the longest first, so that none is left alone at the end
    order = sorted(range(len(tasks)), key=lambda i: -len(tasks[i].candidates))
    with process_pool(workers, _start, (queue,)) as pool:
        futures = {pool.submit(_work, index, tasks[index]): index for index in order}
        waiting = set(futures)
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                while not queue.empty():
                    report(*queue.get())
                for future in finished:
                    future.result()
        except BrokenProcessPool:
            raise RunError("evaluate: a worker process died; the same command continues") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        results = {index: future.result() for future, index in futures.items()}
    return [results[index] for index in range(len(tasks))]


_queue: Any = None


def _start(queue: Any) -> None:
    global _queue
    _queue = queue


def _work(index: int, task: Task) -> list[Candidate]:
    return run_task(task, lambda done, _: _queue.put((index, done)))


def _digest(candidates: Iterable[Candidate]) -> str:
    """Fingerprint of the crystals of a check, so that another choice is not mistaken for the campaign's own."""
    digest = hashlib.sha256()
    for candidate in candidates:
        structure = candidate.structure
        assert structure is not None
        cell = f"{structure.lattice.matrix.round(6).tolist()}{structure.frac_coords.round(6).tolist()}"
        digest.update(f"{candidate.id}|{structure.formula}|{cell}\n".encode())
    return digest.hexdigest()[:16]


def wall_seconds(folder: Path) -> Mapping[str, float]:
    """Wall time of each stage of a check (s), over all runs; empty when there is none."""
    try:
        with Campaign.read(folder) as campaign:
            return campaign.seconds()
    except GenmatError:
        return {}
