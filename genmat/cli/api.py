"""The Python verbs: `genmat.generate`, `genmat.screen`, `genmat.discover`. Each returns candidates."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.candidate import Candidate

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.cli.settings import Screening


def generate(
    n: int,
    *,
    elements: str | Iterable[str] | None = None,
    required: str | Iterable[str] | None = None,
    formula: str | None = None,
    spacegroup: int | None = None,
    prototype: str | None = None,
    model: str | Path = "crystal-gpt",
    max_atoms: int = 20,
    min_atoms: int = 1,
    e_above_hull: float | None = 0.025,
    gap: float | None = None,
    temperature: float = 1.0,
    geometry_temperature: float = 0.7,
    top_p: float = 1.0,
    disorder_prior: float | None = None,
    distinct: bool = False,
    balanced: bool = False,
    seed: int = 0,
) -> list[Candidate]:
    """Generate crystals with a shipped model (or one in a folder).

    Args:
        n: number of candidates.
        elements: that may occur, ``"Li-P-S"`` or a list: the chemical system.
        required: elements that must occur.
        formula: composition to find structures for, ``"BaTiO3"``.
        spacegroup: international number.
        prototype: label to decorate, ``"ABC3_cP5_221_a_b_c"``.
        model: name of a shipped model, or a folder.
        max_atoms, min_atoms: in the primitive cell.
        e_above_hull: asked of the model, eV/atom; None asks for nothing.
        gap: band gap asked of the model, eV (PBE); None asks for nothing.
        temperature: of composition and prototype; below 1 prefers what is likely.
        geometry_temperature: of lattice and coordinates.
        top_p: share of probability kept of each word's distribution.
        disorder_prior: share of disordered materials expected among such formulas; None = as trained.
        distinct: draw protostructures without replacement.
        balanced: space groups as frequent as among the crystals learned from; for free generation.
        seed: same seed, same candidates.

    Returns:
        Candidates with protostructure, structure (primitive cell, Å), ``log_likelihood`` (nats) and
        ``disorder_probability``, ``disorder_type``.

    Raises:
        GenmatError: unknown element, formula that is none, space group out of range, unknown model.
    """
    from genmat.cli.disorder import with_disorder
    from genmat.cli.pipelines import generate_candidates
    from genmat.cli.settings import Prompt

    chemistry = (_joined(elements), _joined(required), formula, spacegroup, prototype)
    asked = (max_atoms, min_atoms, e_above_hull, gap, temperature, geometry_temperature, top_p)
    prompt = Prompt(n, *chemistry, str(model), *asked, seed, distinct, balanced)
    made = list(generate_candidates(prompt))
    return with_disorder(made, disorder_prior)


def screen(
    structures: str | Path | Iterable[Candidate | Structure],
    *,
    out: str | Path | None = None,
    potential: str = "chgnet",
    reference: str | Path | None = None,
    known: str | Path | None = None,
    fmax: float = 0.05,
    max_steps: int = 200,
    workers: int | None = None,
    seed: int = 0,
    python: str | Path | None = None,
    ray: str | None = None,
    second: str | None = None,
    second_python: str | Path | None = None,
    phonons: int = 0,
    disorder_prior: float | None = None,
    disordered: str | Path | None = None,
    papers: str | Path | None = None,
    map: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Candidate]:
    """Relax structures, place them on the convex hull, find duplicates and known phases, and rank.

    Args:
        structures: a file or folder, candidates, or pymatgen structures.
        out: folder for the campaign, results.csv, structures and the report; None keeps nothing.
        potential: by name.
        reference: of the hull: None = the shipped table, a file, ``mp:<key>``, or ``none`` = no hull.
        known: table of structures (Parquet) that decides what is new; None = the shipped fingerprints.
        fmax: convergence (eV/Å).
        max_steps: of each relaxation.
        workers: processes; default one per core.
        seed: of the rattle.
        python: interpreter of another environment that runs the potential (``mace:…``); None = this one.
        ray: address of a Ray cluster to relax on, ``local`` starts one here; None = processes of this machine.
        second: potential for a second opinion (``m3gnet:FOLDER``, ``chgnet:0.2.0``); its verdict in ``second_…``.
        second_python: as `python`, for the second potential.
        phonons: vibrations of so many of the best (`genmat.screening.vibrations`).
        disorder_prior: share of disordered materials expected among such formulas; None = as trained.
        disordered: file of known disordered phases; what only orders one gets its id as ``disordered_parent``.
        papers: papers, an index of them or records of them; what they say is in ``evidence`` and ``synthesised``.
        map: folder of `genmat explore build`; candidates are told their ``nearest`` known materials.
        progress: called with (stage, done, all).

    Returns:
        Candidates, best first, the failed last; see `genmat.candidate.Candidate.results`.

    Raises:
        GenmatError: nothing readable, unknown potential, or an `out` that cannot be used.
    """
    from genmat.cli.pipelines import run_screen

    source = structures if isinstance(structures, (str, Path)) else _candidates(structures)
    engines = (python, ray, second, second_python, phonons, disorder_prior, disordered, papers, map)
    screening = _screening(potential, reference, known, fmax, max_steps, workers, seed, engines)
    return _finish(lambda folder: run_screen(_path(source), folder, screening, progress=progress), out)


def discover(
    n: int = 1000,
    *,
    relax: int = 100,
    elements: str | Iterable[str] | None = None,
    required: str | Iterable[str] | None = None,
    formula: str | None = None,
    spacegroup: int | None = None,
    prototype: str | None = None,
    model: str | Path = "crystal-gpt-sun",
    max_atoms: int = 20,
    min_atoms: int = 1,
    e_above_hull: float | None = 0.025,
    gap: float | None = None,
    temperature: float = 1.0,
    geometry_temperature: float = 0.7,
    top_p: float = 1.0,
    out: str | Path | None = None,
    potential: str = "chgnet",
    reference: str | Path | None = None,
    known: str | Path | None = None,
    fmax: float = 0.05,
    max_steps: int = 200,
    workers: int | None = None,
    seed: int = 0,
    python: str | Path | None = None,
    ray: str | None = None,
    second: str | None = None,
    second_python: str | Path | None = None,
    phonons: int = 0,
    disorder_prior: float | None = None,
    disordered: str | Path | None = None,
    papers: str | Path | None = None,
    map: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Candidate]:
    """Generate `n` crystals, choose `relax` new and promising ones, screen them; arguments as `generate` and `screen`.

    Returns:
        Candidates, best first, the failed last.

    Raises:
        GenmatError: as `generate` and `screen`.
    """
    from genmat.cli.pipelines import run_discover
    from genmat.cli.settings import Prompt

    chemistry = (_joined(elements), _joined(required), formula, spacegroup, prototype)
    asked = (max_atoms, min_atoms, e_above_hull, gap, temperature, geometry_temperature, top_p, seed)
    prompt = Prompt(n, *chemistry, str(model), *asked)
    engines = (python, ray, second, second_python, phonons, disorder_prior, disordered, papers, map)
    screening = _screening(potential, reference, known, fmax, max_steps, workers, seed, engines)
    return _finish(lambda folder: run_discover(prompt, relax, folder, screening, progress=progress), out)


def near(query: str | Path, k: int = 20, *, map: str | Path, model: str | Path = "crystal-gpt") -> list[dict[str, Any]]:
    """The k materials of a map nearest to a formula, a crystal in a file, a protostructure label or an id of the map.

    Args:
        query: a formula is compared by composition alone; one row per formula.
        k: how many.
        map: folder of `genmat explore build`; it stays open, so that the next question takes milliseconds.
        model: crystal language model the map was built with.

    Returns:
        Rows with ``id``, ``formula``, ``spacegroup``, ``prototype``, ``distance`` (without unit) and what the map knows
        besides, nearest first.

    Raises:
        GenmatError: no map there, or a query that is none of these.
    """
    from genmat.cli.explore import opened

    return opened(Path(map), str(model)).near(query, k)


def _screening(
    potential: str,
    reference: Any,
    known: Any,
    fmax: float,
    max_steps: int,
    workers: int | None,
    seed: int,
    engines: tuple[Any, str | None, str | None, Any, int, float | None, Any, Any, Any],
) -> Screening:
    from genmat.cli.settings import Screening, processes

    python, ray, second, second_python, phonons, prior, disordered, papers, map = engines
    paths = (reference, known, python, second_python, disordered, papers, map)
    source, phases, interpreter, other, parents, read, near = (None if path is None else str(path) for path in paths)
    where = (processes(workers, ray), seed, interpreter, ray, second, other, phonons)
    told = {"disorder_prior": prior, "disordered": parents, "papers": read, "map": near}
    return Screening(potential, source, phases, fmax, max_steps, *where, **told)


def _finish(run: Callable[[Path], Any], out: str | Path | None) -> list[Candidate]:
    """Run in `out`, or in a folder that vanishes, and order the candidates as results.csv does."""
    from genmat.cli.outputs import ordered, write_all

    if out is not None:
        outcome = run(Path(out))
        write_all(outcome, Path(out))
        return ordered(outcome.candidates)
    with tempfile.TemporaryDirectory(prefix="genmat-") as folder:
        return ordered(run(Path(folder)).candidates)


def _joined(elements: str | Iterable[str] | None) -> str | None:
    return elements if elements is None or isinstance(elements, str) else "-".join(elements)


def _path(source: str | Path | list[Candidate]) -> Path | list[Candidate]:
    return Path(source) if isinstance(source, str) else source


def _candidates(items: Iterable[Candidate | Structure]) -> list[Candidate]:
    return [
        _usable(item if isinstance(item, Candidate) else Candidate(f"s{index:06d}", "python", structure=item))
        for index, item in enumerate(items)
    ]


def _usable(candidate: Candidate) -> Candidate:
    """The candidate with a structure of plain elements, or failed where its structure cannot be used."""
    from genmat.data.parse import attempt, clean

    if candidate.structure is None or not candidate.alive:
        return candidate
    found = attempt(clean, candidate.structure)
    if isinstance(found, ValueError):
        return candidate.replace(structure=None).fail("read", str(found))
    return candidate.replace(structure=found)
