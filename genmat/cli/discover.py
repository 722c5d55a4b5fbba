"""`genmat discover`: from nothing to a ranked list of new crystals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt


def discover(
    out: opt.Out = Path("discover"),
    n: Annotated[int, typer.Option("--n", "-n", help="Number of candidates to generate.")] = 1000,
    relax: Annotated[int, typer.Option(help="How many of them to relax: the most promising new ones.")] = 100,
    elements: opt.Elements = None,
    required: opt.Required = None,
    formula: opt.Formula = None,
    spacegroup: opt.SpaceGroup = None,
    prototype: opt.Prototype = None,
    model: opt.Model = "crystal-gpt-sun",
    max_atoms: opt.MaxAtoms = 20,
    min_atoms: opt.MinAtoms = 1,
    e_above_hull: opt.EHull = 0.025,
    gap: opt.Gap = None,
    temperature: opt.Temperature = 1.0,
    geometry_temperature: opt.GeometryTemperature = 0.7,
    top_p: opt.TopP = 1.0,
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
    """Generate crystals, keep the new ones, relax the most promising, rank by energy above the hull. It resumes."""
    from genmat.cli.console import note, progress
    from genmat.cli.pipelines import run_discover
    from genmat.cli.settings import Prompt, Screening, processes
    from genmat.cli.summary import conclude, typed

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
    )
    where = (processes(workers, ray), seed, python, ray, second, second_python, phonons)
    told = {"disorder_prior": disorder_prior, "disordered": disordered, "papers": papers}
    told["map"] = str(map) if map else None
    screening = Screening(potential, reference, known, fmax, max_steps, *where, **told)
    note(f"generating {n} crystals, relaxing {relax} of them with {potential}; results go to {out}")
    with progress() as shown:
        outcome = run_discover(prompt, relax, out, screening, fresh=fresh, command=typed(), progress=shown)
    conclude(outcome, out, json)
