"""The funnel: stages in order over one campaign, with counts and the reasons of failure at each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from genmat.campaign import Campaign, Stage
from genmat.candidate import Candidate

Progress = Callable[[str, int, int], None]
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


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
        All candidates in the order given, and one row per stage, the source first: ``stage``, ``entered``, ``passed``,
        ``failed``, ``reasons`` (reason -> count, most frequent first) and ``seconds`` (wall time over all runs of the
        campaign). Candidates that a stage set aside (`Stage.aside`) do not enter later rows.
    """
    current = list(candidates)
    counted = {candidate.id for candidate in current}
    rows = [_row("source", current, current, counted, None)]
    for stage in stages:
        report = None if progress is None else (lambda done, total, name=stage.name: progress(name, done, total))
        before, current = current, campaign.run(stage, current, report)
        rows.append(_row(stage.name, before, current, counted, stage.aside))
    seconds = campaign.seconds()
    return current, [{**row, "seconds": round(seconds.get(row["stage"], 0.0), 1)} for row in rows]


def _row(
    stage: str,
    before: Sequence[Candidate],
    after: Sequence[Candidate],
    counted: set[str],
    aside: Callable[[Candidate], str | None] | None,
) -> dict[str, Any]:
    """One line of the funnel; takes what fails or is set aside out of `counted`."""
    entered, reasons = 0, []
    for old, new in zip(before, after, strict=True):
        if new.id not in counted or (not old.alive and stage != "source"):
            continue
        entered += 1
        reason = new.failure.split(": ", 1)[-1] if new.failure is not None else aside(new) if aside else None
        if reason is not None:
            reasons.append(reason)
            counted.discard(new.id)
    return {
        "stage": stage,
        "entered": entered,
        "passed": entered - len(reasons),
        "failed": len(reasons),
        "reasons": group_reasons(reasons),
    }


def group_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Count reasons that differ only in their numbers together, most frequent first; a number that differs becomes …

    >>> group_reasons(["atoms 0.31 Å apart, closer than 0.5 Å", "atoms 0.44 Å apart, closer than 0.5 Å"])
    {'atoms … Å apart, closer than 0.5 Å': 2}
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for reason in reasons:
        groups[_NUMBER.sub("…", reason)].append(reason)
    shown = {_common(members): len(members) for members in groups.values()}
    return dict(sorted(shown.items(), key=lambda item: (-item[1], item[0])))


def _common(reasons: Sequence[str]) -> str:
    """The text all `reasons` share, with … where their numbers differ."""
    columns = zip(*(_NUMBER.findall(reason) for reason in reasons), strict=True)
    numbers = iter([column[0] if len(set(column)) == 1 else "…" for column in columns])
    return _NUMBER.sub(lambda match: next(numbers), reasons[0])
