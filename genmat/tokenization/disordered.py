"""Sentences of crystals with shared sites: the crystal language with a few words more.

    <bos> Cu Au sg225 Cu f0.5 Au f0.5 225a <geom> L3.916 <eos>
    <bos> Cs W O sg193 Cs f0.95 <va> 193b W 193g … <geom> …

A shared site is spelled by its element set, each element with its fraction, and ``<va>`` where the rest is empty; a
filled site as in the ordered language. In front stand the elements alone: their amounts follow from the sites. The
words of :func:`~genmat.tokenization.vocabulary.vocabulary` keep their ids; the new ones come after them, so that an
ordered model can be taken on by adding rows to its embeddings.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from genmat.crystal.disorder import PARTS, DisorderedProtostructure, MixedSite, Occupants, spell_occupants
from genmat.crystal.wyckoff import space_group
from genmat.errors import GenmatError
from genmat.tokenization.vocabulary import angle_id, coord_id, length_id, vocabulary

VACANCY = "<va>"
FRACTIONS = {f"f{n / PARTS:g}": n for n in range(1, PARTS)}
"""Word -> twentieths of a site."""


@cache
def words() -> tuple[str, ...]:
    """All words by id: those of the ordered language first, with the ids they have there."""
    return (*vocabulary().words, VACANCY, *FRACTIONS)


@cache
def ids() -> dict[str, int]:
    """Word to id."""
    return {word: i for i, word in enumerate(words())}


def spell(proto: DisorderedProtostructure) -> list[int]:
    """Token ids, ``<bos>`` to ``<eos>``; without geometry the sentence stops after the last site."""
    vocab = vocabulary()
    said = ["<bos>", *proto.composition, f"sg{proto.spacegroup}"]
    for site in proto.sites:
        said += [*_holders(site), f"{proto.spacegroup}{site.letter}"]
    if proto.lattice:
        said.append("<geom>")
        first = {kind: lo for kind, (lo, _) in vocab.slices.items()}
        for index, value in zip(space_group(proto.spacegroup).free_lattice, proto.lattice, strict=True):
            said.append(
                vocab.words[first["length"] + length_id(value) if index < 3 else first["angle"] + angle_id(value)]
            )
        for site in proto.sites:
            if site.coords:
                said += [site.occupants[0][0], *(vocab.words[first["coord"] + coord_id(x)] for x in site.coords)]
        said.append("<eos>")
    return [ids()[word] for word in said]


def _holders(site: MixedSite) -> list[str]:
    """The words before the position."""
    if not site.mixed:
        return [site.occupants[0][0]]
    shares = [word for element, n in site.occupants for word in (element, f"f{n / PARTS:g}")]
    return [*shares, VACANCY] if site.vacancy else shares


def parse(sentence: Sequence[int]) -> DisorderedProtostructure:
    """The crystal a sentence spells; an ordered sentence is one, too.

    Raises:
        GenmatError: a sentence that is not of the language, naming what is wrong.
    """
    said = [words()[i] for i in sentence if words()[i] not in ("<pad>", "<bos>", "<eos>")]
    shown = f"sentence {' '.join(said)!r}"
    start = next((i for i, word in enumerate(said) if word.startswith("sg")), None)
    if start is None:
        raise GenmatError(f"{shown}: no space group; not a crystal")
    number = int(said[start][2:])
    group = space_group(number)
    end = said.index("<geom>") if "<geom>" in said else len(said)
    found: list[tuple[Occupants, str]] = []
    held: list[str] = []
    for word in said[start + 1 : end]:
        letter = word.removeprefix(str(number))
        if not (word[0].isdigit() and letter in group.positions):
            held.append(word)
            continue
        found.append((_occupants(held, shown), letter))
        held = []
    if held or not found:
        raise GenmatError(f"{shown}: no complete sites after the space group")
    if end == len(said):
        return DisorderedProtostructure(number, tuple(MixedSite(o, w) for o, w in found))
    numbers = [word for word in said[end + 1 :] if word[0] in "LAx" and word[1:2].isdigit()]
    free = [group.positions[w].dof for _, w in found]
    if len(numbers) != len(group.free_lattice) + sum(free):
        raise GenmatError(f"{shown}: geometry incomplete or overlong")
    values = [float(word[1:]) for word in numbers]
    at, sites = len(group.free_lattice), []
    for (occupants, letter), dof in zip(found, free, strict=True):
        sites.append(MixedSite(occupants, letter, tuple(values[at : at + dof])))
        at += dof
    return DisorderedProtostructure(number, tuple(sites), tuple(values[: len(group.free_lattice)]))


def _occupants(held: Sequence[str], shown: str) -> Occupants:
    """The occupants the words before a position spell."""
    vacant = VACANCY in held
    shares = [word for word in held if word != VACANCY]
    if len(shares) == 1 and not vacant:
        return ((shares[0], PARTS),)
    elements, fractions = shares[::2], shares[1::2]
    if len(elements) != len(fractions) or not elements or any(word not in FRACTIONS for word in fractions):
        raise GenmatError(f"{shown}: a site of {' '.join(held) or 'nothing'}; each sharer needs a fraction")
    occupants = tuple((e, FRACTIONS[f]) for e, f in zip(elements, fractions, strict=True))
    total = sum(n for _, n in occupants)
    if total > PARTS or (total < PARTS) != vacant:
        raise GenmatError(f"{shown}: the shares of {spell_occupants(occupants)} do not fill the site; mend them")
    return occupants


def write_vocabulary(directory: str | Path) -> Path:
    """Write ``vocab.json`` of this language for `CrystalTokenizer`; return its path."""
    path = Path(directory) / "vocab.json"
    path.write_text(json.dumps(ids()), encoding="utf-8")
    return path
