"""Validity, uniqueness and novelty at scale: the label-first route against StructureMatcher alone, in one run.

    python benchmarks/matching.py STRUCTURES... [--n 10000] [--known TABLE.parquet ...] [--compare 1500]

STRUCTURES are any files or folders `genmat screen` reads. Fewer than n structures are filled up with copies whose atoms
and cell are shaken a little (0.02 Å, 1 %), as generated sets repeat themselves. Prints CPU seconds, candidates/s,
the ratio of both routes on the same candidates and where their verdicts differ.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal.matching import KnownPhases, novel_stage, unique_stage
from genmat.crystal.validity import valid_stage
from genmat.data.read import read_candidates
from genmat.errors import GenmatError


def gather(paths: list[Path], n: int, seed: int = 0) -> list[Candidate]:
    """n readable candidates in random order, shaken copies included."""
    rng = np.random.default_rng(seed)
    read = [c for path in paths for c in read_candidates(path) if c.failure is None]
    given = [c.replace(id=f"{number}-{c.id}") for number, c in enumerate(read)]
    while len(given) < n:
        source = given[rng.integers(len(read))]
        given.append(source.replace(id=f"{source.id}~{len(given)}", structure=shaken(source.structure, rng)))
    return [given[i] for i in rng.permutation(len(given))[:n]]


def shaken(structure: Structure, rng: np.random.Generator) -> Structure:
    """The crystal with its cell strained by about 1 % and its atoms moved by about 0.02 Å."""
    lattice = Lattice(structure.lattice.matrix @ (np.eye(3) + rng.normal(scale=0.005, size=(3, 3))))
    coords = lattice.get_cartesian_coords(structure.frac_coords) + rng.normal(scale=0.01, size=(len(structure), 3))
    return Structure(lattice, structure.species, coords, coords_are_cartesian=True)


def matcher_alone(candidates: list[Candidate]) -> list[str | None]:
    """What `unique_stage` finds, by StructureMatcher within each formula and nothing else."""
    matcher = StructureMatcher()
    representatives: dict[str, list[tuple[str, Structure]]] = defaultdict(list)
    found = []
    for candidate in candidates:
        bucket = representatives[candidate.structure.composition.reduced_formula]
        twin = next((name for name, other in bucket if matcher.fit(other, candidate.structure)), None)
        if twin is None:
            bucket.append((candidate.id, candidate.structure))
        found.append(twin)
    return found


def timed(label: str, n: int, run) -> tuple[float, list]:
    """Run, print CPU seconds (a busy machine does not spoil them) and candidates per second, return both."""
    start = time.process_time()
    result = list(run())
    seconds = time.process_time() - start
    print(f"{label:34s} {seconds:8.1f} CPU s {n / seconds:10.0f} candidates/s", flush=True)
    return seconds, result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", nargs="+", type=Path)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument(
        "--compare", type=int, default=1500, help="candidates for the comparison with the matcher alone"
    )
    parser.add_argument("--known", nargs="*", type=Path, default=[], help="tables of known structures for the judge")
    options = parser.parse_args()

    given = gather(options.structures, options.n)
    print(f"{len(given)} candidates, {len({c.formula for c in given})} formulas")
    _, valid = timed("valid", len(given), lambda: valid_stage(given))
    alive = [c for c in valid if c.failure is None]
    _, unique = timed("unique", len(alive), lambda: unique_stage(alive))
    print(f"{len(alive)} valid, {sum(c.results['unique'] for c in unique)} unique")
    fresh = [c for c in unique if c.results["unique"]]
    try:
        _, labelled = timed("novel, shipped labels", len(fresh), lambda: novel_stage(fresh, KnownPhases.shipped()))
        print(f"{sum(c.results['novel'] for c in labelled)} of {len(fresh)} novel by label")
    except GenmatError as error:
        print(error)
        labelled = []
    if options.known:
        known = KnownPhases.from_parquet(*options.known)
        _, judged = timed("novel, structures and judge", len(fresh), lambda: novel_stage(fresh, known))
        by_label = {c.id: c.results["novel"] for c in labelled}
        pairs = [(by_label[c.id], c.results["novel"]) for c in judged if c.id in by_label]
        for label, judge in ((True, True), (True, False), (False, True), (False, False)):
            print(f"  novel by label {label!s:5s}, by the judge {judge!s:5s}: {pairs.count((label, judge))}")

    sample = alive[: options.compare]
    first, mine = timed("unique, label first", len(sample), lambda: unique_stage(sample))
    alone, theirs = timed("unique, StructureMatcher alone", len(sample), lambda: matcher_alone(sample))
    differ = sum((a.results["duplicate_of"] is None) != (b is None) for a, b in zip(mine, theirs, strict=True))
    print(f"ratio {alone / first:.1f}; verdicts differ for {differ} of {len(sample)}")


if __name__ == "__main__":
    main()
