"""Structure -> tokens -> structure over every structure of a table, judged by StructureMatcher (default tolerances).

    cd ../shared/data/mp && python …/benchmarks/round_trip.py structures_le20.parquet structures_21to52.parquet

Prints the share matched and classifies the rest; verdicts are kept in ``--out`` so that a stopped run goes on.
"""

import argparse
import json
import os
import signal
from collections import Counter
from multiprocessing import Pool
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd
from moyopy import Cell, MoyoDataset, Setting
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from genmat.crystal.composition import ATOMIC_NUMBER
from genmat.crystal.prototype import from_structure
from genmat.crystal.realise import realise
from genmat.errors import GenmatError
from genmat.tokenization.sentence import parse, spell

MATCHER = StructureMatcher()
PATIENCE = 60  # seconds for one comparison


def give_up(*_) -> None:
    """Signal handler."""
    raise TimeoutError


signal.signal(signal.SIGALRM, give_up)


def primitive(structure: Structure, symprec: float = 0.1) -> Structure:
    """The structure's own atoms, not symmetrised, as a primitive cell in the standard setting of its space group."""
    numbers = [ATOMIC_NUMBER[s.symbol] for s in structure.species]
    cell = Cell(structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    dataset = MoyoDataset(cell, symprec=symprec, setting=Setting.standard())
    linear = np.array(dataset.prim_std_linear)
    _, first = np.unique(dataset.mapping_std_prim, return_index=True)
    coords = (structure.frac_coords[first] - np.array(dataset.prim_std_origin_shift)) @ np.linalg.inv(linear).T
    return Structure(Lattice((structure.lattice.matrix.T @ linear).T), [structure[i].specie for i in first], coords)


def matches(structure: Structure, realised: Structure) -> bool:
    """StructureMatcher's answer; its own reduction of cells, most of its time, is tried only when it is needed."""
    try:
        small = primitive(structure)
        compact = min(small.lattice.angles) > 50 and max(small.lattice.angles) < 130  # else mappings without end
        if compact and MATCHER.fit(small, realised, skip_structure_reduction=True):
            return True
    except ValueError:  # moyopy at this tolerance: the matcher's own reduction decides
        pass
    return MATCHER.fit(structure, realised)


def verdict(row: dict) -> dict:
    """Round trip of one structure: ``matched``, or the class of what went wrong."""
    structure = Structure(
        Lattice.from_parameters(*row["lattice_parameters"]), row["species"], np.stack(row["frac_coords"])
    )
    result = {"id": row["material_id"], "formula": row["formula"], "n_atoms": int(row["n_primitive"])}
    try:
        proto = from_structure(structure)
        realised = realise(parse(spell(proto)))
    except GenmatError as error:
        return {**result, "verdict": "not spelled", "detail": str(error)}
    signal.alarm(PATIENCE)
    try:
        same = matches(structure, realised)
    except TimeoutError:
        return {**result, "verdict": "not judged in time", "detail": proto.label}
    finally:
        signal.alarm(0)
    if same:
        return {**result, "verdict": "matched", "words": len(spell(proto))}
    if not MATCHER.fit(structure, realise(proto)):
        return {**result, "verdict": "changed by symmetrisation", "detail": proto.label}
    if len(realised) > 1 and np.min(realised.distance_matrix[np.triu_indices(len(realised), 1)]) < 0.5:
        return {**result, "verdict": "atoms merged by the grid", "detail": proto.label}
    return {**result, "verdict": "off the grid", "detail": proto.label}


def main() -> None:
    """Run what is not yet in ``--out``, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("round_trip.jsonl"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=int, help="structures per table, from the top")
    args = parser.parse_args()
    done = {}
    if args.out.exists():
        done = {r["id"]: r for r in map(json.loads, args.out.read_text().splitlines())}
    for path in args.tables:
        table = pd.read_parquet(path).head(args.limit or 10**9)
        rows = [r for r in table.to_dict("records") if r["material_id"] not in done]
        with Pool(args.workers) as pool, args.out.open("a") as file:
            for i, result in enumerate(pool.imap_unordered(verdict, rows, chunksize=16), start=1):
                done[result["id"]] = result
                file.write(json.dumps(result) + "\n")
                if i % 5000 == 0:
                    print(f"{path.name}: {i}/{len(rows)}", flush=True)
        counts = Counter(done[i]["verdict"] for i in table.material_id)
        print(f"{path.name}: {counts['matched']}/{len(table)} = {counts['matched'] / len(table):.4%} matched")
        for name, n in counts.most_common():
            print(f"    {name}: {n}")
        for i in [i for i in table.material_id if done[i]["verdict"] != "matched"][:20]:
            print("   ", done[i])


if __name__ == "__main__":
    main()
