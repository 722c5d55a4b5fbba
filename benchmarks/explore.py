"""Maps of materials: what building costs, how fast and how exact the search is, and whether neighbours are alike.

    genmat explore build $MP/structures_le20.parquet $MP/structures_21to52.parquet --out map
    python benchmarks/explore.py --map map --blocks --picture

Same prototype and chemistry: queries are materials of the test split, searched for among train and val only (formulas
never cross the splits). Mendeleev distance: how far, on the scale of Mendeleev numbers, the atoms of one composition
have to be moved to give the other, per atom (the earth mover's distance of Hargreaves et al., Chem. Mater. 32, 10610
(2020), on Pettifor's scale).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genmat.crystal.composition import ELEMENTS
from genmat.data.composition_tables import encode, read_amounts
from genmat.data.template_start import mendeleev
from genmat.explore import embed
from genmat.explore.index import WIDTH, load_faiss, search
from genmat.explore.map import draw, judge
from genmat.explore.near import MaterialsMap

MODELS = Path(__file__).resolve().parents[1] / "models"
NEIGHBOURS = 5


def fractions(formulas: np.ndarray) -> np.ndarray:
    """Atomic fractions (N, 104), column Z."""
    numbers, amounts = encode([read_amounts(formula) for formula in formulas])
    out = np.zeros((len(formulas), 104), np.float32)
    np.put_along_axis(out, numbers, amounts, axis=1)
    out[:, 0] = 0
    return out / out.sum(1, keepdims=True)


def likeness(shares: np.ndarray, queries: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Means over neighbours: share of elements in common (Jaccard), Mendeleev distance."""
    scale = np.array([0.0, *(mendeleev(element) for element in ELEMENTS)])
    order = np.argsort(scale)
    gaps = np.diff(scale[order])
    overlap, moved = [], []
    for i, row in zip(queries, found, strict=True):
        one, other = shares[i], shares[row]
        overlap.append(((one > 0) & (other > 0)).sum(1) / ((one > 0) | (other > 0)).sum(1))
        ahead = np.cumsum(one[order] - other[:, order], axis=1)[:, :-1]
        moved.append((np.abs(ahead) * gaps).sum(1))
    return float(np.mean(overlap)), float(np.mean(moved))


def exact(vectors: np.ndarray, base: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The k nearest rows of `base` to each of `queries`, by looking at all."""
    index = load_faiss().IndexFlatL2(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors[base], np.float32))
    return base[search(index, vectors[queries], k)[1]]


def alike(known: MaterialsMap, n: int, seed: int) -> None:
    """Prototype and chemistry of neighbours, beside simpler ways to choose them."""
    table, vectors = known.table, np.asarray(known.vectors)
    kinds, shares = table.prototype.to_numpy(), fractions(table.formula.to_numpy())
    random = np.random.default_rng(seed)
    base = np.flatnonzero((table.split != "test").to_numpy())
    test = np.flatnonzero((table.split == "test").to_numpy())
    seen = np.isin(kinds[test], np.unique(kinds[base]))
    queries = np.sort(random.permutation(test[seen])[:n])
    print(
        f"{len(test):,} test materials, {seen.sum():,} of them with a prototype among the {len(base):,} others; "
        f"{len(queries):,} asked"
    )
    members = {kind: base[kinds[base] == kind] for kind in np.unique(kinds[queries])}
    ways: dict[str, Callable[[], np.ndarray]] = {
        "embedding": lambda: exact(vectors, base, queries, NEIGHBOURS),
        "prototype part alone": lambda: exact(vectors[:, :WIDTH], base, queries, NEIGHBOURS),
        "composition part alone": lambda: exact(vectors[:, WIDTH:], base, queries, NEIGHBOURS),
        "composition vector": lambda: exact(shares, base, queries, NEIGHBOURS),
        "any of the same prototype": lambda: np.stack([random.choice(members[kinds[i]], NEIGHBOURS) for i in queries]),
        "any material": lambda: random.choice(base, (len(queries), NEIGHBOURS)),
    }
    print(
        f"{'neighbours by':26} {'same prototype in 5':>20} {'the first':>10} {'elements shared':>16} {'Mendeleev':>10}"
    )
    for name, way in ways.items():
        found = way()
        same = kinds[found] == kinds[queries][:, None]
        overlap, moved = likeness(shares, queries, found)
        print(f"{name:26} {same.any(1).mean():20.3f} {same[:, 0].mean():10.3f} {overlap:16.3f} {moved:10.2f}")


def speed(known: MaterialsMap, n: int, seed: int) -> None:
    """Milliseconds of one question, and what the index finds of the exact neighbours."""
    vectors = np.array(known.vectors)
    faiss = load_faiss()
    flat = faiss.IndexFlatL2(vectors.shape[1])
    flat.add(vectors)
    asked = vectors[np.random.default_rng(seed).permutation(len(vectors))[:n]]
    distances, _ = search(flat, asked, 10)
    found = search(known.crystals, asked, 10)[0]
    recall = float((found <= distances[:, -1:] + 1e-4).mean())
    labels = known.table.label.iloc[:200].tolist()
    formulas = known.table.formula.iloc[:200].tolist()
    known.near(labels[0], 20)
    known.near(formulas[0], 20)
    print(f"recall@10 of {len(asked):,} materials against exact search: {recall:.4f}")
    for name, questions in {
        "index": [lambda x=x: search(known.crystals, x[None], 10) for x in asked[:500]],
        "exact search": [lambda x=x: search(flat, x[None], 10) for x in asked[:100]],
        "label, embedded and told": [lambda x=x: known.near(x, 20) for x in labels],
        "formula, embedded and told": [lambda x=x: known.near(x, 20) for x in formulas],
    }.items():
        wall, cpu = np.array([timed(question) for question in questions]).T
        print(f"{name:27} {np.median(cpu):7.2f} ms CPU, {np.median(wall):7.2f} ms wall (median of {len(wall)})")


def timed(question: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU time, ms."""
    wall, cpu = time.perf_counter(), time.process_time()
    question()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def blocks(known: MaterialsMap, n: int, seed: int) -> None:
    """The prototype part read behind each block of the language model, unprojected, on a sample."""
    random = np.random.default_rng(seed)
    split, kinds = known.table.split.to_numpy(), known.table.prototype.to_numpy()
    small = (known.table.n_atoms <= 20).to_numpy()
    base = random.permutation(np.flatnonzero((split == "train") & small))[:n]
    held = random.permutation(np.flatnonzero((split == "val") & small))[: n // 10]  # chosen here, judged on test
    queries = held[np.isin(kinds[held], kinds[base])]
    rows = np.concatenate([base, queries])
    print(f"prototype part behind each block; {len(queries):,} val materials among {len(base):,} of the training split")
    for number in range(5):
        embed.BLOCKS = number
        made = embed.Embedder(MODELS / "crystal-gpt", MODELS / "composition")
        vectors = np.zeros((len(kinds), 128), np.float32)
        vectors[rows] = made.prototypes(known.table.label.iloc[rows].tolist())
        same = kinds[exact(vectors, base, queries, NEIGHBOURS)] == kinds[queries][:, None]
        print(f"{number} blocks: same prototype in 5 {same.any(1).mean():.3f}, the first {same[:, 0].mean():.3f}")
    embed.BLOCKS = 1


def picture(known: MaterialsMap, n: int, seed: int) -> None:
    """Trustworthiness and purity of the picture by UMAP and by principal components."""
    some = np.random.default_rng(seed).permutation(len(known.table))[:n]
    vectors, kinds = known.vectors[some], known.table.prototype.iloc[some].tolist()
    for method in ("UMAP", "PCA"):
        start = time.process_time()
        made = draw(vectors, seed, method)
        spent, told = time.process_time() - start, judge(made, vectors, kinds, seed)
        print(
            f"{method}: trustworthiness {told['trustworthiness']:.3f} (chance 0.5), {told['clusters']} clusters of "
            f"{100 * told['clustered']:.0f} % of {len(vectors):,} points, purity {told['purity']:.3f} "
            f"(prototypes shuffled {told['purity_shuffled']:.3f}), {spent:.0f} CPU-s"
        )


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map", type=Path, required=True, help="folder of `genmat explore build`")
    parser.add_argument("--n", type=int, default=4000, help="test materials asked")
    parser.add_argument("--points", type=int, default=30_000, help="points of the picture")
    parser.add_argument("--blocks", action="store_true", help="compare the blocks of the language model")
    parser.add_argument("--picture", action="store_true", help="judge the picture")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    known = MaterialsMap(arguments.map, MODELS / "crystal-gpt", MODELS / "composition")
    told = known.settings
    print(
        f"{told['materials']:,} materials, {told['prototypes']:,} prototypes, built in {told['cpu_seconds']:.0f} CPU-s"
    )
    speed(known, 2000, arguments.seed)
    alike(known, arguments.n, arguments.seed)
    if arguments.blocks:
        blocks(known, 8000, arguments.seed)
    if arguments.picture:
        picture(known, arguments.points, arguments.seed)


if __name__ == "__main__":
    main()
