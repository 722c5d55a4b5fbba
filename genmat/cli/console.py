"""What the terminal shows: notes and progress on stderr, results on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

QUIET_SECONDS = 3.0
"""Steps shorter than this show no progress."""
LINE_SECONDS = 20.0
"""Without a terminal, a line of progress is printed this often."""

HEADINGS = {
    "e_above_hull": "E hull",
    "p_stable": "P stable",
    "disorder_probability": "P disorder",
    "formation_energy_per_atom": "E form",
    "spacegroup": "group",
    "n_atoms": "atoms",
}
"""Short names of columns in the terminal; energies in eV/atom."""


def note(text: str) -> None:
    """One line for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(value: Mapping[str, Any]) -> None:
    """One JSON object for a program, on stdout; NaN and infinities become null."""
    print(json.dumps(_finite(value), ensure_ascii=False, default=str, allow_nan=False))


def emit_list(values: Sequence[Mapping[str, Any]]) -> None:
    """One JSON list of objects for a program, on stdout; NaN and infinities become null."""
    print(json.dumps(_finite(values), ensure_ascii=False, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value


class Progress:
    """Progress with the time left, for steps longer than `QUIET_SECONDS`: a bar in a terminal, else a line at times.

    An instance is called with (stage, done, all), as the funnel does.
    """

    def __init__(self) -> None:
        self._stage = ""
        self._start = self._last = 0.0
        self._first = 0
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self.close()
            self._stage, self._start, self._last, self._first = stage, now, now, done
            return
        if now - self._start < QUIET_SECONDS:
            return
        if sys.stderr.isatty():
            self._draw(done, total)
        elif now - self._last >= LINE_SECONDS and done < total:
            self._last = now
            note(f"{stage}: {done} of {total}, {self._left(done, total, now)}")

    def _left(self, done: int, total: int, now: float) -> str:
        """Time left from the pace of this run; what an earlier run recorded does not count."""
        if done <= self._first:
            return "time left unknown"
        seconds = (now - self._start) / (done - self._first) * (total - done)
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._stage, total=total, completed=self._first)
        self._bar.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Lines(Progress):
    """Progress for a program: one JSON object a line on stderr, ``{"stage", "done", "total"}``, some a second."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self._stage and done < total and now - self._last < 0.2:
            return
        self._stage, self._last = stage, now
        note(json.dumps({"stage": stage, "done": done, "total": total}))


@contextmanager
def progress(show: bool = True) -> Iterator[Progress | None]:
    """A `Progress` that leaves a clean terminal behind, or None; `Lines` where ``GENMAT_PROGRESS=lines``."""
    kind = Lines if os.environ.get("GENMAT_PROGRESS") == "lines" else Progress
    shown = kind() if show else None
    try:
        yield shown
    finally:
        if shown is not None:
            shown.close()


def show_funnel(funnel: Sequence[Mapping[str, Any]]) -> None:
    """The funnel as a table on stdout."""
    from rich.table import Table

    table = Table("stage", box=None, header_style="bold")
    for column in ("in", "out", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("reasons")
    for row in funnel:
        reasons = ", ".join(f"{count} {reason}" for reason, count in list(row["reasons"].items())[:3])
        table.add_row(
            row["stage"].replace("_", " "), str(row["entered"]), str(row["passed"]), f"{row['seconds']:.1f}", reasons
        )
    _print(table)


def show_best(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """The first rows of the results as a table on stdout."""
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in columns:
        heading = HEADINGS.get(column, column.replace("_", " "))
        justify = "left" if column in ("formula", "id") else "right"
        table.add_column(heading, justify=justify, no_wrap=column != "id")  # a narrow terminal wraps the id alone
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    _print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _print(table: Any) -> None:
    from rich.console import Console

    Console().print(table)
