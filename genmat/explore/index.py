"""Vectors to search in: both parts of the embedding on one scale, and FAISS over them.

(Johnson, Douze and Jégou, IEEE Trans. Big Data 7, 535 (2021).) Distances are Euclidean, without unit: in each part the
mean square distance from the mean of all materials is 1, so a random pair of materials is about 2 apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genmat.errors import GenmatError

WIDTH = 64
"""Numbers kept of each part: principal components."""
EXACT_UP_TO = 20_000
"""Vectors that are searched one by one; more are searched cell by cell of an inverted file."""
CELLS_PER_ROOT = 4  # cells of the inverted file over the square root of the number of vectors
PROBES = 32
"""Cells looked into: `benchmarks/explore.py` prints what that finds of the exact neighbours."""
TRAINED_ON = 40  # vectors per cell that place the cells


@dataclass(frozen=True, eq=False)
class Projection:
    """Centre, principal axes and scale of one part of the embedding.

    Attributes:
        mean: (d,).
        axes: (d, `WIDTH`), divided by the scale.
    """

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, d) -> (N, `WIDTH`) float32."""
        return ((x - self.mean) @ self.axes).astype(np.float32)


def fit_projection(x: np.ndarray, width: int = WIDTH) -> Projection:
    """Projection on the principal axes of x (N, d), scaled to a mean square of 1; axes point to their largest entry."""
    x = x.astype(np.float64)
    mean = x.mean(0)
    values, vectors = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    axes = vectors[:, ::-1][:, :width]  # (d, width), the widest first
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    spread = float(values[::-1][:width].clip(min=0).sum())
    return Projection(mean, axes / np.sqrt(spread if spread > 1e-12 else 1.0))


def make_index(vectors: np.ndarray, seed: int = 0) -> Any:
    """A FAISS index over vectors (N, d); exact up to `EXACT_UP_TO` of them, an inverted file above.

    Raises:
        GenmatError: FAISS is not installed.
    """
    faiss = load_faiss()
    n, width = vectors.shape
    vectors = np.ascontiguousarray(vectors, np.float32)
    if n <= EXACT_UP_TO:
        index = faiss.IndexFlatL2(width)
        index.add(vectors)
        return index
    cells = int(CELLS_PER_ROOT * n**0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, cells)
    index.cp.seed, index.cp.niter = seed + 1234, 10
    index.cp.max_points_per_centroid = TRAINED_ON
    index.train(vectors)
    index.add(vectors)
    index.nprobe = PROBES
    return index


def search(index: Any, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances (N, k) and row numbers (N, k) of the nearest, nearest first; -1 where there are fewer."""
    squares, rows = index.search(np.ascontiguousarray(vectors, np.float32), k)
    return np.sqrt(np.maximum(squares, 0.0)), rows


def write_index(index: Any, path: Path) -> None:
    """Write an index."""
    load_faiss().write_index(index, str(path))


def read_index(path: Path) -> Any:
    """Read an index.

    Raises:
        GenmatError: FAISS is not installed, or the file is none of its.
    """
    faiss = load_faiss()
    try:
        return faiss.read_index(str(path))
    except RuntimeError:
        raise GenmatError(f"{path}: not an index of this map; build the map again with --fresh") from None


def save_projections(parts: Mapping[str, Projection], path: Path) -> None:
    """Write projections by name, as npz."""
    with path.open("wb") as file:
        np.savez(file, **{f"{n}_{k}": getattr(p, k) for n, p in parts.items() for k in ("mean", "axes")})


def load_projections(path: Path, names: tuple[str, ...]) -> dict[str, Projection]:
    """What `save_projections` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return {n: Projection(data[f"{n}_mean"], data[f"{n}_axes"]) for n in names}


def load_faiss() -> Any:
    """The library.

    Raises:
        GenmatError: it is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise GenmatError("explore: FAISS is not installed; run `pip install genmat[explore]`") from None
    return faiss
