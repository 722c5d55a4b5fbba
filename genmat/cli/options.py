"""Options that several commands share, so that they are spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Elements = Annotated[str | None, typer.Option(help="Elements that may occur: the chemical system, such as Li-P-S.")]
Required = Annotated[str | None, typer.Option(help="Elements that must occur, such as Li-P.")]
Prototype = Annotated[str | None, typer.Option(help="Prototype to decorate, such as ABC3_cP5_221_a_b_c.")]
EHull = Annotated[float, typer.Option("--e-above-hull", help="Energy above hull asked of the model, eV/atom.")]
TopP = Annotated[float, typer.Option(help="Share of probability kept of each word's distribution.")]
Formula = Annotated[str | None, typer.Option(help="Composition to find structures for, such as BaTiO3.")]
SpaceGroup = Annotated[int | None, typer.Option(help="International number of the space group, 1 to 230.")]
Model = Annotated[str, typer.Option(help="Name of a shipped model, or its folder.")]
MaxAtoms = Annotated[int, typer.Option(help="Most atoms in a primitive cell.")]
MinAtoms = Annotated[int, typer.Option(help="Fewest atoms in a primitive cell.")]
Gap = Annotated[float | None, typer.Option(help="Band gap asked of the model, eV (PBE); 0 asks for metals.")]
Temperature = Annotated[float, typer.Option(help="Of composition and prototype; lower is likelier.")]
GeometryTemperature = Annotated[float, typer.Option(help="Of lattice and coordinates; 0 takes the likeliest.")]
Seed = Annotated[int, typer.Option(help="Same seed, same result.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Out = Annotated[Path, typer.Option(help="Folder for results.csv, structures, report.html and the campaign.")]
Potential = Annotated[str, typer.Option(help="Interatomic potential: chgnet, another installed one, or module:Class.")]
Reference = Annotated[
    str | None, typer.Option(help="Energies of the hull: a file, mp:KEY or none. Default: the shipped table.")
]
Known = Annotated[
    str | None, typer.Option(help="Table of known structures (Parquet). Default: the shipped fingerprints.")
]
Workers = Annotated[int | None, typer.Option(help="Processes; default one per core. Does not change results.")]
Python = Annotated[
    str | None, typer.Option(help="Interpreter of another environment that runs the potential, such as one with MACE.")
]
Ray = Annotated[
    str | None,
    typer.Option(metavar="[ADDRESS]", help="Relax on a Ray cluster; without an address, on one started here."),
]
Second = Annotated[
    str | None,
    typer.Option(help="Potential for a second opinion on what was relaxed, such as m3gnet:FOLDER or chgnet:0.2.0."),
]
SecondPython = Annotated[str | None, typer.Option(help="As --python, for the potential of --second.")]
Phonons = Annotated[
    int, typer.Option(min=0, help="Vibrations of so many of the best: dynamical stability, free energy at 300 K.")
]
Fmax = Annotated[float, typer.Option(help="Force at which a relaxation has converged, eV/Å.")]
MaxSteps = Annotated[int, typer.Option(help="Most steps of a relaxation.")]
Rattle = Annotated[
    float, typer.Option(min=0, help="Before the stage free of symmetry, Å; 0 relaxes inside the symmetry alone.")
]
DisorderPrior = Annotated[
    float | None,
    typer.Option(help="Share of disordered materials expected among such formulas, 0 to 1; default as trained (0.25)."),
]
Disordered = Annotated[
    str | None,
    typer.Option(help="File of known disordered phases: candidates that only order one of them are told so."),
]
Papers = Annotated[
    str | None,
    typer.Option(help="Papers (a folder), an index of them or extracted records: what they say of the candidates."),
]
Map = Annotated[
    Path | None, typer.Option("--map", help="Map of known materials (`genmat explore build`): tells each its nearest.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over: drop the campaign an earlier run left in --out.")]
