"""Indexing of papers: speed, memory, resumption after SIGKILL, and end to end with preselection.

    python benchmarks/retrieve.py [--data ../shared/data/literature] [--segments 10000] [--kills 3] [--json FILE]

Full texts are indexed without disturbance, then again killed several times (SIGKILL) and rerun to the end: both
databases must hold the same rows, embeddings bit for bit, and both FAISS files the same bytes. "End to end" reads the
papers, keeps the passages that name the property or have a number in its unit, embeds those, and extracts the records.
Times are CPU-seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from genmat.literature.readers import find_papers, read_papers
from genmat.literature.retrieve import FILE, Encoder, search, segments_of

QUERIES = (
    "oxide ion conductivity of doped ceria", "optical band gap measured by absorption", "sintering temperature",
    "lattice parameter from X-ray diffraction", "spin polarised density functional theory calculation",
    "grain boundary resistance", "exciton binding energy", "magnetic anisotropy", "maximum power density of the cell",
    "defect formation energy",
)  # fmt: skip


def corpus(data: Path, folder: Path, segments: int) -> tuple[int, int]:
    """Links to full texts until they hold so many segments: (papers, segments)."""
    papers = count = 0
    for source in ("sofc_exp/texts", "ning200/texts"):
        for path in find_papers(data / "gold" / source):
            if count >= segments:
                return papers, count
            (folder / path.name).symlink_to(path.resolve())
            count += sum(1 for document in read_papers(path) for _ in segments_of(document))
            papers += 1
    return papers, count


def command(papers: Path, out: Path, *more: str) -> list[str]:
    """`genmat literature index`."""
    return [sys.executable, "-m", "genmat", "literature", "index", str(papers), "--out", str(out), "--json", *more]


def timed(arguments: list[str]) -> tuple[dict[str, Any], float]:
    """What a command prints as JSON, and its CPU-seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), used


def killed(papers: Path, out: Path, kills: int, documents: int) -> int:
    """Index with so many SIGKILLs on the way; how many really hit."""
    hits = 0
    for number in range(1, kills + 1):
        process = subprocess.Popen(command(papers, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and _count(out) < documents * number / (kills + 1):
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            hits += 1
        process.wait()
    return hits


def _count(out: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{out / FILE}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM documents").fetchone()[0]
    except sqlite3.Error:
        return 0


def content(out: Path) -> dict[str, list[Any]]:
    """Everything an index holds."""
    with closing(sqlite3.connect(out / FILE)) as db:
        rows = {name: db.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in ("documents", "segments")}
    return {**rows, "faiss": [path.read_bytes() for path in sorted(out.glob("index-*.faiss"))]}


def measure(data: Path, segments: int, kills: int) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        papers, plain, broken, chosen = (work / part for part in ("papers", "plain", "broken", "chosen"))
        papers.mkdir()
        count, held = corpus(data, papers, segments)
        print(f"{count} papers, {held} segments", flush=True)
        made, seconds = timed(command(papers, plain))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        result: dict[str, Any] = {
            "papers": count,
            "segments": made["segments"],
            "segments_per_cpu_second": round(made["segments"] / seconds, 1),
            "papers_per_cpu_second": round(count / seconds, 2),
            "peak_MiB": round(peak),
        }
        print(result, flush=True)
        _, unchanged = timed(command(papers, plain))
        result["rerun_unchanged_cpu_seconds"] = round(unchanged, 1)
        selected, first = timed(command(papers, chosen, "--property", "band gap"))
        extract = [sys.executable, "-m", "genmat", "extract", str(papers), "-p", "band gap", "--json"]
        _, second = timed([*extract, "--out", str(work / "records.csv")])
        result |= {
            "preselected_segments": selected["embedded"],
            "end_to_end_papers_per_cpu_second": round(count / (first + second), 2),
            "extract_papers_per_cpu_second": round(count / second, 2),
        }
        encoder, start = Encoder(), time.process_time()
        for query in QUERIES:
            search(plain, query, encoder)
        result["search_cpu_ms"] = round(1000 * (time.process_time() - start) / len(QUERIES))
        print(result, flush=True)
        if kills:
            result["kills"] = killed(papers, broken, kills, count)
            timed(command(papers, broken))
            result["identical_after_kills"] = content(plain) == content(broken)
        return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/literature"))
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    result = measure(arguments.data, arguments.segments, arguments.kills)
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
