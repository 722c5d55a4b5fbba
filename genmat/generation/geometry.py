"""Geometry for a crystal whose prototype is given: the model is told composition, space group and sites, and spells
lattice and free coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from genmat.candidate import Candidate
from genmat.crystal.composition import ATOMIC_NUMBER, reduce_amounts
from genmat.crystal.prototype import Protostructure, sort_sites
from genmat.crystal.realise import realise
from genmat.crystal.wyckoff import LETTERS
from genmat.errors import GenmatError
from genmat.generation.decode import decode
from genmat.generation.prototypes import PrototypeGrammar
from genmat.generation.sampler import DEFAULT_MODEL, conditions, load_model
from genmat.tokenization.sentence import parse
from genmat.tokenization.vocabulary import MAX_AMOUNT


class GeometryGrammar(PrototypeGrammar):
    """Sentences of one decorated prototype: elements and positions are fixed, only the geometry is open.

    Args:
        proto: its geometry, if it has one, is not looked at.

    Raises:
        GenmatError: positions that cannot be occupied so, amounts beyond the vocabulary.
    """

    def __init__(self, proto: Protostructure):
        elements = list(dict.fromkeys(site.element for site in proto.sites))
        amounts = reduce_amounts(proto.composition)
        if max(amounts.values()) > MAX_AMOUNT:
            raise GenmatError(f"{proto.formula}: amounts beyond {MAX_AMOUNT} are not in the language")
        super().__init__(proto, elements, elements, max_atoms=proto.n_atoms)
        places: dict[str, list[int]] = {symbol: [] for symbol in self.order}
        for site in proto.sites:
            places[site.element].append(LETTERS.index(site.letter))
        wanted = tuple((amounts[symbol], tuple(sorted(places[symbol]))) for symbol in self.order)
        self.assignments = tuple(found for found in self.assignments if found == wanted)


def spell_stage(
    candidates: Iterable[Candidate],
    *,
    model: str | Path | Any = DEFAULT_MODEL,
    e_above_hull: float | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> Iterator[Candidate]:
    """Give every living candidate the geometry the model spells for its protostructure.

    Args:
        candidates: with a protostructure; those without, and ones the language cannot spell, fail. ``trial`` in their
            provenance (default 0) numbers geometries of one protostructure.
        model: shipped name, folder, or a loaded model.
        e_above_hull: energy above hull asked for, eV/atom; None asks for nothing.
        temperature: of sampling; 0 takes the likeliest geometry, whatever the trial.
        seed: with protostructure and trial it decides every draw.

    Raises:
        GenmatError: unknown model.
    """
    loaded = load_model(model) if isinstance(model, str | Path) else model
    for candidate in candidates:
        if candidate.failure is not None or candidate.protostructure is None:
            yield candidate.fail("geometry", "no protostructure to spell")
            continue
        try:
            trial = candidate.provenance.get("trial", 0)
            yield spellings(candidate, 1, loaded, e_above_hull, temperature, seed, first=trial)[0]
        except GenmatError as error:
            yield candidate.fail("geometry", str(error))


def spellings(
    candidate: Candidate,
    n: int,
    model: Any,
    e_above_hull: float | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    first: int = 0,
) -> list[Candidate]:
    """The candidate with `n` geometries the model spells for its protostructure, drawn in one batch.

    Args:
        model: a loaded one.
        first: number of the first geometry; the same number is always the same geometry.

    Raises:
        GenmatError: no protostructure, or one the language cannot spell.
    """
    if candidate.protostructure is None:
        raise GenmatError(f"{candidate.id}: no protostructure to spell; give it one")
    grammar = GeometryGrammar(candidate.protostructure)
    options = {"condition": conditions(e_above_hull), "temperature": temperature}
    spelled = decode(model, grammar, range(first, first + n), seed=_seed(seed, candidate.protostructure), **options)
    return [_with_geometry(candidate, sentence.ids) for sentence in spelled]


def _with_geometry(candidate: Candidate, ids: list[int]) -> Candidate:
    spelled = parse(ids)
    proto = Protostructure(spelled.spacegroup, sort_sites(list(spelled.sites)), spelled.lattice)
    return candidate.replace(protostructure=proto, structure=realise(proto))


def _seed(seed: int, proto: Protostructure) -> int:
    """Other draws for another prototype, the same ones at every call."""
    mixed = seed + proto.spacegroup
    for site in proto.sites:
        mixed = (mixed * 1_000_003 + 128 * ATOMIC_NUMBER[site.element] + ord(site.letter)) % 2**31
    return mixed
