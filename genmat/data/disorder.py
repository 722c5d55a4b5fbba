"""Disorder of candidates, from their compositions: a cheap stage of every funnel, and what counts as ordered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genmat.candidate import Candidate
from genmat.errors import GenmatError

THRESHOLD = 0.5
"""A material counts as ordered below this probability of disorder, corrected for the stated prior."""


def is_ordered(results: Mapping[str, Any]) -> bool | None:
    """Whether a material counts as ordered, the O of S.U.N.O; None where its probability of disorder is unknown.

    What only orders a known disordered phase (`disordered_parent`) does not, whatever its probability.

    >>> is_ordered({"disorder_probability": 0.31}), is_ordered({})
    (True, None)
    """
    if results.get("disordered_parent"):
        return False
    chance = results.get("disorder_probability")
    return None if chance is None else chance < THRESHOLD


def check_prior(prior: float | None) -> float | None:
    """The prior itself.

    Raises:
        GenmatError: not between 0 and 1.
    """
    if prior is not None and not 0 < prior < 1:
        raise GenmatError(f"prior {prior:g}: not between 0 and 1; give the expected share of disordered compositions")
    return prior


def prior_of(folder: Path, prior: float | None) -> float:
    """The prior that holds for formulas of whole amounts: the one asked for, else that of the model's training data."""
    import json

    return prior if prior is not None else float(json.loads((folder / "config.json").read_text())["priors"][0])


def disorder_stage(candidates: Iterable[Candidate], folder: Path, prior: float | None = None) -> Iterator[Candidate]:
    """Add `disorder_probability`, `disorder_type` (O, S, V, M) and `disorder_prior`; nothing fails here.

    A whole-set stage: the last bits of a prediction depend on the batch it is made in.

    Args:
        candidates: with a structure or a protostructure.
        folder: snapshot of the disorder model.
        prior: share of disordered compositions among formulas like these; None = that of the training data.
    """
    everyone = list(candidates)
    known = disorder_of([candidate.formula for candidate in everyone], folder, prior)
    for candidate in everyone:
        yield candidate.add(**known.get(candidate.formula, {}))


def disorder_of(formulas: Sequence[str], folder: Path, prior: float | None = None) -> dict[str, dict[str, Any]]:
    """What is known of the disorder of formulas, each distinct one predicted once; those nobody can read are left out.

    Returns:
        By formula the results of `disorder_stage`, probabilities rounded to 1e-5.
    """
    from genmat.data.composition_predict import disorder_rows, load_reader, read_formulas

    distinct = sorted({formula for formula in formulas if formula})
    read = {f: c for f, c in zip(distinct, read_formulas(distinct), strict=True) if not isinstance(c, GenmatError)}
    if not read:
        return {}
    rows = disorder_rows(load_reader(folder), list(read.values()), prior)
    return {
        formula: {
            "disorder_probability": round(row["disorder_probability"], 5),
            "disorder_type": row["type"],
            "disorder_prior": round(row["prior"], 5),
        }
        for formula, row in zip(read, rows, strict=True)
    }
