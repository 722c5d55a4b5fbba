"""`genmat generate`: crystals from a language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmat.cli import options as opt

if TYPE_CHECKING:
    from genmat.candidate import Candidate


def generate(
    out: Annotated[Path, typer.Option(help="File (.csv, .jsonl, .extxyz) or, without an ending, folder of CIFs.")],
    n: Annotated[int, typer.Option("--n", "-n", help="Number of candidates.")] = 100,
    elements: opt.Elements = None,
    required: opt.Required = None,
    formula: opt.Formula = None,
    spacegroup: opt.SpaceGroup = None,
    prototype: opt.Prototype = None,
    model: opt.Model = "crystal-gpt",
    max_atoms: opt.MaxAtoms = 20,
    min_atoms: opt.MinAtoms = 1,
    e_above_hull: opt.EHull = 0.025,
    gap: opt.Gap = None,
    temperature: opt.Temperature = 1.0,
    geometry_temperature: opt.GeometryTemperature = 0.7,
    top_p: opt.TopP = 1.0,
    disorder_prior: opt.DisorderPrior = None,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Draw without replacement: no protostructure twice.")
    ] = False,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Space groups as frequent as among the crystals learned from.")
    ] = False,
    only_new: Annotated[bool, typer.Option("--only-new", help="Keep what no table knows, and each once.")] = False,
    seed: opt.Seed = 0,
    json: opt.Json = False,
) -> None:
    """Generate crystals: free, in a chemical system, of a formula, or in a space group."""
    import time

    from genmat.cli.console import emit, note, progress
    from genmat.cli.disorder import with_disorder
    from genmat.cli.pipelines import generate_candidates
    from genmat.cli.settings import Prompt, check_prompt
    from genmat.data.disorder import check_prior, is_ordered
    from genmat.data.write import check_target, write_structures

    prompt = Prompt(
        n,
        elements,
        required,
        formula,
        spacegroup,
        prototype,
        model,
        max_atoms,
        min_atoms,
        e_above_hull,
        gap,
        temperature,
        geometry_temperature,
        top_p,
        seed,
        distinct,
        balanced,
    )
    check_prompt(prompt)
    check_target(out)
    check_prior(disorder_prior)
    start = time.perf_counter()
    with progress() as shown:
        candidates = list(generate_candidates(prompt, shown))
    seconds = time.perf_counter() - start
    draws = candidates[-1].provenance["index"] + 1
    if only_new:
        candidates = unknown(candidates)
    candidates = with_disorder(candidates, disorder_prior)
    ordered = sum(bool(is_ordered(candidate.results)) for candidate in candidates)
    written = write_structures(candidates, out)
    labels = len({c.protostructure.label for c in candidates if c.protostructure is not None})
    if json:
        counts = {"n": len(candidates), "draws": draws, "written": written, "distinct": labels, "ordered": ordered}
        emit({"out": out, **counts, "seconds": round(seconds, 2)})
    else:
        told = f"{labels} distinct, {ordered} likely ordered; {draws} draws"
        note(f"{written} crystals ({told}) in {seconds:.1f} s: {out}")


def unknown(candidates: list[Candidate]) -> list[Candidate]:
    """Candidates whose protostructure is in none of the shipped tables, the first of each."""
    from genmat.crystal.matching import KnownPhases

    known, seen, kept = KnownPhases.shipped(), set(), []
    for candidate in candidates:
        label = candidate.protostructure.label if candidate.protostructure is not None else None
        if label is not None and label not in seen and not known.has_label(label):
            kept.append(candidate)
        seen.add(label)
    return kept
