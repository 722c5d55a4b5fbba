"""What crystal-graph attention learns from: decorated prototypes with their energies, and batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER
from genmat.crystal.prototype import from_arrays
from genmat.crystal.shells import RANKS, ShellGraph, bare_graph
from genmat.crystal.slots import read_key, read_label
from genmat.data.prototypes import Prototypes, load_prototypes, mine, placed, with_aflow
from genmat.errors import GenmatError

if TYPE_CHECKING:
    import pandas as pd
    import torch

SOURCE = "mp/structures_le20.parquet"
LARGER = "mp/structures_21to52.parquet"
COLUMNS = [
    "material_id", "formula", "lattice_parameters", "species", "frac_coords", "formation_energy_per_atom",
    "e_above_hull", "split",
]  # fmt: skip
LABELS = ("energy", "above_hull", "volume")
LABELLING = 1
"""Raised when the same crystal gets another label, so that old caches are not read."""


@dataclass(frozen=True, eq=False)
class CrystalTable:
    """Decorated prototypes; n of them.

    Attributes:
        ids: of the crystals.
        graphs: shell graphs, one per prototype.
        graph: (n,) which of them each crystal decorates.
        elements: atomic numbers by slot, of each.
        labels: by name of `LABELS`, (n,) float, NaN where unknown.
        split: (n,) train, val or test.
    """

    ids: np.ndarray
    graphs: list[ShellGraph]
    graph: np.ndarray
    elements: list[tuple[int, ...]]
    labels: Mapping[str, np.ndarray]
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split."""
        return np.flatnonzero(self.split == split)

    def orbits(self, rows: np.ndarray) -> np.ndarray:
        """Number of orbits of each row."""
        return np.array([len(self.graphs[g].atoms) for g in self.graph[rows]])

    def shares(self, rows: np.ndarray) -> np.ndarray:
        """Atomic fractions, (rows, 104); column Z is the element of atomic number Z."""
        out = np.zeros((len(rows), 104))
        for k, i in enumerate(rows):
            graph = self.graphs[self.graph[i]]
            np.add.at(out[k], np.array(self.elements[i])[graph.slots], graph.atoms)
        return out / out.sum(1, keepdims=True)


def pack(graphs: Sequence[ShellGraph]) -> dict[str, torch.Tensor]:
    """Graphs as tensors padded to the largest: the arguments `prepare` of a `CGATModel` takes."""
    import torch

    n, size = max(len(g.atoms) for g in graphs), len(graphs)
    atoms, symmetry = np.zeros((size, n), np.int64), np.zeros((size, n), np.int64)
    counts = np.zeros((size, n, n, RANKS), np.float32)
    distances = np.zeros((size, n, RANKS), np.float32)
    for k, g in enumerate(graphs):
        m = len(g.atoms)
        atoms[k, :m], symmetry[k, :m] = g.atoms, g.symmetry
        counts[k, :m, :m], distances[k, :m] = g.counts, g.distances
    arrays = {"atoms": atoms, "symmetry": symmetry, "counts": counts, "distances": distances}
    out = {name: torch.from_numpy(a) for name, a in arrays.items()}
    return {**out, "spacegroup": torch.tensor([g.spacegroup for g in graphs])}


class CrystalCollator:
    """Row numbers of a table -> the arguments of a `CGATModel`."""

    def __init__(self, table: CrystalTable):
        self.table = table

    def __call__(self, rows: Sequence[int]) -> dict[str, Any]:
        """Rows (B,) -> a batch with labels."""
        import torch

        table, index = self.table, np.asarray(rows)
        graphs = [table.graphs[g] for g in table.graph[index]]
        batch: dict[str, Any] = pack(graphs)
        elements = np.zeros(batch["atoms"].shape, np.int64)
        for k, (i, graph) in enumerate(zip(index, graphs, strict=True)):
            elements[k, : len(graph.slots)] = np.array(table.elements[i])[graph.slots]
        labels = {name: torch.from_numpy(table.labels[name][index].astype(np.float32)) for name in LABELS}
        return {**batch, "elements": torch.from_numpy(elements), "labels": labels}


def read_labels(source: Path, cache_dir: Path | None = None) -> list[str]:
    """Protostructure label of every row of a table of crystals, "" where there is none; computed once, then cached.

    Four minutes of CPU time for 78,000 crystals.

    Raises:
        GenmatError: no such file.
    """
    import pandas as pd

    if not source.is_file():
        raise GenmatError(f"{source}: no such file; give the path of a structure table (parquet)")
    content = hashlib.sha256(source.read_bytes() + bytes([LABELLING])).hexdigest()[:12]
    cached = (cache_dir or Path.home() / ".cache" / "genmat").expanduser() / f"labels-{source.stem}-{content}.parquet"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        table = pd.read_parquet(source, columns=["lattice_parameters", "species", "frac_coords"])
        partial = cached.with_suffix(".partial")
        pd.DataFrame({"label": [_label(row) for row in table.itertuples(index=False)]}).to_parquet(partial)
        partial.replace(cached)
    return pd.read_parquet(cached).label.tolist()


def _label(row: Any) -> str:
    from pymatgen.core import Lattice

    numbers = np.array([ATOMIC_NUMBER[s] for s in row.species])
    try:
        matrix = Lattice.from_parameters(*row.lattice_parameters).matrix
        return from_arrays(matrix, np.stack(row.frac_coords), numbers).label
    except GenmatError:
        return ""


def load_crystals(
    shared: Path,
    cache_dir: Path | None = None,
    prototypes: Prototypes | None = None,
    also: Sequence[Path] = (),
    larger: int = 0,
) -> CrystalTable:
    """The labelled crystals of the Materials Project table.

    Shells are those of a typical member of the training split. Where the only one is the crystal itself, or there is
    none, it has no shells: its own geometry would give away what is not known of a new crystal.

    Args:
        shared: folder of the shared data.
        prototypes: mined from the training split; default the shipped ones.
        also: tables of relaxed decorations (`genmat.data.relaxed`) for the training split. Those of formulas in val or
            test are left out.
        larger: orbits, at most, of crystals of 21 to 52 atoms that join the training split, for what they tell of
            chemistry; they have no shells unless a smaller cell is one of the prototypes. 0 = no such crystals.
    """
    import pandas as pd

    def read(source: Path) -> pd.DataFrame:
        return pd.read_parquet(source, columns=COLUMNS).assign(label=read_labels(source, cache_dir))

    rows = read(shared / SOURCE)
    held = set(rows.formula[rows.split != "train"])
    more = [pd.read_parquet(path) for path in also]
    if larger:
        big = read(shared / LARGER)
        few = np.array([0 < orbits_of(label) <= larger for label in big.label])
        more.append(big[few & (big.split == "train").to_numpy()])
    rows = pd.concat([rows, *(part[~part.formula.isin(held)] for part in more)], ignore_index=True)
    rows = rows[rows.formation_energy_per_atom.notna() & (rows.label != "")].reset_index(drop=True)
    return crystal_table(rows, rows.label.tolist(), prototypes or load_prototypes())


def orbits_of(label: str) -> int:
    """Orbits of a protostructure label, 0 of an empty one."""
    return sum(map(len, read_label(label)[1])) if label else 0


def mine_prototypes(shared: Path, cache_dir: Path | None = None) -> Prototypes:
    """Prototypes of the training split, and of AFLOW's encyclopedia: what is shipped."""
    import pandas as pd

    source = shared / SOURCE
    labels = np.array(read_labels(source, cache_dir), dtype=object)
    rows = pd.read_parquet(source, columns=COLUMNS)
    train = (rows.split == "train").to_numpy()
    return with_aflow(mine(rows[train].reset_index(drop=True), labels[train].tolist()))


def crystal_table(rows: pd.DataFrame, labels: Sequence[str], prototypes: Prototypes) -> CrystalTable:
    """Rows of a structure table, with their protostructure labels, as decorations of prototypes."""
    reference = dict(zip(prototypes.keys, prototypes.elements, strict=True))
    volume = np.array([_volume_per_atom(p, len(s)) for p, s in zip(rows.lattice_parameters, rows.species, strict=True)])
    kept, graphs, graph, elements = [], _Graphs(prototypes), [], []
    for i, label in enumerate(labels):
        try:
            key, numbers = placed(label, reference)
        except GenmatError:
            continue
        row = prototypes.place.get(key)
        own = row is not None and prototypes.members[row] < 2 and rows.split.iloc[i] == "train"
        kept.append(i)
        graph.append(graphs.number(key, None if own else row))
        elements.append(numbers)
    rows, volume = rows.iloc[kept], volume[kept]
    values = (rows.formation_energy_per_atom.to_numpy(float), rows.e_above_hull.to_numpy(float), volume)
    return CrystalTable(
        rows.material_id.to_numpy(),
        graphs.made,
        np.array(graph, int),
        elements,
        dict(zip(LABELS, values, strict=True)),
        rows.split.to_numpy(str),
    )


def label_table(labels: Sequence[str], prototypes: Prototypes) -> CrystalTable:
    """Bare protostructure labels as decorations of prototypes, without energies.

    Raises:
        GenmatError: a label that cannot be read.
    """
    reference = dict(zip(prototypes.keys, prototypes.elements, strict=True))
    graphs, found = _Graphs(prototypes), [placed(label, reference) for label in labels]
    graph = np.array([graphs.number(key, prototypes.place.get(key)) for key, _ in found], int)
    nothing = {name: np.full(len(labels), np.nan) for name in LABELS}
    split = np.full(len(labels), "test")
    return CrystalTable(np.array(labels), graphs.made, graph, [numbers for _, numbers in found], nothing, split)


class _Graphs:
    """Graphs in the order in which they are first asked for."""

    def __init__(self, prototypes: Prototypes):
        self.prototypes, self.made, self.known = prototypes, [], {}

    def number(self, key: str, row: int | None) -> int:
        """Number of the graph of a row of the prototypes, or of one without shells."""
        name = key if row is None else row
        if name not in self.known:
            self.known[name] = len(self.made)
            self.made.append(bare_graph(*read_key(key)) if row is None else self.prototypes.graph(row))
        return self.known[name]


def _volume_per_atom(parameters: Sequence[float], n: int) -> float:
    a, b, c = parameters[:3]
    x, y, z = np.cos(np.radians(parameters[3:]))
    return float(a * b * c * np.sqrt(max(0.0, 1 - x * x - y * y - z * z + 2 * x * y * z)) / n)
