"""Thousands of malformed structures through the whole screening, with CHGNet: each ends with a result or with a reason.

    python benchmarks/fuzz.py --n 5000 --out fuzz --json fuzz.json

Half of them are pymatgen objects given to `genmat.screen`, half are entries of CIF, JSONL, CSV and extxyz files, which
`genmat.screen` reads from a folder; `genmat screen` is then called on the same folder and campaign. They go in portions
of 500, finished ones are kept in ``--out``: the same command goes on where it was interrupted. Fails when anything
crashes, is lost, ends without result and reason, or takes longer than ``--budget`` seconds of CPU.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import resource
import shutil
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "screening"))
from malformed import objects, texts

PORTION = 500
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class Clock:
    """CPU seconds of every candidate in the stages that look at one at a time (wrapped while the clock runs)."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def install(self) -> None:
        """Wrap the check and the relaxation."""
        from genmat.crystal import validity
        from genmat.screening import relax

        inner_check, inner_flight = validity.check, relax.relaxation
        last = [""]

        def check(structure):
            began = time.process_time()
            found = inner_check(structure)
            self.seconds["check"] = max(self.seconds["check"], time.process_time() - began)
            return found

        def relaxation(candidate, potential, settings):
            flight, point = inner_flight(candidate, potential, settings), None
            while True:
                began, last[0] = time.process_time(), candidate.id
                try:
                    crystal = flight.throw(point) if isinstance(point, Exception) else flight.send(point)
                except StopIteration as end:
                    return end.value
                finally:
                    self.seconds[candidate.id] += time.process_time() - began + getattr(point, "seconds", 0.0)
                try:
                    point = yield crystal
                except Exception as error:  # the driver hands over what the potential raised
                    point = error

        validity.check, relax.relaxation = check, relaxation


def write_files(folder: Path, entries: list[tuple[str, str, str]]) -> dict[str, str]:
    """Entries as files: a CIF each, JSONL and CSV lines and extxyz frames together; the class of each CIF's id."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines, frames, table, classes = [], [], [], {}
    for i, (kind, name, text) in enumerate(entries):
        if kind == "cif" and i % 2:
            table.append((f"row{i}", text))
        elif kind == "cif":
            path = folder / f"f{i:05d}.cif"
            path.write_text(text, encoding="utf-8")
            classes[path.stem] = name
        elif kind == "jsonl":
            lines.append(text.replace("\n", " "))
        else:
            frames.append(text)
    (folder / "lines.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for i, frame in enumerate(frames):  # a broken count hides the rest of a file: each frame has its own
        (folder / f"x{i:05d}.extxyz").write_text(frame, encoding="utf-8")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("id", "cif"), *table])
    return classes


def portions(n: int, seed: int, out: Path) -> Iterator[tuple[str, object, list[str], int]]:
    """(name, what `genmat.screen` is given, class of each, how many there are)."""
    made = list(objects(n - n // 2, seed))
    for start in range(0, len(made), PORTION):
        part = made[start : start + PORTION]
        yield f"objects-{start}", [s for _, s in part], [name for name, _ in part], len(part)
    written = list(texts(n // 2, seed))
    for start in range(0, len(written), PORTION):
        part = written[start : start + PORTION]
        folder = out / f"files-{start}-in"
        write_files(folder, part)
        yield f"files-{start}", folder, [], len(part)


def screen(name: str, source: object, classes: list[str], out: Path, max_steps: int) -> dict:
    """One portion through `genmat.screen`; counts per class and reason, or the traceback of a crash."""
    import genmat

    clock_before = dict(CLOCK.seconds)
    campaign = out / name
    began = time.process_time()
    try:
        found = genmat.screen(source, out=campaign, workers=1, max_steps=max_steps)
    except Exception:  # what this script looks for
        return {"name": name, "crash": traceback.format_exc()[-2000:]}
    counts, mute = Counter(), []
    for candidate in found:
        kind = classes[int(candidate.id[1:])] if classes else candidate.origin.rpartition(".")[2]
        ended = "ranked" if candidate.alive else f"failed: {_general(candidate.failure)}"
        counts[f"{kind} | {ended}"] += 1
        if not candidate.failure and "energy_per_atom" not in candidate.results:
            mute.append(candidate.id)
    spent = {k: v - clock_before.get(k, 0.0) for k, v in CLOCK.seconds.items()}
    slow = sorted(((v, k) for k, v in spent.items()), reverse=True)[:3]
    out_row = {"name": name, "candidates": len(found), "counts": counts, "mute": mute, "slow": slow}
    return out_row | {"cpu": time.process_time() - began, "rss": _peak_mib()}


def command(source: Path, campaign: Path, max_steps: int) -> str | None:
    """`genmat screen` on the files of a finished portion: what is wrong with it, or None."""
    words = [sys.executable, "-m", "genmat", "screen", str(source), "--out", str(campaign), "--workers", "1"]
    done = subprocess.run([*words, "--max-steps", str(max_steps)], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 and "Traceback" not in done.stderr else done.stderr[-2000:]


def _general(failure: str) -> str:
    """A reason without its numbers and names."""
    words = failure.split("(")[0].split()
    kept = [word for word in words if not any(c.isdigit() for c in word) and len(word) < 30]
    return " ".join(kept[:9])


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CLOCK = Clock()


def main() -> None:
    """Screen portion after portion; print counts, the slowest and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-steps", type=int, default=60, help="of each relaxation")
    parser.add_argument("--budget", type=float, default=60.0, help="CPU seconds per structure")
    parser.add_argument("--out", type=Path, default=Path("fuzz"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", type=float, default=8.0, help="GiB of address space; what asks for more fails")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (int(args.memory * 2**30),) * 2)
    args.out.mkdir(parents=True, exist_ok=True)
    CLOCK.install()
    rows, wrong = [], []
    for name, source, classes, size in portions(args.n, args.seed, args.out):
        record = args.out / f"{name}.json"
        if record.exists():
            rows.append(json.loads(record.read_text()))
        else:
            shutil.rmtree(args.out / name, ignore_errors=True)
            rows.append(screen(name, source, classes, args.out, args.max_steps))
            if "crash" not in rows[-1]:
                if isinstance(source, Path):
                    rows[-1]["command"] = command(source, args.out / name, args.max_steps)
                record.write_text(json.dumps(rows[-1]))
        row = rows[-1]
        if "crash" in row:
            wrong.append(f"{name}: {row['crash']}")
            print(wrong[-1], flush=True)
            continue
        if row["mute"] or row.get("command") or row["slow"][0][0] > args.budget:
            wrong.append(f"{name}: {row['mute']} {row.get('command')} {row['slow'][0]}")
        if classes and row["candidates"] != size:
            wrong.append(f"{name}: {row['candidates']} candidates of {size}")
        slowest = f"{row['slow'][0][0]:.1f} s {row['slow'][0][1]}"
        print(
            f"{name}: {row['candidates']} in {row['cpu']:.0f} CPU-s, slowest {slowest}, {row['rss']:.0f} MiB",
            flush=True,
        )
    conclude(rows, wrong, args)
    sys.exit(1 if wrong else 0)


def conclude(rows: list[dict], wrong: list[str], args: argparse.Namespace) -> None:
    """Print and write the counts."""
    rows = [row for row in rows if "crash" not in row]
    counts = Counter()
    for row in rows:
        counts.update(row["counts"])
    for key, count in sorted(counts.items()):
        print(f"{count:5d}  {key}")
    slowest = max((tuple(row["slow"][0]) for row in rows), default=(0.0, "none"))
    figures = {
        "candidates": sum(row["candidates"] for row in rows),
        "ranked": sum(c for key, c in counts.items() if key.endswith("ranked")),
        "cpu_s": sum(row["cpu"] for row in rows),
        "slowest_s": slowest[0],
        "max_rss_mib": max((row["rss"] for row in rows), default=0.0),
        "wrong": wrong,
        "counts": counts,
    }
    for line in wrong:
        print(f"WRONG {line}")
    print(
        f"{figures['candidates']} structures, {figures['ranked']} ranked, all others with a reason; crashes and other "
        f"wrongs: {len(wrong)}; {figures['cpu_s']:.0f} CPU-s, slowest {slowest[0]:.1f} s ({slowest[1]}), "
        f"max RSS {figures['max_rss_mib']:.0f} MiB"
    )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
