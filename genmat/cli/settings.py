"""What a user asks for: the prompt of the model, and how to screen."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from genmat.errors import GenmatError

MODEL = "crystal-gpt"
"""Shipped model used unless another is asked for."""


@dataclass(frozen=True)
class Prompt:
    """What to generate; nothing but n = free generation. See `genmat.generation.sampler.generate`.

    Attributes:
        n: number of candidates.
        elements: symbols that may occur: the chemical system to stay in.
        required: symbols that must occur.
        formula: the composition to find structures for, instead of elements.
        spacegroup: international number, 1 to 230.
        prototype: label of a prototype to decorate, such as ABC3_cP5_221_a_b_c.
        model: name of a shipped model, or a folder.
        max_atoms, min_atoms: in the primitive cell.
        e_above_hull: asked of the model, eV/atom; None asks for nothing.
        gap: band gap asked of the model, eV (PBE); None asks for nothing.
        temperature: of composition and prototype; below 1 prefers what is likely.
        geometry_temperature: of lattice and coordinates.
        top_p: share of probability kept of each word's distribution.
        seed: same seed, same candidates.
        distinct: draw protostructures without replacement.
        balanced: space groups as frequent as among the crystals learned from.
    """

    n: int = 100
    elements: str | None = None
    required: str | None = None
    formula: str | None = None
    spacegroup: int | None = None
    prototype: str | None = None
    model: str = MODEL
    max_atoms: int = 20
    min_atoms: int = 1
    e_above_hull: float | None = 0.025
    gap: float | None = None
    temperature: float = 1.0
    geometry_temperature: float = 0.7
    top_p: float = 1.0
    seed: int = 0
    distinct: bool = False
    balanced: bool = False


@dataclass(frozen=True)
class Screening:
    """How to relax and what to compare with.

    Attributes:
        potential: name in the entry-point group ``genmat.potentials`` or ``module:Class``.
        reference: of the hull: None = the shipped table, a file, ``mp:<key>``, or ``none`` = no hull.
        known: table of structures (Parquet) that decides what is new; None = the shipped fingerprints.
        fmax: force below which a relaxation has converged (eV/Å).
        max_steps: of each relaxation.
        workers: processes; does not change results.
        seed: of the rattle.
        python: interpreter of another environment in which the potential runs; None = this one.
        ray: address of a Ray cluster to relax on, ``local`` for one started here; None = processes of this machine.
        second: potential that gives a second opinion; None = no second opinion.
        second_python: interpreter of another environment in which that one runs.
        phonons: vibrations of so many of the best; a rerun may ask for more without starting over.
        rattle: of the free stage after the one inside the symmetry, Å; 0 skips that stage.
        disorder_prior: share of disordered materials expected among formulas of whole amounts; None = as in the
            training data of the disorder model.
        disordered: file of known disordered phases, of which a candidate may be an ordering; None = none known.
        papers: papers, an index of them or records from them, in which candidates are looked up; None = none. A rerun
            may name others without starting over.
        map: folder of a map of known materials, to tell candidates their nearest; None = none.
    """

    potential: str = "chgnet"
    reference: str | None = None
    known: str | None = None
    fmax: float = 0.05
    max_steps: int = 200
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    seed: int = 0
    python: str | None = None
    ray: str | None = None
    second: str | None = None
    second_python: str | None = None
    phonons: int = 0
    rattle: float = 0.02
    disorder_prior: float | None = None
    disordered: str | None = None
    papers: str | None = None
    map: str | None = None

    def settings(self) -> dict[str, Any]:
        """What decides the result: everything but where it is computed, and no secret; of files, their content."""
        places = ("workers", "python", "ray", "second_python", "phonons", "papers")
        values = {name: value for name, value in asdict(self).items() if name not in places}
        contents = {f"content of {name}": fingerprint(paths) for name, paths in self._files()}
        return {**values, "reference": without_key(self.reference), **contents}

    def _files(self) -> Iterator[tuple[str, list[Path]]]:
        """What the run reads beside its input, by the name the user knows it: files, or folders of weights."""
        shipped = Path(__file__).resolve().parent.parent
        weights = [name.partition(":")[2].partition("#")[0] for name in (self.potential, self.second or "")]
        for name in (self.reference, self.known, self.disordered, *weights):
            if name and Path(name).expanduser().exists():
                yield name, [Path(name).expanduser()]
        if self.map is not None:
            yield self.map, [Path(self.map).expanduser() / "settings.json"]
        if self.reference is None:
            yield "the shipped references", [shipped / "screening" / "data"]
        if self.known is None:
            yield "the shipped known phases", [shipped / "crystal" / "data"]


def fingerprint(paths: Iterable[Path]) -> str:
    """sha256 of the content of files, and of the files of folders with their names."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.name if file == path else file.relative_to(path)}\n".encode())
                with file.open("rb") as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
    return f"sha256 {digest.hexdigest()[:12]}"


def processes(workers: int | None, ray: str | None = None) -> int:
    """How many processes to relax in where the user gave no number: one per core, or all a Ray cluster has (0)."""
    return workers or (0 if ray else os.cpu_count() or 1)


def without_key(text: str | None) -> str | None:
    """The text with the secret of every ``mp:KEY`` left out: keys belong neither into files nor into reports."""
    return re.sub(r"\bmp:\S+", "mp:…", text) if text else text


def check_prompt(prompt: Prompt) -> Prompt:
    """The prompt with its elements and formula in normal form.

    Raises:
        GenmatError: unknown element, formula that is none, space group out of range: all before a model is loaded.
    """
    from genmat.crystal.composition import parse_elements, parse_formula, reduced_formula

    if prompt.n < 1:
        raise GenmatError(f"n {prompt.n}: nothing to generate; ask for at least 1")
    if prompt.spacegroup is not None and not 1 <= prompt.spacegroup <= 230:
        raise GenmatError(f"space group {prompt.spacegroup}: there is none; give a number from 1 to 230")
    system, needed = ("-".join(parse_elements(text)) if text else None for text in (prompt.elements, prompt.required))
    formula = reduced_formula(parse_formula(prompt.formula)) if prompt.formula is not None else None
    return replace(prompt, elements=system, required=needed, formula=formula)
