"""A campaign that is killed, loses workers and runs out of disk, against one that is left alone.

    python benchmarks/robustness.py [--n 2000] [--folder robustness] [--second m3gnet:PATH] [--ray] [--against FOLDER]

Real commands only: `genmat generate` with both shipped models makes the candidates (≤ 20 atoms), `genmat screen`
relaxes them with ``--workers`` processes. The disturbed run lives on a tmpfs of its own; at random moments, in random
order, all its processes are killed (``--kills`` times), one worker is killed, and the tmpfs is filled up, once each.
With ``--ray`` it runs on a cluster of two nodes on this machine, and one node is killed besides. After an interruption
the same command is started again. Where no tmpfs may be mounted, a limit on the size of files stands for the full disk.

At the end: candidates lost, doubled or changed since they were recorded, processes left behind, and results.csv and
structures byte for byte against the undisturbed run (``--against``: the folder of an earlier one with the same input).
Exit status 1 if anything differs. An undisturbed run that was interrupted is continued, a finished one is used again.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

SLOW_STAGES = ("relax", "second")
KILLED = -signal.SIGKILL


def genmat(*arguments: object) -> list[str]:
    """The command as a user would type it, for this interpreter."""
    return [sys.executable, "-m", "genmat", *map(str, arguments)]


def make_input(folder: Path, n: int, seed: int) -> Path:
    """n generated crystals of at most 20 atoms as JSON lines, half from each shipped model."""
    path = folder / f"input-{n}.jsonl"
    if path.is_file():
        return path
    lines = []
    for model, count in (("crystal-gpt", n - n // 2), ("crystal-rnn", n // 2)):
        part = folder / f"{model}.jsonl"
        subprocess.run(genmat("generate", "--model", model, "--n", count, "--seed", seed, "--out", part), check=True)
        for line in part.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            lines.append(json.dumps({"id": f"{model}-{row['id']}", "structure": row["structure"]}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# --- looking at a campaign from outside -----------------------------------------------------------------------------


def records(out: Path) -> dict[tuple[str, str], str]:
    """(stage, candidate) -> hash of its result, from a copy of the campaign file: its owner has it locked."""
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("", "-wal"):
            source = Path(f"{out / 'campaign.db'}{ending}")
            if source.exists():
                shutil.copyfile(source, Path(folder) / source.name)
        try:
            db = sqlite3.connect(Path(folder) / "campaign.db")
            rows = db.execute("SELECT stage, id, payload FROM results").fetchall()
            db.close()
        except sqlite3.Error:  # copied in the middle of a checkpoint
            return {}
    return {(stage, name): hashlib.sha256(payload.encode()).hexdigest() for stage, name, payload in rows}


def progress(out: Path) -> int:
    """Results of the slow stages recorded so far."""
    return sum(stage in SLOW_STAGES for stage, _ in records(out))


def children(pid: int) -> list[int]:
    """Processes started by `pid`, and by those."""
    parent: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, frontier = [], [pid]
    while frontier:
        frontier = [child for child, above in parent.items() if above in frontier]
        found += frontier
    return found


def alive(pid: int) -> bool:
    """Whether a process still runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def actors() -> list[int]:
    """Processes of Ray that relax."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(b"ray::Relaxer"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


# --- the disturbed run ----------------------------------------------------------------------------------------------


@dataclass
class Disturbed:
    """The run under fire, and what was seen of it."""

    command: list[str]
    out: Path
    mounted: bool
    rng: random.Random
    cluster: object = None
    node: object = None
    limit: int | None = None  # bytes a file may have, instead of a full disk
    process: subprocess.Popen | None = None
    seen: dict[tuple[str, str], str] = field(default_factory=dict)
    family: set[int] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    changed: int = 0
    clear_lines: int = 0

    def start(self) -> None:
        """Start the same command (again)."""

        def limited() -> None:
            if self.limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))

        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=(self.out.parent / "disturbed.err").open("w"),
            start_new_session=True,
            preexec_fn=limited,
        )

    def wait(self, recorded: int) -> bool:
        """Until so many slow results are recorded; False when it ended before."""
        assert self.process is not None
        while self.process.poll() is None:
            self.family |= set(children(self.process.pid))
            if progress(self.out) >= recorded:
                time.sleep(self.rng.uniform(0, 1.0))
                return self.process.poll() is None
            time.sleep(0.5)
        return False

    def check(self) -> None:
        """Everything recorded so far must still be there, unchanged."""
        now = records(self.out)
        self.changed += sum(now.get(key) != digest for key, digest in self.seen.items())
        self.seen.update(now)

    def disturb(self, what: str) -> None:
        """Do it, wait for what follows from it, and start again where that is needed."""
        assert self.process is not None
        print(f"{what} after {progress(self.out)} results", flush=True)
        self.log.append(what)
        if what == "kill all":
            for pid in self.rng.sample(found := [self.process.pid, *children(self.process.pid)], len(found)):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        elif what == "kill worker":
            while self.process.poll() is None and not (team := self.team()):
                time.sleep(0.2)
            if self.process.poll() is None:
                os.kill(self.rng.choice(team), signal.SIGKILL)
            return
        elif what == "kill node":
            self.cluster.remove_node(self.node, allow_graceful=False)
            return
        elif what == "full disk":
            self.fill()
        self.check()
        self.start()

    def team(self) -> list[int]:
        """The processes that relax."""
        assert self.process is not None
        return actors() if self.cluster is not None else children(self.process.pid)

    def fill(self) -> None:
        """No more space until the run has ended by itself."""
        assert self.process is not None
        ballast = self.out.parent / "ballast"
        if not self.mounted:
            self.process.kill()
            self.process.wait()
            sizes = [file.stat().st_size for file in self.out.glob("campaign.db*")]
            self.limit = max(sizes) + 65536
            self.start()
        while self.process.poll() is None:
            if self.mounted:
                fill_up(ballast)
            time.sleep(0.2)
        self.limit = None
        ballast.unlink(missing_ok=True)
        said = (self.out.parent / "disturbed.err").read_text().splitlines()
        errors = [line for line in said if line.startswith("error: ")]
        clear = self.process.returncode == 1 and len(errors) == 1 and "Traceback" not in "\n".join(said)
        self.clear_lines += clear
        print(f"  exit {self.process.returncode}: {errors[0] if errors else said[-1:]}", flush=True)


def fill_up(ballast: Path) -> None:
    """Append until nothing more fits."""
    try:
        with ballast.open("ab", buffering=0) as stream:
            while stream.write(bytes(4096)) == 4096:
                pass
    except OSError:
        return


def disturb_all(run: Disturbed, kills: int, total: int) -> None:
    """The whole ordeal, then to the end."""
    events = ["kill all"] * kills + ["kill worker", "full disk"] + (["kill node"] if run.cluster else [])
    run.rng.shuffle(events)
    moments = sorted(run.rng.sample(range(total // 20, max(total * 9 // 10, len(events) + 1)), len(events)))
    run.start()
    for moment, what in zip(moments, events, strict=True):
        if not run.wait(moment):
            print(f"{what}: the run ended first", flush=True)
            continue
        run.disturb(what)
    assert run.process is not None
    if run.process.wait() != 0:
        sys.exit(f"the last run failed: {(run.out.parent / 'disturbed.err').read_text()[-500:]}")
    run.check()


# --- the verdict ----------------------------------------------------------------------------------------------------


def compare(plain: Path, out: Path, given: Path) -> dict[str, object]:
    """What is lost, doubled or different at the end."""
    ids = [json.loads(line)["id"] for line in given.read_text(encoding="utf-8").splitlines()]
    rows = [row["id"] for row in csv.DictReader((out / "results.csv").open(encoding="utf-8"))]
    ours = {file.name: file.read_bytes() for file in (out / "structures").iterdir()}
    theirs = {file.name: file.read_bytes() for file in (plain / "structures").iterdir()}
    return {
        "lost": len(set(ids) - set(rows)),
        "doubled": len(rows) - len(set(rows)),
        "same_table": (plain / "results.csv").read_bytes() == (out / "results.csv").read_bytes(),
        "same_structures": ours == theirs,
        "structures": len(ours),
    }


def left_behind(family: set[int]) -> int:
    """Processes of killed runs that still live after ten seconds of grace."""
    for _ in range(20):
        if not any(map(alive, family)):
            return 0
        time.sleep(0.5)
    return sum(map(alive, family))


def start_cluster() -> tuple[object, object]:
    """Two nodes with one CPU each on this machine, and the one that will be killed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    for tries_left in (4, 3, 2, 1, 0):  # Ray gives a node 30 s to start, too little on a machine that is busy
        cluster = Cluster()
        try:
            cluster.add_node(**node, include_dashboard=False)
            return cluster, cluster.add_node(**node)
        except Exception as error:
            cluster.shutdown()
            if not tries_left:
                sys.exit(f"no Ray cluster: {error}")
    raise AssertionError


def mount(place: Path, megabytes: int) -> bool:
    """A tmpfs of that size; False where it may not be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="candidates")
    parser.add_argument("--input", type=Path, help="JSON lines with id and structure, instead of generated ones")
    parser.add_argument("--folder", type=Path, default=Path("robustness"), help="where everything is kept")
    parser.add_argument("--against", type=Path, help="output folder of an earlier undisturbed run")
    parser.add_argument("--potential", default="chgnet")
    parser.add_argument("--python", help="interpreter that runs the potential")
    parser.add_argument("--second", help="second potential, such as m3gnet:PATH")
    parser.add_argument("--reference", help="of the hull; none = no hull")
    parser.add_argument("--max-steps", type=int, help="of each relaxation; few make a trial of the machinery alone")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=0, help="of the tmpfs; default 16 + one per 25 candidates")
    parser.add_argument("--ray", action="store_true", help="on a Ray cluster of two nodes, one of which is killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


def main() -> None:
    """Make the input, run undisturbed, run disturbed, compare, print."""
    args = options()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    given = args.input.resolve() if args.input else make_input(folder, args.n, args.seed)
    command = genmat("screen", given, "--potential", args.potential)
    for name in ("python", "second", "reference", "max-steps"):
        value = getattr(args, name.replace("-", "_"))
        command += [f"--{name}", str(value)] if value else []

    plain, seconds = args.against or folder / "plain", None
    if args.against is None:  # one that is finished is only read again, and refused if it was another
        finished, start = (plain / "results.csv").is_file(), time.perf_counter()
        subprocess.run([*command, "--workers", str(args.workers), "--out", str(plain)], check=True)
        seconds = None if finished else round(time.perf_counter() - start, 1)
    total = progress(plain)

    place = folder / "tmpfs"
    subprocess.run(["umount", str(place)], capture_output=True)  # what an interrupted run left
    shutil.rmtree(place, ignore_errors=True)
    cluster, node = start_cluster() if args.ray else (None, None)
    mounted = mount(place, args.megabytes or 16 + len(given.read_text().splitlines()) // 25)
    where = ["--ray", cluster.address] if cluster else []
    out = place / "out"
    full = [*command, *where, "--workers", str(args.workers), "--out", str(out)]
    run = Disturbed(full, out, mounted, random.Random(args.seed), cluster, node)
    start = time.perf_counter()
    try:
        disturb_all(run, args.kills, total)
        figures = {
            "candidates": len(given.read_text(encoding="utf-8").splitlines()),
            "slow_results": total,
            "potentials": [args.potential, *([args.second] if args.second else [])],
            "ray": args.ray,
            "events": run.log,
            "full_disk": "tmpfs" if mounted else "file size limit (no tmpfs may be mounted here)",
            "full_disk_one_clear_line": run.clear_lines,
            "records_lost_or_changed": run.changed,
            "processes_left_behind": left_behind(run.family),
            **compare(plain, out, given),
            "seconds_undisturbed": seconds,
            "seconds_disturbed": round(time.perf_counter() - start, 1),
        }
        shutil.rmtree(folder / "disturbed", ignore_errors=True)
        shutil.copytree(out, folder / "disturbed")
    finally:
        if run.process is not None and run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
        if cluster is not None:
            cluster.shutdown()
        if mounted:
            subprocess.run(["umount", "-l", str(place)], capture_output=True)
    good = figures["same_table"] and figures["same_structures"] and not figures["lost"] and not figures["doubled"]
    good = good and not figures["records_lost_or_changed"] and not figures["processes_left_behind"]
    figures["passed"] = bool(good)
    for name, value in figures.items():
        print(f"{name}: {value}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
