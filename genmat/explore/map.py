"""Two dimensions of a map, its clusters, and how far to believe them.

UMAP (McInnes, Healy and Melville, arXiv:1802.03426) on the nearest neighbours FAISS finds, principal components where
it is not installed; HDBSCAN (Campello, Moulavi and Sander, 2013) on the picture, so that clusters are what one sees.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.composition import sort_elements
from genmat.crystal.prototype import from_structure
from genmat.crystal.slots import of_protostructure, prototype_key, read_key
from genmat.crystal.wyckoff import space_group
from genmat.data.composition_tables import SYSTEMS, system_of
from genmat.data.prototypes import atoms_of
from genmat.errors import GenmatError
from genmat.explore.index import load_faiss, search

if TYPE_CHECKING:
    import pandas as pd

NEIGHBOURS = 15
JUDGED = 4000
"""Points on which trustworthiness is measured: it takes all pairs of them."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Points in the plane, and their clusters.

    Attributes:
        places: (N, 2), between -1 and 1.
        clusters: (N,), the largest is 0; -1 belongs to none.
        method: UMAP or PCA.
    """

    places: np.ndarray
    clusters: np.ndarray
    method: str


def draw(vectors: np.ndarray, seed: int = 0, method: str | None = None) -> Picture:
    """Lay vectors (N, d) out in the plane and find clusters there.

    Args:
        method: UMAP or PCA; default UMAP where it is installed.

    Raises:
        GenmatError: fewer than three points, or scikit-learn is not installed.
    """
    if len(vectors) < 3:
        raise GenmatError(f"{len(vectors)} materials: too few for a map; build one of more")
    if find_spec("sklearn") is None:
        raise GenmatError("explore: scikit-learn is not installed; run `pip install genmat[explore]`")
    if method is None:
        method = "UMAP" if find_spec("umap") is not None else "PCA"
    vectors = np.ascontiguousarray(vectors, np.float32)
    places = _umap(vectors, seed) if method == "UMAP" else _pca(vectors)
    middle = np.median(places, axis=0)
    places = np.arcsinh(
        (places - middle) / np.maximum(places.std(0), 1e-9)
    )  # far islands drawn in: how far says nothing
    middle = (places.max(0) + places.min(0)) / 2
    places = (places - middle) / max(float(np.abs(places - middle).max()), 1e-9)
    return Picture(places, find_clusters(places), method)


def _pca(vectors: np.ndarray) -> np.ndarray:
    """The two widest principal components, (N, 2)."""
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    two = axes[:, :-3:-1]
    return centred @ (two * np.sign(two[np.abs(two).argmax(0), [0, 1]]))


def _umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    """UMAP, (N, 2), one thread: the same seed gives the same picture."""
    faiss = load_faiss()
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    k = min(NEIGHBOURS, len(vectors) - 1)
    distances, rows = search(index, vectors, k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP says that a seed means one thread, and no transform without its index
        from umap import UMAP

        model = UMAP(
            n_neighbors=k, min_dist=0.05, init="pca", random_state=seed, n_jobs=1, precomputed_knn=(rows, distances)
        )
        return np.asarray(model.fit_transform(vectors))


def find_clusters(places: np.ndarray) -> np.ndarray:
    """Clusters of points in the plane (N, 2) by HDBSCAN, (N,): the largest is 0, -1 belongs to none."""
    from sklearn.cluster import HDBSCAN

    size = max(5, len(places) // 500)
    found = HDBSCAN(min_cluster_size=size, min_samples=5, copy=True).fit_predict(places)
    order = [name for name, _ in Counter(found[found >= 0].tolist()).most_common()]
    number = {name: i for i, name in enumerate(order)} | {-1: -1}
    return np.array([number[name] for name in found.tolist()])


def judge(picture: Picture, vectors: np.ndarray, prototypes: Sequence[str], seed: int = 0) -> dict[str, float]:
    """How far to believe a picture.

    Returns:
        ``trustworthiness`` (Venna and Kaski, 2001: 1 when neighbours in the plane are neighbours in the embedding, 0.5
        by chance) of `JUDGED` points drawn at random, that of principal components, ``purity`` of clusters (share of
        the clustered that carry the commonest prototype of their cluster), the same for shuffled prototypes,
        ``clusters`` and ``clustered`` (share of points in one).
    """
    from sklearn.manifold import trustworthiness

    random = np.random.default_rng(seed)
    some = random.permutation(len(vectors))[:JUDGED]
    k = max(1, min(NEIGHBOURS, (len(some) - 1) // 2 - 1))
    flat = _pca(np.ascontiguousarray(vectors[some], np.float32))
    names = np.asarray(prototypes)
    return {
        "trustworthiness": float(trustworthiness(vectors[some], picture.places[some], n_neighbors=k)),
        "trustworthiness_pca": float(trustworthiness(vectors[some], flat, n_neighbors=k)),
        "purity": purity(picture.clusters, names),
        "purity_shuffled": purity(picture.clusters, random.permutation(names)),
        "clusters": int(picture.clusters.max() + 1),
        "clustered": float((picture.clusters >= 0).mean()),
    }


def purity(clusters: np.ndarray, names: np.ndarray) -> float:
    """Share of the clustered points that carry the commonest name of their cluster; NaN without clusters."""
    inside = clusters >= 0
    common = [Counter(names[clusters == c].tolist()).most_common(1)[0][1] for c in np.unique(clusters[inside])]
    return float(sum(common) / inside.sum()) if common else float("nan")


def cluster_names(clusters: np.ndarray, table: pd.DataFrame) -> list[str]:
    """A name for each cluster: its commonest prototype where that fills a third of it, else what its crystals share."""
    return [_name(table[clusters == c]) for c in range(int(clusters.max(initial=-1)) + 1)]


def _name(rows: pd.DataFrame) -> str:
    key, count = Counter(rows.prototype.tolist()).most_common(1)[0]
    if count >= len(rows) / 3:
        return prototype_name(key)
    system = SYSTEMS[int(np.bincount(system_of(rows.spacegroup.to_numpy() - 1)).argmax())]
    elements = [sort_elements(_symbols(formula)) for formula in rows.formula]
    kinds = (COMPOUNDS.get(own[-1], "intermetallics") for own in elements)  # by the most electronegative
    family, count = Counter(kinds).most_common(1)[0]
    most = Counter(len(own) for own in elements).most_common(1)[0][0]
    if most == 1:
        return f"{system} elements"
    name = f"{system} {family if 2 * count >= len(rows) else 'compounds'}"
    element, count = Counter(e for own in elements for e in own[:-1]).most_common(1)[0]
    return f"{name} with {element}" if 2 * count >= len(rows) else f"{name} of {most} elements"


def _symbols(formula: str) -> list[str]:
    return re.findall(r"[A-Z][a-z]?", formula)


def prototype_name(key: str) -> str:
    """Name of an anonymous prototype: from AFLOW's encyclopedia, else formula and space group; the key behind it."""
    number, letters = read_key(key)
    counts = sorted(atoms_of(number, letters).tolist())
    divisor = math.gcd(*counts)
    formula = "".join(f"{chr(65 + i)}{n // divisor if n > divisor else ''}" for i, n in enumerate(counts))
    return f"{minerals().get(key) or f'{formula} {space_group(number).symbol}'} ({key})"


COMPOUNDS = {
    "O": "oxides", "S": "sulfides", "Se": "selenides", "Te": "tellurides", "F": "fluorides", "Cl": "chlorides",
    "Br": "bromides", "I": "iodides", "N": "nitrides", "P": "phosphides", "As": "arsenides", "Sb": "antimonides",
    "H": "hydrides", "C": "carbides", "B": "borides", "Si": "silicides", "Ge": "germanides",
}  # fmt: skip
"""Compounds by their most electronegative element."""


@cache
def minerals() -> dict[str, str]:
    """Name of a prototype by its key, from AFLOW's encyclopedia in pymatgen: a mineral, else the Strukturbericht.

    (Mehl et al., Comput. Mater. Sci. 136, S1, 2017.) Of several names for one the first is taken.
    """
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    found: dict[str, str] = {}
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        name, symbol = (entry["tags"].get(tag) or "" for tag in ("mineral", "strukturbericht"))
        name = name.partition(",")[0] or (f"{symbol} type" if symbol and symbol != "None" else "")
        try:
            proto = from_structure(entry["snl"].structure)
            key = prototype_key(proto.spacegroup, of_protostructure(proto)[0])
        except GenmatError:
            continue
        if name:
            found.setdefault(key, name)
    return found


def categories(table: pd.DataFrame) -> dict[str, Any]:
    """Columns a map can be coloured by besides the table's own: crystal system and number of elements."""
    systems = [SYSTEMS[i] for i in system_of(table.spacegroup.to_numpy() - 1)]
    return {"crystal_system": systems, "n_elements": [len(_symbols(formula)) for formula in table.formula]}
