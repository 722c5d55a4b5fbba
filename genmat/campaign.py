"""The record of a run: every stage result of every candidate in one SQLite file, so that any run can be continued.

A campaign is killed anywhere and the same command continues it: a result is committed before the next stage sees it,
and every stage is fed from what was committed, in the candidates' order, so an interrupted run and an undisturbed one
compute the same tables.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genmat.candidate import Candidate
from genmat.errors import GenmatError, RunError

SCHEMA_VERSION = 1
FILENAME = "campaign.db"
_SCARCE = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_MEND = "free some space and run the same command again: nothing recorded is lost"
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE candidates (position INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, payload TEXT NOT NULL);
CREATE TABLE results (stage TEXT NOT NULL, id TEXT NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (stage, id))
    WITHOUT ROWID;
CREATE TABLE stages (stage TEXT PRIMARY KEY, seconds REAL NOT NULL DEFAULT 0, complete INTEGER NOT NULL DEFAULT 0);
"""

StageFunction = Callable[[Iterable[Candidate]], Iterable[Candidate]]


@dataclass(frozen=True)
class Stage:
    """A step of the funnel.

    Attributes:
        name: unique in the campaign; a rerun finds its results by it.
        function: ``Iterable[Candidate] -> Iterator[Candidate]``; gets the candidates that are still alive.
        kind: ``each`` if a candidate's result depends on that candidate alone (recorded one by one, only missing ones
            are computed on resume); ``whole`` if it depends on the set (recorded in one transaction, or not at all).
        aside: why a candidate no longer counts in the funnel although nothing is wrong with it (a duplicate, a known
            phase), or None if it counts; it keeps running.
    """

    name: str
    function: StageFunction
    kind: Literal["each", "whole"] = "each"
    aside: Callable[[Candidate], str | None] | None = None


class Campaign:
    """One open campaign file. Use `Campaign.open` and close it, or use it as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

    @classmethod
    def open(cls, folder: Path, *, command: str, settings: Mapping[str, Any], fresh: bool = False) -> Campaign:
        """Open the campaign of `folder`, or start one.

        Args:
            folder: created when missing; the file is ``folder/campaign.db``.
            command: what is run, such as ``screen``.
            settings: everything that decides the result, JSON-able. Another run of the same folder must have the same.
            fresh: drop what an earlier run left.

        Raises:
            GenmatError: unwritable folder, a file of another schema version, other settings, or in use elsewhere.
        """
        folder = Path(folder)
        path = folder / FILENAME
        _prepare(folder)
        if fresh:
            for ending in ("", "-wal", "-shm"):
                Path(f"{path}{ending}").unlink(missing_ok=True)
        campaign = cls(path, _connect(path))
        try:
            campaign._check(command, _canonical(settings))
        except BaseException:
            campaign.close()
            raise
        return campaign

    @classmethod
    def read(cls, folder: Path) -> Campaign:
        """Open an existing campaign to look at it, whatever its settings.

        Raises:
            GenmatError: no campaign there, or one of another schema version.
        """
        path = Path(folder) / FILENAME
        if not path.is_file():
            raise GenmatError(f"{folder}: no {FILENAME} in it; give the --out folder of an earlier run")
        campaign = cls(path, _connect(path))
        try:
            campaign._check_version()
        except BaseException:
            campaign.close()
            raise
        return campaign

    def close(self) -> None:
        """Close the file; what was recorded stays."""
        self._db.close()

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- what is stored --------------------------------------------------------------------------------------------

    @property
    def meta(self) -> dict[str, Any]:
        """Command, settings and versions of the run."""
        return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM meta ORDER BY key")}

    def note(self, **values: Any) -> None:
        """Remember facts about the run (such as the model's name) beside the settings."""
        with self._transaction():
            for key, value in values.items():
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def seconds(self) -> dict[str, float]:
        """Wall time spent in each stage (s), interrupted runs included, in the order the stages first ran."""
        return dict(self._db.execute("SELECT stage, seconds FROM stages ORDER BY rowid"))

    def candidates(self, stages: Sequence[str] | None = None) -> list[Candidate]:
        """Every candidate as it stands after `stages` (default: after everything recorded), in campaign order."""
        order = [row[0] for row in self._db.execute("SELECT stage FROM stages ORDER BY rowid")]
        states = {
            id: json.loads(payload)
            for id, payload in self._db.execute("SELECT id, payload FROM candidates ORDER BY position")
        }
        for stage in order:
            if stages is None or stage in stages:
                for id, change in self._recorded(stage).items():
                    states[id].update(change)
        return [Candidate.from_dict(state) for state in states.values()]

    def tally(self) -> list[dict[str, Any]]:
        """The funnel of a campaign that has not finished: recorded results of each stage, and how many failed."""
        rows = []
        for stage, seconds in self.seconds().items():
            recorded = self._recorded(stage).values()
            failed = sum(change.get("failure") is not None for change in recorded)
            counts = {"entered": len(recorded), "passed": len(recorded) - failed, "failed": failed, "reasons": {}}
            rows.append({"stage": stage, **counts, "seconds": round(seconds, 1)})
        return rows

    # --- running ---------------------------------------------------------------------------------------------------

    def source(self, function: Callable[[], Iterable[Candidate]], name: str = "source") -> list[Candidate]:
        """The campaign's candidates: from the file when they are recorded, else from `function`, recorded at once.

        Raises:
            GenmatError: `function` gives two candidates the same id.
        """
        if not self._complete(name):
            start = time.monotonic()
            rows = [(index, candidate.id, _dump(candidate.to_dict())) for index, candidate in enumerate(function())]
            if len({row[1] for row in rows}) < len(rows):
                twice = next(row[1] for row in rows if sum(row[1] == other[1] for other in rows) > 1)
                raise GenmatError(f"{twice}: two candidates have this id; make the ids unique")
            with self._transaction():
                self._db.execute("DELETE FROM candidates")
                self._db.executemany("INSERT INTO candidates VALUES (?, ?, ?)", rows)
                self._finish(name, time.monotonic() - start)
        rows = self._db.execute("SELECT payload FROM candidates ORDER BY position")
        return [Candidate.from_dict(json.loads(payload)) for (payload,) in rows]

    def run(
        self, stage: Stage, candidates: Sequence[Candidate], progress: Callable[[int, int], None] | None = None
    ) -> list[Candidate]:
        """Run `stage` on the living of `candidates` and record it; what is recorded already is not computed again.

        An exception in an ``each`` stage becomes the failure of the candidate that caused it, and a candidate that
        the stage does not give back has failed: nothing is lost without a reason.

        Args:
            stage: what to run.
            candidates: all candidates of the campaign, the failed included.
            progress: called with (done, all) after each recorded candidate.

        Returns:
            All candidates after the stage, in the order given.
        """
        alive = [candidate for candidate in candidates if candidate.alive]
        states = {candidate.id: candidate.to_dict() for candidate in alive}
        recorded = self._recorded(stage.name) if stage.kind == "each" or self._complete(stage.name) else {}
        missing = [candidate for candidate in alive if candidate.id not in recorded]
        if missing or not self._complete(stage.name):
            compute = self._each if stage.kind == "each" else self._whole
            report = progress or (lambda done, total: None)
            report(len(alive) - len(missing), len(alive))
            compute(stage, missing, states, lambda done: report(len(alive) - len(missing) + done, len(alive)))
            recorded = self._recorded(stage.name)
        return [
            Candidate.from_dict({**states[candidate.id], **recorded[candidate.id]}) if candidate.alive else candidate
            for candidate in candidates
        ]

    def _each(self, stage: Stage, missing: list[Candidate], states: dict, report: Callable[[int], None]) -> None:
        todo = {candidate.id: candidate for candidate in missing}
        last = time.monotonic()
        for result in isolated(stage, missing):
            del todo[result.id]
            now = time.monotonic()
            with self._transaction():
                self._record(stage.name, states[result.id], result)
                self._spend(stage.name, now - last)
            last = now
            report(len(missing) - len(todo))
        with self._transaction():
            self._finish(stage.name, time.monotonic() - last)

    def _whole(self, stage: Stage, missing: list[Candidate], states: dict, report: Callable[[int], None]) -> None:
        start = time.monotonic()
        results = {result.id: result for result in stage.function(iter(missing))}
        with self._transaction():
            self._db.execute("DELETE FROM results WHERE stage = ?", (stage.name,))
            for candidate in missing:
                result = results.get(candidate.id) or candidate.fail(stage.name, "the stage gave no result")
                self._record(stage.name, states[candidate.id], result)
            self._finish(stage.name, time.monotonic() - start)
        report(len(missing))

    # --- SQLite ----------------------------------------------------------------------------------------------------

    def _recorded(self, stage: str) -> dict[str, dict[str, Any]]:
        rows = self._db.execute("SELECT id, payload FROM results WHERE stage = ?", (stage,))
        return {id: json.loads(payload) for id, payload in rows}

    def _record(self, stage: str, before: Mapping[str, Any], after: Candidate) -> None:
        """Store what the stage changed; unchanged parts (mostly the structure) would only repeat the last stage."""
        change = {key: value for key, value in after.to_dict().items() if _dump(value) != _dump(before[key])}
        self._db.execute("INSERT INTO results VALUES (?, ?, ?)", (stage, after.id, _dump(change)))

    def _complete(self, stage: str) -> bool:
        row = self._db.execute("SELECT complete FROM stages WHERE stage = ?", (stage,)).fetchone()
        return bool(row and row[0])

    def _spend(self, stage: str, seconds: float) -> None:
        self._db.execute("INSERT OR IGNORE INTO stages (stage) VALUES (?)", (stage,))
        self._db.execute("UPDATE stages SET seconds = seconds + ? WHERE stage = ?", (seconds, stage))

    def _finish(self, stage: str, seconds: float) -> None:
        self._spend(stage, seconds)
        self._db.execute("UPDATE stages SET complete = 1 WHERE stage = ?", (stage,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing.

        Raises:
            RunError: the file cannot grow (disk full, quota, input/output error); what was recorded before stays.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # SQLite may have rolled back by itself
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise RunError(f"{self.path}: {error}; {_MEND}") from None
            raise

    def _check(self, command: str, settings: dict[str, Any]) -> None:
        """Start an empty file, or make sure the stored run is the same as this one."""
        if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            from genmat import __version__

            with self._transaction():
                for statement in _TABLES.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                for key, value in {"command": command, "settings": settings, "genmat": __version__}.items():
                    self._db.execute("INSERT INTO meta VALUES (?, ?)", (key, json.dumps(value)))
            return
        self._check_version()
        meta = self.meta
        before = {"command": meta["command"], **meta["settings"]}
        now = {"command": command, **settings}
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if changed:
            what = ", ".join(f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in changed)
            raise GenmatError(f"{self.path}: made with other settings ({what}); use another --out, or --fresh")

    def _check_version(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise GenmatError(
                f"{self.path}: campaign format {version}, this genmat reads {SCHEMA_VERSION}; "
                "use the genmat that wrote it, another --out, or --fresh"
            )


def isolated(stage: Stage, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """Results of a per-candidate stage, whatever happens: one bad candidate fails alone.

    When the stage raises, the first candidate without a result is run by itself (stages work in order, so it is the
    culprit), then the rest goes on.
    """
    todo = {candidate.id: candidate for candidate in candidates}
    while todo:
        try:
            for result in stage.function(iter(list(todo.values()))):
                if todo.pop(result.id, None) is not None:
                    yield result
            break
        except RunError:
            raise
        except Exception as error:
            _blame_the_run(stage, error)
            candidate = todo.pop(next(iter(todo)))
            try:
                alone = next(iter(stage.function(iter([candidate]))), None)
                yield alone or candidate.fail(stage.name, "the stage gave no result")
            except RunError:
                raise
            except Exception as error:
                _blame_the_run(stage, error)
                yield candidate.fail(stage.name, f"{type(error).__name__}: {error}")
    for candidate in todo.values():
        yield candidate.fail(stage.name, "the stage gave no result")


def _blame_the_run(stage: Stage, error: Exception) -> None:
    """Raise `RunError` for what is no candidate's fault: no space on a disk, no memory, no file handles."""
    if isinstance(error, OSError) and error.errno in _SCARCE:
        where = f"{error.filename}: " if error.filename else ""
        raise RunError(f"{stage.name}: {where}{error.strerror}; {_MEND}") from None


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".genmat-write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise GenmatError(f"{folder}: cannot write there ({reason}); choose another --out") from None


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # Autocommit: transactions are opened by name. Exclusive locking keeps a second run of the same folder out, and
        # the system drops the lock when a process is killed.
        connection = sqlite3.connect(path, isolation_level=None, timeout=2)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise GenmatError(f"{path}: in use by another run; wait for it, or use another --out") from None
        if "full" in str(error):
            raise GenmatError(f"{path}: {error}; {_MEND}") from None
        raise GenmatError(f"{path}: cannot open it ({error}); use another --out") from None
    except sqlite3.DatabaseError as error:
        raise GenmatError(f"{path}: not a campaign file ({error}); use another --out, or --fresh") from None
    return connection


def _canonical(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from JSON, so that tuples equal lists."""
    return json.loads(json.dumps(settings, default=str))


def _dump(value: Any) -> str:
    """JSON with floats that come back bit for bit; arrays (site properties of structures) as lists."""
    return json.dumps(value, separators=(",", ":"), default=lambda array: array.tolist())
