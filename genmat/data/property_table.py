"""Small sets of properties on known prototypes: what a pretrained network is transferred to.

The structure tasks of Matbench v0.1 (Dunn et al., npj Comput. Mater. 6, 138, 2020) as composition and space group; the
Materials Project table tells the protostructure wherever it knows exactly one of that formula in that group.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from genmat.crystal.composition import parse_formula, reduced_formula
from genmat.data.crystal_table import LABELS, SOURCE, CrystalTable, label_table, read_labels
from genmat.data.prototypes import Prototypes, load_prototypes
from genmat.errors import GenmatError

TASKS = {"phonons": "last phdos peak", "dielectric": "n", "log_kvrh": "log10(K_VRH)", "log_gvrh": "log10(G_VRH)"}
"""Column of each task's target: 1/cm, refractive index, log10 GPa twice."""
SEED, FOLDS = 18012019, 5
"""Of Matbench's folds; the first is the test split, a tenth of the rest is val."""


def load_property(
    shared: Path,
    task: str,
    rows: int | None = None,
    cache_dir: Path | None = None,
    prototypes: Prototypes | None = None,
) -> CrystalTable:
    """A task as decorated prototypes; the target takes the place of the energy.

    Args:
        shared: folder of the shared data.
        task: of `TASKS`.
        rows: size of the training split, drawn at random but always the same; None = all.

    Raises:
        GenmatError: a table is missing.
    """
    import pandas as pd

    path = shared / "composition" / f"matbench_{task}.csv.gz"
    if not path.is_file():
        raise GenmatError(f"{path}: no such file; give the folder of the shared data")
    table = pd.read_csv(path)
    rng = np.random.RandomState(SEED)
    fold = np.empty(len(table), int)
    order = rng.permutation(len(table))  # KFold(5, shuffle=True, random_state=SEED)
    for k, part in enumerate(np.array_split(order, FOLDS)):
        fold[part] = k
    known = _known(shared, cache_dir)
    labels = [known.get((_formula(c), int(g)), "") for c, g in zip(table.composition, table.spg_num, strict=True)]
    kept = np.flatnonzero([bool(label) for label in labels])
    made = label_table([labels[i] for i in kept], prototypes or load_prototypes())
    split = np.where(fold[kept] == 0, "test", "train").astype("<U6")
    train = np.random.default_rng(SEED).permutation(np.flatnonzero(split == "train"))
    n_val = len(train) // 10
    split[train[:n_val]] = "val"
    if rows is not None:
        split[train[n_val + rows :]] = "unused"
    target = table[TASKS[task]].to_numpy(float)[kept]
    nothing = np.full(len(kept), np.nan)
    values = dict.fromkeys(LABELS, nothing) | {"energy": target}
    return CrystalTable(table.mbid.to_numpy()[kept], made.graphs, made.graph, made.elements, values, split)


def _formula(text: str) -> str:
    return reduced_formula(parse_formula(text.replace(" ", "")))


def _known(shared: Path, cache_dir: Path | None) -> dict[tuple[str, int], str]:
    """Label by formula and space group, where there is only one."""
    import pandas as pd

    source = shared / SOURCE
    rows = pd.read_parquet(source, columns=["formula", "spacegroup_number"])
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for formula, group, label in zip(rows.formula, rows.spacegroup_number, read_labels(source, cache_dir), strict=True):
        if label:
            found[formula, int(group)].add(label)
    return {key: labels.pop() for key, labels in found.items() if len(labels) == 1}
