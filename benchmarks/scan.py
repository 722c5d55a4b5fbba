"""Throughput and memory of `genmat scan`, and whether what is killed or spread over a cluster ends the same.

    python benchmarks/scan.py --n 100000 1000000 10000000          # CPU-seconds, decorations per second, largest RSS
    python benchmarks/scan.py --n 100000 --kill                    # kill -9 twice, resume, compare byte for byte
    python benchmarks/scan.py --n 1000000 --ray                    # two Ray actors, one killed, beside two processes
    python benchmarks/scan.py --n 100000 --doubt                   # what judging by the first network alone loses

Decorations are of prototypes with five atoms, elements hydrogen to bismuth. A scan is one process of one torch thread;
its CPU time, start included, is what is divided by, and two cores are reckoned as twice one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from genmat.data.prototypes import load_prototypes
from genmat.generation.sampler import find_model

CODE = """
import json, os, resource, signal, sys, time
from pathlib import Path
from genmat.screening import scan as module
from genmat.screening.scan import ScanSettings, scan
asked, out, workers, ray, doubt = json.loads(sys.argv[1])
module.DOUBT = doubt if doubt is not None else module.DOUBT
asked = {k: tuple(v) if isinstance(v, list) else v for k, v in asked.items()}
start, dead = [], []
def told(stage, done, total):
    start.append((time.process_time(), time.monotonic(), done))
    if ray == "die" and 2 * done >= total and not dead:
        dead.append(next(int(f.parent.name) for f in Path("/proc").glob("[0-9]*/cmdline")
                         if f.read_bytes().startswith(b"ray::Resident")))
        os.kill(dead[0], signal.SIGKILL)
scan(ScanSettings(**asked), Path(out), workers=workers, ray="local" if ray else None, progress=told)
own, children = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
assert dead or ray != "die", "no actor was killed"
print(json.dumps({
    "cpu": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
    "scan_cpu": start[-1][0] - start[0][0], "scan_wall": start[-1][1] - start[0][1],
    "judged": start[-1][2] - start[0][2], "rss_mb": max(own.ru_maxrss, children.ru_maxrss) / 1024}))
"""


def settings(options: argparse.Namespace, n: int) -> dict:
    """What `ScanSettings` takes, JSON-able."""
    table = load_prototypes()
    keys = [key for key, proto in zip(table.keys, table.geometries, strict=True) if proto.n_atoms == options.atoms]
    from genmat.cli.scan import elements_of

    return {
        "model": str(find_model(options.model)),
        "elements": elements_of("all"),
        "keys": keys,
        "below": options.below,
        "reference": str(options.reference) if options.reference else None,
        "limit": 1000,
        "shard": options.shard,
        "sample": n,
        "seed": 0,
    }


def start(asked: dict, out: Path, workers: int = 1, ray: str = "", doubt: float | None = None) -> subprocess.Popen:
    """A scan in a process of its own, with a cache of its own: no facet of the hull is known from an earlier one."""
    told = json.dumps([asked, str(out), workers, ray, doubt])
    env = {**os.environ, "GENMAT_CACHE": str(out.with_name(f"cache-{out.name}"))}
    return subprocess.Popen([sys.executable, "-c", CODE, told], stdout=subprocess.PIPE, text=True, env=env)


def finish(process: subprocess.Popen) -> dict:
    """What the process printed last."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the scan ended with {process.returncode}")
    return json.loads(output.splitlines()[-1])


def shards(out: Path) -> dict[str, bytes]:
    """Files of a scan."""
    return {path.name: path.read_bytes() for path in sorted((out / "shards").glob("*.parquet"))}


def throughput(asked: dict, out: Path, workers: int) -> dict:
    """CPU-seconds, rate and memory (of the largest process) of one undisturbed scan."""
    found = finish(start(asked, out, workers))
    rate = found["judged"] / found["cpu"]
    steady = rate if workers > 1 else found["judged"] / found["scan_cpu"]  # of processes only the whole is known
    print(
        f"{found['judged']:,} decorations of {len(asked['keys'])} prototypes: {found['cpu']:.1f} CPU-s, "
        f"{rate:,.0f} per CPU-s with start, {steady:,.0f} without; on two cores {2 * rate:,.0f} and {2 * steady:,.0f} "
        f"per second; largest RSS {found['rss_mb']:.0f} MB",
        flush=True,
    )
    return {**found, "per_cpu_second": rate, "per_cpu_second_steady": steady}


def doubted(asked: dict, plain: Path, out: Path) -> dict:
    """What is kept, and for which CPU time, when every network judges every decoration, beside the scan as it is."""
    everyone = finish(start(asked, out, doubt=1e9))
    kept, all_of_it = (pd.concat([pd.read_parquet(f) for f in sorted((o / "shards").iterdir())]) for o in (plain, out))
    best = all_of_it.sort_values(["e_above_hull", "index"])
    found = best["index"].isin(set(kept["index"])).to_numpy()
    return {
        "cpu_everyone": everyone["scan_cpu"],
        "kept": len(kept),
        "kept_everyone": len(best),
        "of_the_best_100": found[:100].mean(),
        "of_the_best_1000": found[:1000].mean(),
        "of_all": found.mean(),
    }


def killed(asked: dict, plain: Path, out: Path, workers: int, times: int = 2) -> bool:
    """Kill -9 at shard files, go on, compare with the undisturbed scan."""
    total = len(shards(plain))
    for k in range(times):
        process = start(asked, out, workers)
        while process.poll() is None and len(shards(out)) < (k + 1) * total // (times + 1) + (k == 0):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"killed with {len(shards(out))} of {total} shards written", flush=True)
    finish(start(asked, out, workers))
    return shards(out) == shards(plain)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[100_000])
    parser.add_argument("--model", default="cgat")
    parser.add_argument("--atoms", type=int, default=5)
    parser.add_argument("--shard", type=int, default=25_000)
    parser.add_argument("--below", type=float, default=0.05)
    parser.add_argument("--reference", type=Path, help="hull of DFT formation energies; default the network's own")
    parser.add_argument("--workers", type=int, default=1, help="processes; rates per CPU-second without start need 1")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--doubt", action="store_true", help="one process only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    results: dict = {}
    with tempfile.TemporaryDirectory() as scratch:
        for n in options.n:
            asked, plain = settings(options, n), Path(scratch) / f"plain-{n}"
            results[str(n)] = throughput(asked, plain, options.workers)
            if options.kill:
                results[str(n)]["killed_equal"] = killed(asked, plain, Path(scratch) / f"killed-{n}", options.workers)
                print(f"killed twice and resumed: {'equal' if results[str(n)]['killed_equal'] else 'DIFFERENT'}")
            if options.doubt:
                lost = doubted(asked, plain, Path(scratch) / f"everyone-{n}")
                results[str(n)] |= lost
                print(
                    f"every network judging all: {lost['kept_everyone']:,} kept in {lost['cpu_everyone']:.1f} CPU-s; "
                    f"as it is {lost['kept']:,} in {results[str(n)]['scan_cpu']:.1f}: {lost['of_the_best_100']:.1%} of "
                    f"the best 100, {lost['of_the_best_1000']:.1%} of 1,000, {lost['of_all']:.2%} of all",
                    flush=True,
                )
            if options.ray:
                two = plain if options.workers == 2 else Path(scratch) / f"two-{n}"
                local = results[str(n)] if two == plain else finish(start(asked, two, 2))
                spread = finish(start(asked, Path(scratch) / f"ray-{n}", 2, "die"))
                same = shards(Path(scratch) / f"ray-{n}") == shards(plain) == shards(two)
                results[str(n)] |= {"ray_wall": spread["scan_wall"], "two_wall": local["scan_wall"], "ray_equal": same}
                print(
                    f"two Ray actors, one killed: {spread['scan_wall']:.1f} s, two processes "
                    f"{local['scan_wall']:.1f} s; {'equal' if same else 'DIFFERENT'}"
                )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
