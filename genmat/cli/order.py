"""`genmat order`: does a mixed crystal order, by how much, and at which temperature does that matter?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genmat.cli import options as opt

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.candidate import Candidate
    from genmat.screening.ordering.ensemble import Ensemble

SHOWN = (300, 600, 1000)
"""K at which the terminal shows the entropy."""


def order(
    structure: Annotated[Path, typer.Argument(help="A crystal, disordered or to be: a CIF or another file.")],
    out: Annotated[Path, typer.Option(help="Folder for orderings.csv, entropy.csv, order.html, order.json.")],
    mix: Annotated[
        str | None, typer.Option(help="Elements whose sites mix, such as Cu,Au. Default: the likeliest pair.")
    ] = None,
    max_atoms: Annotated[int, typer.Option(min=1, help="Most sites in a supercell of the parent.")] = 24,
    most: Annotated[int, typer.Option(min=1, help="Most orderings; the supercell shrinks to stay below.")] = 150,
    potential: Annotated[list[str] | None, typer.Option(help="Potential; repeat it to compare.")] = None,
    protocol: Annotated[
        list[str] | None, typer.Option(help="unrelaxed, cell or full; repeat it to compare. Default full.")
    ] = None,
    transition: Annotated[
        bool, typer.Option("--transition", help="Order-disorder temperatures: cluster expansion, Monte Carlo ([ce]).")
    ] = False,
    max_cells: Annotated[
        int, typer.Option(min=1, help="With --transition: orderings of other compositions up to so many cells.")
    ] = 4,
    ground_state: Annotated[
        Path | None, typer.Option(help="With --transition: the crystal known to be the ground state.")
    ] = None,
    sweeps: Annotated[int, typer.Option(min=3, help="With --transition: swaps tried per site and temperature.")] = 60,
    symprec: Annotated[float, typer.Option(help="Tolerance of the parent's symmetry, Å.")] = 0.1,
    fmax: opt.Fmax = 0.05,
    max_steps: opt.MaxSteps = 200,
    workers: opt.Workers = 1,
    seed: opt.Seed = 0,
    fresh: opt.Fresh = False,
    json: opt.Json = False,
) -> None:
    """Enumerate small orderings of a mixed crystal, relax them, weigh them: ordering gap, entropy, transition band."""
    from genmat.cli.console import emit, note
    from genmat.cli.order_runs import Study, run_study
    from genmat.cli.summary import typed
    from genmat.errors import GenmatError, did_you_mean
    from genmat.report.order import write_order
    from genmat.screening.ordering.ensemble import ensemble
    from genmat.screening.ordering.parent import parent_of
    from genmat.screening.ordering.protocols import PROTOCOLS

    protocols = list(dict.fromkeys(protocol or (PROTOCOLS if transition else ["full"])))
    if wrong := [name for name in protocols if name not in PROTOCOLS]:
        raise GenmatError(did_you_mean(wrong[0], PROTOCOLS, "protocol"))
    crystal = mixed_crystal(structure, mix)
    given = ensemble(crystal, parent_of(crystal, symprec), max_atoms, most)
    note(told(given))
    study = Study(
        crystal, given, tuple(dict.fromkeys(potential or ["chgnet"])), tuple(protocols), out, fmax, max_steps,
        workers or 1, seed, fresh, max_cells if transition else None, ground_state, sweeps,
    )  # fmt: skip
    found = run_study(study)
    files = write_order(found, out, command=typed())
    if json:
        emit({**found, "files": files})
        return
    show(found)
    print(f"\npage: {out / 'order.html'}   tables: {out / 'orderings.csv'} {out / 'entropy.csv'}")


def mixed_crystal(path: Path, mix: str | None) -> Structure:
    """The disordered crystal of a file; an ordered one with the elements of `mix`, or the likeliest pair, shared.

    Raises:
        GenmatError: nothing to read, several structures, nothing that mixes, or `mix` for a disordered one.
    """
    from genmat.crystal.composition import parse_elements
    from genmat.data.read import read_candidates
    from genmat.errors import GenmatError
    from genmat.screening.ordering.parent import mixed

    alive = [c for c in read_candidates(path) if c.alive and c.structure is not None]
    if len(alive) != 1:
        raise GenmatError(f"{path}: {len(alive)} readable structures; give a file with one")
    crystal = alive[0].structure
    assert crystal is not None
    if mix is not None and crystal.is_ordered:
        return mixed(crystal, parse_elements(mix))
    if mix is not None:
        raise GenmatError(f"{path}: its sites are shared already; leave --mix out")
    return mixed(crystal, likely_mix(alive[0])) if crystal.is_ordered else crystal


def likely_mix(candidate: Candidate) -> tuple[str, str]:
    """The two elements of an ordered crystal that the disorder model thinks likeliest to share sites.

    Raises:
        GenmatError: no pair of them is known to mix, or the model is not there.
    """
    from genmat.cli.console import note
    from genmat.data.composition_predict import load_reader
    from genmat.data.mixing import crystal_rows, load
    from genmat.errors import GenmatError
    from genmat.generation.sampler import find_model

    folder = Path(find_model("disorder"))
    (row,) = crystal_rows([candidate], load_reader(folder), load(folder))
    inside = {e.symbol for e in candidate.structure.composition} if candidate.structure is not None else set()
    pairs = [
        (site["probability"], site["element"], partner["element"])
        for site in row.get("sites", ())
        for partner in site["partners"]
        if partner["element"] in inside - {site["element"]}
    ]
    if not pairs:
        raise GenmatError(f"{candidate.id}: no pair of its elements is known to mix; name them with --mix")
    chance, one, two = max(pairs)
    note(f"{one} and {two} share sites with probability {chance:.2f}; name others with --mix")
    return one, two


def told(given: Ensemble) -> str:
    """One line on what is enumerated."""
    from genmat.screening.ordering.enumerate import decorated

    formula = decorated(given.parent, given.members[0]).composition.reduced_formula
    rest = "" if given.exact else f" (nearest composition that fits: {formula})"
    return (
        f"{len(given.members)} orderings of {given.cells} primitive cells, {given.atoms} atoms, {formula}{rest}; "
        f"{sum(o.degeneracy for o in given.members)} decorations"
    )


def show(found: dict[str, Any]) -> None:
    """The results for a person: what each potential and protocol says, then the band, never one number of it."""
    print(f"{found['formula']}, parent {found['parent']}: {found['orderings']} orderings of {found['atoms']} atoms")
    for run in found["runs"]:
        head = f"{run['potential']}, {run['protocol']}"
        if run["gap"] is None:
            print(f"{head}: no ordering stayed on the lattice")
            continue
        shares = dict(zip(run["temperatures"], run["share"], strict=True))
        told = ", ".join(f"{shares[t]:.2f} at {t} K" for t in SHOWN)
        left = f"; {run['left']} left the lattice" if run["left"] else ""
        print(
            f"{head}: lowest {run['lowest']}, ordering gap {1000 * run['gap']:.1f} meV/atom, "
            f"share of the mixing entropy {told}{left}"
        )
    band = found.get("transition")
    if band is None:
        return
    print()
    for row in band["rows"]:
        head = f"{row['potential']}, {row['protocol']}"
        if row["refusal"]:
            print(f"{head}: refused: {row['refusal']}")
        else:
            print(
                f"{head}: {row['cools']:.0f} K cooling, {row['heats']:.0f} K heating; leave-one-out "
                f"{1000 * row['cv']:.1f} meV/atom of {row['n']} orderings"
            )
    print(band["verdict"])
