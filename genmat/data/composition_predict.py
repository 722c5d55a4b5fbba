"""Predictions of composition models for many formulas: batches of like size, results in the order asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genmat.data.composition_structures import OTHER, fitting
from genmat.data.composition_tables import SYSTEMS, TYPES, encode, is_whole, read_amounts, spell, system_of
from genmat.errors import GenmatError

BATCH = 512
SYMMETRY = ["spacegroup", "prototype", "formula_units"]
PROTOTYPES = 0.25  # weight of the prototypes in the space group: chosen on val, where 0.15 to 0.5 are alike
PROPERTIES = ["formation_energy", "band_gap", "is_metal", "volume"]


def load_reader(folder: Path) -> Any:
    """The composition or disorder model of a snapshot, ready to predict.

    Raises:
        GenmatError: no model there, or one that reads something else.
    """
    import json

    from genmat.modeling.auto import COMPOSITIONS

    try:
        kind = json.loads((folder / "config.json").read_text())["model_type"]
    except (OSError, ValueError, KeyError):
        raise GenmatError(f"{folder}: holds no model; give the folder of a snapshot") from None
    if kind not in COMPOSITIONS:
        raise GenmatError(f"{folder}: a {kind} model does not read compositions; use composition or disorder")
    return COMPOSITIONS[kind][1].from_pretrained(folder).eval()


def predict(model: Any, numbers: np.ndarray, amounts: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    """Everything a model predicts for N compositions.

    Args:
        numbers: (N, T) atomic numbers, 0 where padded.
        amounts: (N, T) amounts.
        options: of the model's forward, such as `prior`, `tasks`, `members`.

    Returns:
        By name, arrays of length N in the order of the rows: the tasks of a `CompositionModel`, or `probability`,
        `types` and `log_odds` of a `DisorderModel`.
    """
    import torch

    counts = (numbers > 0).sum(1)
    order = np.argsort(counts, kind="stable")
    parts: list[dict[str, np.ndarray]] = []
    with torch.inference_mode():
        for size in np.unique(counts):
            same = order[counts[order] == size]
            for i in range(0, len(same), BATCH):
                rows = same[i : i + BATCH]
                ids = torch.from_numpy(np.ascontiguousarray(numbers[rows, :size]))
                out = model(ids, torch.from_numpy(np.ascontiguousarray(amounts[rows, :size])), **options)
                found = out.predictions if "predictions" in out else {k: v for k, v in out.items() if v is not None}
                parts.append({name: value.numpy() for name, value in found.items()})
    place = np.argsort(order, kind="stable")
    return {name: np.concatenate([part[name] for part in parts])[place] for name in (parts[0] if parts else {})}


def system_probabilities(chances: np.ndarray) -> np.ndarray:
    """Probabilities of the crystal systems (N, 7) from those of the space groups (N, 230)."""
    sums = np.zeros((len(SYSTEMS), len(chances)))
    np.add.at(sums, system_of(np.arange(230)), chances.T)
    return sums.T


def spacegroup_probabilities(logp: np.ndarray, shapes: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """Probabilities of the space groups (N, 230): the model's own and, by a quarter, those of the prototypes that fit.

    Args:
        logp: (N, 230) log-probabilities of the model's head.
        shapes: (N, P) of `prototype_probabilities`; what is left to rare ones is spread as the head says.
        keys: of the prototypes, beginning with their space group.
    """
    own, told = np.exp(logp), np.zeros(logp.shape)
    groups = [int(key.split(":")[0]) - 1 for key in keys if key != OTHER]
    np.add.at(told.T, groups, shapes[:, :-1].T)
    return (1 - PROTOTYPES) * own + PROTOTYPES * (told + shapes[:, -1:] * own)


def prototype_probabilities(logp: np.ndarray, keys: Sequence[str], amounts: np.ndarray) -> np.ndarray:
    """Probabilities (N, P) of prototypes from log-probabilities: zero where the stoichiometry is another.

    What the others had goes to those that fit and, at the end, to `OTHER`, in proportion; fractional formulas fit none.
    """
    chances = np.exp(logp) * fitting(keys, amounts)
    chances[:, -1] = np.exp(logp[:, -1])
    return chances / chances.sum(1, keepdims=True)


def read_formulas(formulas: Sequence[str]) -> list[dict[str, float] | GenmatError]:
    """Compositions, or the reason why there is none, formula by formula."""
    found: list[dict[str, float] | GenmatError] = []
    for formula in formulas:
        try:
            found.append(read_amounts(formula))
        except GenmatError as error:
            found.append(error)
    return found


def symmetry_rows(
    model: Any, compositions: Sequence[dict[str, float]], top: int = 5, members: int | None = None
) -> list[dict[str, Any]]:
    """Likeliest space groups, crystal systems and anonymous prototypes of compositions.

    Args:
        members: how many networks of the model are asked, the first ones; default all.

    Returns:
        Per composition `formula`, `spacegroups`, `crystal_systems` and `prototypes` (those of its stoichiometry; what
        is missing to one is the probability of a rare prototype): lists of the value and its `probability`, likeliest
        first; `formula_units`, likeliest number in the primitive cell.
    """
    numbers, amounts = encode(compositions)
    found = predict(model, numbers, amounts, tasks=SYMMETRY, members=members)
    keys = model.config.tasks["prototype"]["labels"]
    shapes = prototype_probabilities(found["prototype"], keys, amounts)
    chances = spacegroup_probabilities(found["spacegroup"], shapes, keys)
    systems = system_probabilities(chances)
    units = [model.config.tasks["formula_units"]["labels"][i] for i in found["formula_units"].argmax(1)]
    rows = []
    for i, composition in enumerate(compositions):
        best, likely, built = (np.argsort(-part[i], kind="stable")[:top] for part in (chances, systems, shapes[:, :-1]))
        rows.append({
            "formula": spell(composition),
            "spacegroups": [{"number": int(g) + 1, "probability": float(chances[i, g])} for g in best],
            "crystal_systems": [{"name": SYSTEMS[s], "probability": float(systems[i, s])} for s in likely],
            "prototypes": [{"key": keys[k], "probability": float(shapes[i, k])} for k in built if shapes[i, k] > 0],
            "formula_units": int(units[i]),
        })  # fmt: skip
    return rows


def property_rows(
    model: Any, compositions: Sequence[dict[str, float]], members: int | None = None
) -> list[dict[str, Any]]:
    """Properties of the most stable crystal of each composition, as DFT (PBE) would have them.

    Args:
        members: how many networks of the model are asked, the first ones; default all.

    Returns:
        Per composition `formula`, `formation_energy_per_atom` (eV/atom), `band_gap` (eV), `metal_probability`,
        `volume_per_atom` (Å³).
    """
    found = predict(model, *encode(compositions), tasks=PROPERTIES, members=members)
    metal = 1 / (1 + np.exp(-found["is_metal"]))
    return [
        {
            "formula": spell(composition),
            "formation_energy_per_atom": float(found["formation_energy"][i]),
            "band_gap": float(max(0.0, found["band_gap"][i])),
            "metal_probability": float(metal[i]),
            "volume_per_atom": float(found["volume"][i]),
        }
        for i, composition in enumerate(compositions)
    ]


def disorder_rows(
    model: Any, compositions: Sequence[dict[str, float]], prior: float | None = None, members: int | None = None
) -> list[dict[str, Any]]:
    """Probability and type of disorder.

    Args:
        prior: share of disordered compositions among formulas like these, in (0, 1); default the training data's.
        members: how many networks of the model are asked, the first ones; default all.

    Returns:
        Per composition `formula`, `disorder_probability`, `type` (O, S, V or M: the likeliest if more likely disordered
        than not), `type_probabilities`, `prior` (the one used), `whole` (amounts are whole numbers; the rule calls
        every other formula disordered).

    Raises:
        GenmatError: prior out of range.
    """
    if prior is not None and not 0 < prior < 1:
        raise GenmatError(f"prior {prior:g}: not between 0 and 1; give the expected share of disordered compositions")
    found = predict(model, *encode(compositions), prior=prior, members=members)
    rows = []
    for composition, chance, types in zip(compositions, found["probability"], found["types"], strict=True):
        whole = is_whole(composition)
        kind = TYPES[1 + int(types.argmax())] if chance >= 0.5 else "O"
        used = prior if prior is not None and whole else model.config.priors[0 if whole else 1]
        shares = [1 - chance, *(chance * types)]
        rows.append({
            "formula": spell(composition),
            "disorder_probability": float(chance),
            "type": kind,
            "type_probabilities": {name: float(share) for name, share in zip(TYPES, shares, strict=True)},
            "prior": float(used),
            "whole": whole,
        })  # fmt: skip
    return rows
