"""Scan decorated prototypes with crystal-graph attention: ranges of indices in, the most stable ones out.

A scan is cut into shards, ranges of indices of a `Decorations`. A shard's result depends on its range and the settings
alone, and is written whole or not at all: whatever is killed, the same command goes on where it was, and processes of
this machine, a cluster and one process alone give the same files. Nothing is kept in memory but one shard.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genmat.data.crystal_table import pack
from genmat.data.decorations import Decorations, decorations
from genmat.data.graph_predict import load_graph_model
from genmat.data.prototypes import SHIPPED, load_prototypes
from genmat.errors import GenmatError, RunError
from genmat.screening.phases import Rows
from genmat.screening.scan_hull import hull_phases, network_hull
from genmat.workers import process_pool

if TYPE_CHECKING:
    import pandas as pd

    from genmat.screening.scan_ray import Crew

BATCH = 1024
"""Decorations the network judges at once."""
DOUBT = 2.0
"""Of an ensemble the first network judges alone what it puts above the line even so many of its deviations lower."""
SMALL = 64
"""Prototypes with fewer decorations in a shard are judged together."""
MANIFEST = "scan.json"
COLUMNS = ("index", "prototype", "energy", "sigma", "e_above_hull", "above_hull", "volume")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ScanSettings:
    """What decides the result of a scan.

    Attributes:
        model: folder of a snapshot.
        elements: symbols that may occur.
        required: symbols that must occur.
        prototypes: file of a table; None = the shipped one.
        keys: of the prototypes to decorate; empty = all.
        below: eV/atom above the hull; what is predicted higher is not kept.
        optimism: deviations that a prediction is lowered by before it is compared and ranked: above 0 the doubtful are
            kept too, which is what a network learns most from (lower confidence bound; Auer, JMLR 3, 397, 2002).
        limit: the best of each shard and of all that are kept.
        reference: file of a hull of DFT formation energies; None = the network's own energies of known phases.
        max_atoms, least_elements, most_elements, least_members, like_known, balanced: see `decorations`.
        shard: indices judged and written together.
        sample: judge so many decorations, whole shards drawn at random; 0 = all.
        seed: of that draw.
    """

    model: str
    elements: tuple[str, ...]
    required: tuple[str, ...] = ()
    prototypes: str | None = None
    keys: tuple[str, ...] = ()
    below: float = 0.05
    optimism: float = 0.0
    limit: int = 1000
    reference: str | None = None
    max_atoms: int = 20
    least_elements: int = 2
    most_elements: int = 5
    least_members: int = 1
    like_known: bool = False
    balanced: bool = False
    shard: int = 50_000
    sample: int = 0
    seed: int = 0

    def space(self) -> Decorations:
        """The index space."""
        return decorations(
            load_prototypes(None if self.prototypes is None else Path(self.prototypes)),
            self.elements,
            required=self.required,
            keys=self.keys or None,
            max_atoms=self.max_atoms,
            least_elements=self.least_elements,
            most_elements=self.most_elements,
            least_members=self.least_members,
            like_known=self.like_known,
            balanced=self.balanced,
        )

    def shards(self, total: int) -> list[int]:
        """Numbers of the shards to judge, ascending; shard i holds the indices from i * shard on."""
        count = -(-total // self.shard)
        wanted = min(count, -(-self.sample // self.shard)) if self.sample else count
        if wanted == count:
            return list(range(count))
        return sorted(np.random.default_rng(self.seed).choice(count, wanted, replace=False).tolist())

    def files(self) -> dict[str, Path]:
        """What is read: weights, prototypes, hull."""
        given = {"prototypes": Path(self.prototypes or SHIPPED), "weights": Path(self.model) / "model.safetensors"}
        return {**given, **({"reference": Path(self.reference)} if self.reference else {})}


class Judge:
    """Network, index space and hull, resident; judges one shard after the other.

    Args:
        settings: of the scan.
        phases: formulas and energies (eV/atom) of the hull, from `hull_phases`.
    """

    def __init__(self, settings: ScanSettings, phases: tuple[list[str], list[float]]):
        import torch

        torch.set_num_threads(1)
        self.settings, self.space = settings, settings.space()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_graph_model(Path(settings.model)).to(self.device)
        self.hull = network_hull(settings.elements, self.model.config.source, phases)

    def shard(self, number: int) -> pd.DataFrame:
        """The best of a shard, in the order of `best_of`; columns as `COLUMNS`."""
        import pandas as pd

        start = number * self.settings.shard
        found = list(self._judged(start, min(start + self.settings.shard, len(self.space))))
        table = {name: np.concatenate([part[name] for part in found]) if found else [] for name in COLUMNS}
        return best_of(pd.DataFrame(table), self.settings)

    def _judged(self, start: int, stop: int) -> Iterator[dict[str, np.ndarray]]:
        """Those of the allowed decorations that are near enough to the hull, by batches: `COLUMNS`, (B,) each."""
        place = dict(zip(self.space.rows, np.concatenate([[0], self.space.ends[:-1]]).tolist(), strict=True))
        small: list[tuple[int, np.ndarray, np.ndarray]] = []
        for row, a, b in self.space.parts(start, stop):
            for begin in range(a, b, BATCH):
                index = np.arange(begin, min(b, begin + BATCH))
                numbers = self.space.decode(row, index)
                keep = self.space.allowed(row, numbers)
                index, numbers = index[keep] + place[row], numbers[keep]
                if len(index) == 0:
                    continue
                if len(index) >= SMALL:
                    yield self._together([(row, index, numbers)])
                else:
                    small.append((row, index, numbers))
        orbits = [len(self.space.prototypes.graph(row).atoms) for row, _, _ in small]
        some, size = [], 0
        for k in np.argsort(orbits, kind="stable").tolist():  # like sizes together: less padding
            some.append(small[k])
            size += len(small[k][1])
            if size >= BATCH // 2:
                yield self._together(some)
                some, size = [], 0
        if some:
            yield self._together(some)

    def _together(self, parts: list[tuple[int, np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
        """Judge decorations of one or several prototypes in one batch; what `_judged` yields of them."""
        import torch

        graphs = [self.space.prototypes.graph(row) for row, _, _ in parts]
        counts = [len(index) for _, index, _ in parts]
        width, most = max(len(g.atoms) for g in graphs), max(numbers.shape[1] for _, _, numbers in parts)
        elements = np.zeros((sum(counts), width), np.int64)
        numbers, amounts = np.zeros((sum(counts), most), np.int64), np.zeros((sum(counts), most))
        begin = 0
        for (row, _, slots), graph in zip(parts, graphs, strict=True):
            here = slice(begin, begin + len(slots))
            elements[here, : len(graph.slots)] = slots[:, graph.slots]
            numbers[here, : slots.shape[1]] = slots
            amounts[here, : slots.shape[1]] = self.space.prototypes.slot_atoms(row)
            begin = here.stop
        which = np.repeat(np.arange(len(parts)), counts)
        values = {
            "index": np.concatenate([index for _, index, _ in parts]),
            "prototype": np.array([row for row, _, _ in parts])[which],
        }
        hull = self.hull.facets.mixtures(_rows(numbers, amounts)).energies
        packed = {name: tensor.to(self.device) for name, tensor in pack(graphs).items()}
        with torch.inference_mode():
            prepared = self.model.prepare(**packed)
            if len(prepared) > 1:
                first = self._read(elements, prepared[:1], which, hull)
                hopeful = self._bound(first, DOUBT) < self.settings.below
                elements, which, hull = elements[hopeful], which[hopeful], hull[hopeful]
                values = {name: value[hopeful] for name, value in values.items()}
            values |= self._read(elements, prepared, which, hull)
        keep = self._bound(values) < self.settings.below
        return {name: values[name][keep] for name in COLUMNS}

    def _read(self, elements: np.ndarray, prepared: list, which: np.ndarray, hull: np.ndarray) -> dict[str, np.ndarray]:
        """What the network, or the first of it, predicts of decorations (B, N) of the prototypes `which` (B,)."""
        import torch

        if len(elements) == 0:
            return dict.fromkeys(COLUMNS[2:], np.zeros(0))
        several = len(prepared[0].share) > 1
        index = torch.from_numpy(which).to(self.device) if several else None
        out = self.model.read(torch.from_numpy(elements).to(self.device), prepared, index)
        found = {name: out[name].cpu().numpy().astype(float) for name in ("energy", "sigma", "above_hull", "volume")}
        return {**found, "e_above_hull": found["energy"] - hull}

    def _bound(self, found: Mapping[str, np.ndarray], doubt: float = 0.0) -> np.ndarray:
        """What is compared with `below`, eV/atom; `doubt` deviations lower still."""
        return found["e_above_hull"] - (self.settings.optimism + doubt) * found["sigma"]


def _rows(numbers: np.ndarray, amounts: np.ndarray) -> Rows:
    """Compositions of atomic numbers and amounts (B, k), 0 where there is none."""
    order = np.argsort(np.where(numbers > 0, numbers, 255), axis=1, kind="stable")
    shares = np.take_along_axis(amounts, order, axis=1)
    return Rows(np.take_along_axis(numbers, order, axis=1).astype(np.uint8), shares / shares.sum(1, keepdims=True))


def best_of(table: pd.DataFrame, settings: ScanSettings) -> pd.DataFrame:
    """The rows nearest to the hull, or hopefully so; ties by index."""
    bound = table["e_above_hull"] - settings.optimism * table["sigma"]
    order = np.lexsort([table["index"], bound])[: settings.limit]
    return table.iloc[order].reset_index(drop=True)


def scan(
    settings: ScanSettings,
    out: Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Judge every decoration of an index space, or a sample of shards; goes on where an earlier run stopped.

    Args:
        out: folder of the shards, the manifest and the results.
        workers: processes; results do not depend on them.
        ray: address of a Ray cluster, `local` for one started here; None = processes of this machine.
        fresh: forget what an earlier run left in the folder.

    Returns:
        The best of all shards, at most `limit`: columns as `COLUMNS`.

    Raises:
        GenmatError: the folder holds a scan with other settings.
    """
    folder = out / "shards"
    if fresh:
        for path in [*folder.glob("*.parquet"), *out.glob(MANIFEST)]:
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    space = settings.space()
    numbers = settings.shards(len(space))
    missing = [number for number in numbers if not _shard_file(folder, number).is_file()]
    done = len(numbers) - len(missing)
    with _hired(settings, ray, workers, len(missing)) as crew:
        phases = _claim(settings, out, len(space))
        if progress is not None:
            progress("scan", done * settings.shard, len(numbers) * settings.shard)
        judged = crew.scan(missing, phases) if crew else _work(settings, phases, missing, workers)
        for number, table in judged:
            path = _shard_file(folder, number)
            partial = path.with_suffix(".partial")
            table.to_parquet(partial, index=False)
            partial.replace(path)
            done += 1
            if progress is not None:
                progress("scan", done * settings.shard, len(numbers) * settings.shard)
    return merge(folder, numbers, settings)


def _hired(settings: ScanSettings, ray: str | None, workers: int, missing: int) -> AbstractContextManager[Crew | None]:
    """The actors of a cluster, where one is asked for and there is work."""
    if ray is None or not missing:
        return nullcontext()
    from genmat.screening.scan_ray import hired

    return hired(settings, ray, workers, missing)


def _shard_file(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.parquet"


def _claim(settings: ScanSettings, out: Path, total: int) -> tuple[list[str], list[float]]:
    """Write the manifest, or check that it is this scan's; the phases of the hull are kept in it."""
    contents = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in settings.files().items()}
    places = ("model", "prototypes", "reference")
    asked = {name: value for name, value in asdict(settings).items() if name not in places}
    asked = json.loads(json.dumps({**asked, **contents, "total": total}))
    path = out / MANIFEST
    if path.is_file():
        known = json.loads(path.read_text())
        other = [name for name in asked if known["settings"].get(name) != asked[name]]
        if other:
            raise GenmatError(f"{out}: holds a scan with another {', '.join(other)}; choose another --out, or --fresh")
        return known["phases"]["formula"], known["phases"]["energy"]
    formulas, energies = hull_phases(settings)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"settings": asked, "phases": {"formula": formulas, "energy": energies}}))
    partial.replace(path)
    return formulas, energies


def _work(
    settings: ScanSettings, phases: tuple[list[str], list[float]], missing: list[int], workers: int
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Judged shards, in any order, from processes of this machine."""
    if workers <= 1 or len(missing) <= 1:
        judge = Judge(settings, phases) if missing else None
        for number in missing:
            assert judge is not None
            yield number, judge.shard(number)
    else:
        yield from _pool(settings, phases, missing, workers)


_judge: Judge | None = None


def _start(settings: ScanSettings, phases: tuple[list[str], list[float]]) -> None:
    """In a worker process: one judge, for all its shards."""
    global _judge
    _judge = Judge(settings, phases)


def _one(number: int) -> tuple[int, pd.DataFrame]:
    assert _judge is not None
    return number, _judge.shard(number)


def _pool(
    settings: ScanSettings, phases: tuple[list[str], list[float]], missing: list[int], workers: int
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Shards from processes, a few handed out ahead."""
    from concurrent.futures.process import BrokenProcessPool

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    todo = iter(missing)
    with process_pool(workers, _start, (settings, phases)) as pool:
        running = {pool.submit(_one, number) for _, number in zip(range(2 * workers), todo, strict=False)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running |= {pool.submit(_one, number) for _, number in zip(range(1), todo, strict=False)}
                try:
                    yield future.result()
                except BrokenProcessPool:
                    raise RunError("scan: a worker process died; the same command goes on, with --workers 1") from None


def merge(folder: Path, numbers: list[int], settings: ScanSettings) -> pd.DataFrame:
    """The best of all shards, read one after the other."""
    import pandas as pd

    best = pd.DataFrame({name: [] for name in COLUMNS})
    for number in numbers:
        table = pd.read_parquet(_shard_file(folder, number))
        if len(table):
            best = best_of(pd.concat([best, table]) if len(best) else table, settings)
    return best
