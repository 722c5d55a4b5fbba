"""Campaigns: recorded at once, continued exactly, strict about what they continue."""

import errno
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from genmat.campaign import Campaign, Stage
from genmat.candidate import Candidate
from genmat.errors import GenmatError, RunError
from genmat.screening.funnel import group_reasons, run_funnel


def make(n: int = 6) -> list[Candidate]:
    return [Candidate(f"c{index}", "test") for index in range(n)]


def square(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    for candidate in candidates:
        yield candidate.add(square=int(candidate.id[1:]) ** 2)


def total(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    everyone = list(candidates)
    whole = sum(candidate.results["square"] for candidate in everyone)
    yield from (candidate.add(total=whole) for candidate in everyone)


def start(folder: Path, **settings: object) -> Campaign:
    return Campaign.open(folder, command="test", settings=settings)


def test_resume_computes_only_what_is_missing(tmp_path: Path) -> None:
    seen: list[str] = []

    def dies_at_c3(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        for candidate in candidates:
            if candidate.id == "c3":
                raise KeyboardInterrupt
            seen.append(candidate.id)
            yield candidate.add(done=True)

    with start(tmp_path) as campaign, pytest.raises(KeyboardInterrupt):
        campaign.run(Stage("work", dies_at_c3), campaign.source(make))

    def finishes(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        for candidate in candidates:
            seen.append(candidate.id)
            yield candidate.add(done=True)

    with start(tmp_path) as campaign:
        loaded = campaign.source(lambda: pytest.fail("the source is recorded already"))
        after = campaign.run(Stage("work", finishes), loaded)
    assert seen == ["c0", "c1", "c2", "c3", "c4", "c5"]
    assert [candidate.id for candidate in after] == seen and all(candidate.results["done"] for candidate in after)


def test_whole_set_stage_is_all_or_nothing(tmp_path: Path) -> None:
    calls: list[int] = []

    def counted(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        everyone = list(candidates)
        calls.append(len(everyone))
        yield from total(everyone)

    for _ in range(2):
        with start(tmp_path) as campaign:
            after, _ = run_funnel(
                campaign, campaign.source(make), [Stage("square", square), Stage("t", counted, "whole")]
            )
    assert calls == [6] and {candidate.results["total"] for candidate in after} == {55}


def test_one_bad_candidate_fails_alone(tmp_path: Path) -> None:
    def picky(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        for candidate in candidates:
            if candidate.id == "c2":
                raise ValueError("atoms on top of each other")
            if candidate.id != "c4":
                yield candidate.add(ok=True)

    with start(tmp_path) as campaign:
        after, rows = run_funnel(campaign, campaign.source(make), [Stage("picky", picky), Stage("square", square)])
    assert after[2].failure == "picky: ValueError: atoms on top of each other"
    assert after[4].failure == "picky: the stage gave no result"
    assert [candidate.id for candidate in after if candidate.alive] == ["c0", "c1", "c3", "c5"]
    assert [(row["entered"], row["passed"], row["failed"]) for row in rows] == [(6, 6, 0), (6, 4, 2), (4, 4, 0)]
    assert sum(rows[1]["reasons"].values()) == 2


def test_results_in_any_order_keep_the_campaigns_order(tmp_path: Path) -> None:
    def backwards(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        yield from reversed(list(square(candidates)))

    with start(tmp_path) as campaign:
        after = campaign.run(Stage("back", backwards), campaign.source(make))
    with Campaign.read(tmp_path) as campaign:
        assert campaign.candidates() == after and [candidate.id for candidate in after] == [c.id for c in make()]


def test_killed_process_resumes_to_the_same(tmp_path: Path) -> None:
    """SIGKILL in the middle of a stage, from within: the file holds everything that was yielded before."""
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2]); import test_campaign as t; from pathlib import Path\n"
        "def dies(candidates):\n"
        "    for candidate in t.square(candidates):\n"
        "        if candidate.id == sys.argv[3]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield candidate\n"
        "with t.start(Path(sys.argv[1])) as c: c.run(t.Stage('square', dies), c.source(t.make))\n"
    )
    for victim in ("c1", "c1", "c4"):
        run = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent), victim])
        assert run.returncode == -signal.SIGKILL
        if victim == "c4":
            with Campaign.read(tmp_path) as campaign:
                assert [c.id for c in campaign.candidates() if c.results] == ["c0", "c1", "c2", "c3"]
    with start(tmp_path) as campaign:
        assert campaign.run(Stage("square", square), campaign.source(make)) == list(square(make()))


def test_other_settings_are_refused(tmp_path: Path) -> None:
    start(tmp_path, fmax=0.05, n=3).close()
    start(tmp_path, fmax=0.05, n=3).close()
    with pytest.raises(GenmatError, match=r"fmax was 0\.05, now 0\.1.*--fresh"):
        start(tmp_path, fmax=0.1, n=3)
    Campaign.open(tmp_path, command="test", settings={"fmax": 0.1, "n": 3}, fresh=True).close()


def test_other_version_is_refused(tmp_path: Path) -> None:
    start(tmp_path).close()
    with sqlite3.connect(tmp_path / "campaign.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for opener in (lambda: start(tmp_path), lambda: Campaign.read(tmp_path)):
        with pytest.raises(GenmatError, match="campaign format 99"):
            opener()


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "campaign.db").write_text("not a database at all, but long enough to be one " * 50)
    with pytest.raises(GenmatError, match="not a campaign file"):
        start(tmp_path)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with start(tmp_path), pytest.raises(GenmatError, match="in use by another run"):
        start(tmp_path)


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GenmatError, match="cannot write there"):
        start(tmp_path / "file" / "out")


def test_full_disk_loses_nothing(tmp_path: Path) -> None:
    """The file cannot grow: one line that says what to do; with space again, only what is missing is computed."""
    seen: list[str] = []

    def long(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        for candidate in candidates:
            seen.append(candidate.id)
            yield candidate.add(text="x" * 5000)

    with start(tmp_path) as campaign:
        pages = campaign._db.execute("PRAGMA page_count").fetchone()[0]
        everyone = campaign.source(make)
        campaign._db.execute(f"PRAGMA max_page_count = {pages + 6}")
        with pytest.raises(RunError, match="database or disk is full; free some space and run the same command again"):
            campaign.run(Stage("long", long), everyone)
    stopped = len(seen)
    assert 1 < stopped < 6
    with start(tmp_path) as campaign:
        done = campaign.run(Stage("long", long), campaign.source(make))
    assert [len(c.results["text"]) for c in done] == [5000] * 6
    assert seen[stopped:] == [f"c{index}" for index in range(stopped - 1, 6)]  # the last one was not recorded


def test_a_full_disk_in_a_stage_is_no_candidates_fault(tmp_path: Path) -> None:
    def full(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        yield next(iter(candidates))
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/hull.npz")

    with start(tmp_path) as campaign:
        everyone = campaign.source(make)
        with pytest.raises(RunError, match=r"hull: /cache/hull\.npz: No space left on device; free some space and run"):
            campaign.run(Stage("hull", full), everyone)
        assert len(campaign.tally()) == 2 and campaign.tally()[1]["failed"] == 0
        assert all(c.alive for c in campaign.run(Stage("hull", square), everyone))


def test_repeated_id_is_refused(tmp_path: Path) -> None:
    with start(tmp_path) as campaign, pytest.raises(GenmatError, match="c0: two candidates"):
        campaign.source(lambda: make(1) + make(1))


def test_reasons_that_differ_in_numbers_are_one() -> None:
    reasons = [
        "atoms 0.31 Å apart, closer than 0.5 Å",
        "no atoms",
        "atoms 0.4 Å apart, closer than 0.5 Å",
        "no atoms",
        "x",
    ]
    assert group_reasons(reasons) == {"atoms … Å apart, closer than 0.5 Å": 2, "no atoms": 2, "x": 1}


def test_set_aside_leaves_the_funnel_but_goes_on(tmp_path: Path) -> None:
    odd = Stage("odd", square, aside=lambda c: "even" if c.results["square"] % 2 == 0 else None)
    with start(tmp_path) as campaign:
        after, rows = run_funnel(campaign, campaign.source(make), [odd, Stage("total", total, "whole")])
    assert [(row["entered"], row["passed"]) for row in rows] == [(6, 6), (6, 3), (3, 3)]
    assert rows[1]["reasons"] == {"even": 3} and after[0].results["total"] == 55
