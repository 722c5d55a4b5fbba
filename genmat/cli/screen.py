"""`genmat screen`: anyone's structures, relaxed and ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt


def screen(
    path: Annotated[
        Path, typer.Argument(help="CIF file or folder, POSCAR, extxyz, CSV with a structure column, JSONL.")
    ],
    out: opt.Out,
    potential: opt.Potential = "chgnet",
    reference: opt.Reference = None,
    known: opt.Known = None,
    workers: opt.Workers = None,
    python: opt.Python = None,
    ray: opt.Ray = None,
    second: opt.Second = None,
    second_python: opt.SecondPython = None,
    phonons: opt.Phonons = 0,
    fmax: opt.Fmax = 0.05,
    max_steps: opt.MaxSteps = 200,
    disorder_prior: opt.DisorderPrior = None,
    disordered: opt.Disordered = None,
    papers: opt.Papers = None,
    map: opt.Map = None,
    seed: opt.Seed = 0,
    fresh: opt.Fresh = False,
    json: opt.Json = False,
) -> None:
    """Relax structures, place them on the convex hull, find duplicates and known phases, rank. Kill it: it resumes."""
    from genmat.cli.console import progress
    from genmat.cli.pipelines import run_screen
    from genmat.cli.settings import Screening, processes
    from genmat.cli.summary import conclude, typed

    where = (processes(workers, ray), seed, python, ray, second, second_python, phonons)
    told = {"disorder_prior": disorder_prior, "disordered": disordered, "papers": papers}
    told["map"] = str(map) if map else None
    screening = Screening(potential, reference, known, fmax, max_steps, *where, **told)
    with progress() as shown:
        outcome = run_screen(path, out, screening, fresh=fresh, command=typed(), progress=shown)
    conclude(outcome, out, json)
