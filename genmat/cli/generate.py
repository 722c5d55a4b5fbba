"""`genmat generate`: crystals from a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt


def generate(
    out: Annotated[Path, typer.Option(help="File (.csv, .jsonl, .extxyz) or, without an ending, folder of CIFs.")],
    n: Annotated[int, typer.Option("--n", "-n", help="Number of candidates.")] = 100,
    elements: opt.Elements = None,
    formula: opt.Formula = None,
    spacegroup: opt.SpaceGroup = None,
    model: opt.Model = "crystal-gpt",
    max_atoms: opt.MaxAtoms = 20,
    temperature: opt.Temperature = 1.0,
    seed: opt.Seed = 0,
    json: opt.Json = False,
) -> None:
    """Generate crystals: free, in a chemical system, of a formula, or in a space group."""
    import time

    from genmat.cli.console import emit, note
    from genmat.cli.pipelines import Prompt, check_prompt, generate_candidates
    from genmat.crystal.composition import parse_elements
    from genmat.data.write import check_target, write_structures

    wanted = tuple(parse_elements(elements)) if elements is not None else None
    prompt = check_prompt(Prompt(n, wanted, formula, spacegroup, model, max_atoms, temperature, seed))
    check_target(out)
    start = time.perf_counter()
    candidates = generate_candidates(prompt)
    seconds = time.perf_counter() - start
    written = write_structures(candidates, out)
    distinct = len({c.protostructure.label for c in candidates if c.protostructure is not None})
    if json:
        emit({"out": out, "n": len(candidates), "written": written, "distinct": distinct, "seconds": round(seconds, 2)})
    else:
        note(f"{written} crystals ({distinct} distinct) in {seconds:.1f} s: {out}")
