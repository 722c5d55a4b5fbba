"""Mutated papers through the readers and the extraction: no crash, no hang, no network, memory bounded.

    python benchmarks/fuzz_papers.py [--n 1000] [--seed 0] [--json FILE]

PDF, JATS, HTML and text are cut, flipped, repeated, nested, given entity bombs, foreign encodings and external entities
that point at a port of this machine where any connection is counted; one text file has 200 MB.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from genmat.literature.properties import load_property
from genmat.literature.readers import read_paper
from genmat.literature.records import extract_records
from genmat.literature.retrieve import segments_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "literature"))
import papers

TABLES = """
TABLE I. Tellurides at room temperature.
Compound
a (Å)
Eg (eV)
PbTe
6.46
0.31
CdTe
6.48
1.50

Table 2. The same again.
Compound a (Å) Band gap (eV)
PbTe 6.46 0.31
CdTe 6.48 1.50 [3]

Table 3: Crystal data.
Quantity      ZnTe      HgTe
a (Å)         6.10      6.46
Eg (eV)       2.26      0.0
"""
BASES = {
    ".pdf": papers.PAPER,
    ".xml": papers.JATS.encode(),
    ".html": papers.HTML.encode(),
    ".txt": (papers.TEXT + TABLES).encode(),
}


class Listener(threading.Thread):
    """Counts connections to a local port."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = 0

    def run(self) -> None:
        """Accept and close until the process ends."""
        while True:
            connection, _ = self.socket.accept()
            self.connections += 1
            connection.close()


def mutate(data: bytes, suffix: str, rng: random.Random, port: int) -> bytes:
    """One mutated paper."""
    kind = rng.randrange(10)
    place = rng.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 60)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if kind == 2:
        return data[:place] + rng.randbytes(rng.randint(1, 3000)) + data[place:]
    if kind == 3:
        end = min(len(data), place + rng.randint(1, 400))
        return data[:place] + data[place:end] * rng.randint(2, 300) + data[end:]
    if kind == 4:
        return data.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-32", "cp1252", "utf-7"]), "replace")
    if kind == 5 and suffix != ".pdf":
        return b"<?xml version='1.0'?>" + b"<sec>" * rng.randint(10, 50_000) + b"deep"
    if kind == 6:
        return papers.BOMB.replace("j;", rng.choice("cdefghij") + ";").encode()
    if kind == 7:
        link = f'<!DOCTYPE article SYSTEM "http://127.0.0.1:{port}/a.dtd" [<!ENTITY x SYSTEM "http://127.0.0.1:{port}/x">]>'
        return link.encode() + b"<article><body><p>A band gap of &x; 1 eV.</p></body></article>"
    if kind == 8:
        noise = "".join(
            rng.choice("$\\{}()[]<>~^_.,-–−±×0123456789 eVKTiO2xyδ\n") for _ in range(rng.randint(100, 20_000))
        )
        return data[:place] + noise.encode() + data[place:]
    return bytes(reversed(data)) if rng.random() < 0.5 else data + data


def cases(n: int, seed: int, port: int) -> Iterator[tuple[str, bytes]]:
    """`n` mutated papers of all kinds."""
    rng = random.Random(seed)
    for i in range(n):
        suffix = rng.choice(list(BASES))
        yield f"{i:05d}{suffix}", mutate(BASES[suffix], suffix, rng, port)


def main() -> None:
    """Run and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    listener = Listener()
    listener.start()
    prop = load_property("band gap")
    reasons: Counter[str] = Counter()
    slowest, slowest_name, records, segments = 0.0, "", 0, 0
    with tempfile.TemporaryDirectory() as folder:
        huge = Path(folder) / "huge.txt"
        huge.write_bytes(b"The band gap of GaAs is 1.4 eV. " * (200_000_000 // 32))
        todo = [("huge.txt", None), *cases(arguments.n, arguments.seed, listener.port)]
        for name, data in todo:
            path = Path(folder) / name
            if data is not None:
                path.write_bytes(data)
            start = time.process_time()
            document = read_paper(path)
            found = extract_records(document, prop) if document.failure is None else []
            segments += sum(1 for _ in segments_of(document))
            seconds = time.process_time() - start
            records += len(found)
            reasons["read" if document.failure is None else document.failure.split(":")[0][:60]] += 1
            slowest, slowest_name = max((slowest, slowest_name), (seconds, name))
            path.unlink()
    figures = {
        "papers": sum(reasons.values()),
        "records": records,
        "segments": segments,
        "crashes": 0,  # an exception would have ended the run
        "connections": listener.connections,
        "slowest_cpu_seconds": round(slowest, 2),
        "slowest": slowest_name,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "reasons": dict(reasons.most_common()),
    }
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
