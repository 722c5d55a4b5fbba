"""Disorder in the campaigns: the stage, and what the report says about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from genmat.campaign import Stage
from genmat.candidate import Candidate

MODEL = "disorder"
"""Shipped model that tells disorder from composition."""


def disorder_plan(prior: float | None) -> tuple[Stage, dict[str, str]]:
    """The stage that tells how likely candidates are disordered, and what to say about it in the report.

    Raises:
        GenmatError: prior out of range.
    """
    from genmat.data.disorder import THRESHOLD, check_prior, disorder_stage

    folder = model_folder()
    used = stated(prior)
    told = f"from composition; ordered means below {THRESHOLD:g} where {used}"
    work = partial(disorder_stage, folder=folder, prior=check_prior(prior))
    return Stage("disorder", work, "whole"), {"disorder": told}


def parents_plan(path: str | None) -> tuple[list[Stage], dict[str, str]]:
    """The stage that finds the known disordered phase a candidate only orders, where such phases are given.

    Raises:
        GenmatError: nothing disordered in the file.
    """
    if path is None:
        return [], {}
    from genmat.crystal.parents import disordered_parent_stage
    from genmat.data.known_disordered import read_disordered

    phases = read_disordered(path)

    def known(candidate: Candidate) -> str | None:
        return "orders a known disordered phase" if candidate.results.get("disordered_parent") else None

    stage = Stage("disordered_parent", partial(disordered_parent_stage, parents=phases), "each", known)
    return [stage], {"disordered_phases": f"{len(phases)} known, from {phases.source}"}


def model_folder() -> Path:
    """Folder of the disorder model."""
    from genmat.generation.sampler import find_model

    return Path(find_model(MODEL))


def stated(prior: float | None) -> str:
    """The prior in words."""
    from genmat.data.disorder import prior_of

    origin = "as in the training data" if prior is None else "as asked"
    return f"{100 * prior_of(model_folder(), prior):.3g}\u00a0% of such formulas are disordered ({origin})"


def with_disorder(candidates: Sequence[Candidate], prior: float | None) -> list[Candidate]:
    """Candidates with `disorder_probability`, `disorder_type` and `disorder_prior`."""
    from genmat.data.disorder import check_prior, disorder_stage

    return list(disorder_stage(candidates, model_folder(), check_prior(prior)))


def judged_disorder(rows: dict[str, list[Any]], prior: float | None) -> dict[str, list[Any]]:
    """Rows of `genmat evaluate generation` (`Judged`) with probability and type of disorder."""
    import dataclasses

    from genmat.data.disorder import check_prior, disorder_of

    formulas = [row.formula for found in rows.values() for row in found]
    known = disorder_of(formulas, model_folder(), check_prior(prior))
    names = ("disorder_probability", "disorder_type")
    return {
        name: [dataclasses.replace(row, **{key: known.get(row.formula, {}).get(key) for key in names}) for row in found]
        for name, found in rows.items()
    }
