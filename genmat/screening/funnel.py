"""The funnel: stages in order over one campaign, with counts and the reasons of failure at each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from genmat.campaign import Campaign, Stage
from genmat.candidate import Candidate

Progress = Callable[[str, int, int], None]


def run_funnel(
    campaign: Campaign, candidates: Sequence[Candidate], stages: Sequence[Stage], progress: Progress | None = None
) -> tuple[list[Candidate], list[dict[str, Any]]]:
    """Run `stages` in order; what the campaign has recorded already is not computed again.

    Args:
        campaign: where every result is recorded.
        candidates: all candidates, the failed included.
        stages: what to run; each gets the candidates still alive after the one before.
        progress: called with (stage, done, all) as candidates finish.

    Returns:
        All candidates in the order given, and one row per stage: ``stage``, ``in``, ``out``, ``failed``, ``reasons``
        (reason -> count, most frequent first) and ``seconds`` (wall time over all runs of the campaign).
    """
    current = list(candidates)
    rows = [_row("read", current, current)] if any(not candidate.alive for candidate in current) else []
    for stage in stages:
        report = None if progress is None else (lambda done, total, name=stage.name: progress(name, done, total))
        before = [candidate for candidate in current if candidate.alive]
        current = campaign.run(stage, current, report)
        ids = {candidate.id for candidate in before}
        rows.append(_row(stage.name, before, [candidate for candidate in current if candidate.id in ids]))
    seconds = campaign.seconds()
    return current, [{**row, "seconds": round(seconds.get(row["stage"], 0.0), 1)} for row in rows]


def _row(stage: str, before: Sequence[Candidate], after: Sequence[Candidate]) -> dict[str, Any]:
    failed = [candidate for candidate in after if not candidate.alive]
    reasons = Counter(reason_kind(candidate.failure or "") for candidate in failed)
    return {
        "stage": stage,
        "in": len(before),
        "out": len(after) - len(failed),
        "failed": len(failed),
        "reasons": dict(reasons.most_common()),
    }


def reason_kind(failure: str) -> str:
    """The part of a failure that many candidates share: after the stage, before the first detail.

    Stages write ``kind (detail)`` or ``kind: detail``; numbers and ids belong into the detail.

    >>> reason_kind("valid: atoms too close (0.31 Å)")
    'atoms too close'
    """
    reason = failure.split(": ", 1)[-1]
    return reason.split(" (", 1)[0].split(": ", 1)[0].strip()
