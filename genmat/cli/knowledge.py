"""The stages of a campaign that tell its candidates what is known already."""

from __future__ import annotations

from pathlib import Path

from genmat.campaign import Stage
from genmat.cli.disorder import disorder_plan, parents_plan
from genmat.cli.evidence import evidence_plan
from genmat.cli.explore import nearest_plan
from genmat.cli.settings import Screening


def knowledge_plan(screening: Screening, out: Path) -> tuple[Stage, list[Stage], list[Stage], dict[str, str]]:
    """The stages, and what the report says of them.

    Args:
        screening: what was asked for.
        out: folder of the campaign, which keeps the index of the papers.

    Returns:
        The stage of disorder, those before the ranking (disordered parents, nearest materials), those after it
        (papers), and one line per kind of knowledge.

    Raises:
        GenmatError: what was asked for cannot be read.
    """
    disorder, prior = disorder_plan(screening.disorder_prior)
    parents, phases = parents_plan(screening.disordered)
    nearest, placed = nearest_plan(screening.map)
    papers, read = evidence_plan(screening.papers, out)
    return disorder, [*parents, *nearest], papers, {**prior, **phases, **placed, **read}
