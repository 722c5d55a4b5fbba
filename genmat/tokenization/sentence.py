"""Protostructure <-> sentence of token ids."""

from collections.abc import Sequence
from pathlib import Path

from genmat.crystal.composition import reduce_amounts
from genmat.crystal.prototype import Protostructure, Site
from genmat.crystal.wyckoff import space_group
from genmat.errors import GenmatError
from genmat.tokenization.vocabulary import angle_id, coord_id, gap_word, hull_word, length_id, vocabulary


def spell(proto: Protostructure, e_above_hull: float | None = None, gap: float | None = None) -> list[int]:
    """Token ids of a protostructure, ``<bos>`` to ``<eos>``; without geometry it stops after the last site.

    Args:
        e_above_hull: eV/atom; adds the condition word of its bin.
        gap: eV (PBE); likewise.

    Raises:
        GenmatError: an amount beyond the vocabulary.
    """
    vocab = vocabulary()
    ids = vocab.ids
    sentence = [ids["<bos>"]]
    if e_above_hull is not None:
        sentence.append(ids[hull_word(e_above_hull)])
    if gap is not None:
        sentence.append(ids[gap_word(gap)])
    for element, amount in reduce_amounts(proto.composition).items():
        if str(amount) not in ids:
            raise GenmatError(
                f"{proto.formula}: {amount} {element} per formula unit is beyond the language (at most 64)"
            )
        sentence += [ids[element], ids[str(amount)]]
    sentence.append(ids[f"sg{proto.spacegroup}"])
    for site in proto.sites:
        sentence += [ids[site.element], ids[f"{proto.spacegroup}{site.letter}"]]
    if not proto.lattice:
        return sentence
    sentence.append(ids["<geom>"])
    first = {kind: lo for kind, (lo, _) in vocab.slices.items()}
    for index, value in zip(space_group(proto.spacegroup).free_lattice, proto.lattice, strict=True):
        sentence.append(first["length"] + length_id(value) if index < 3 else first["angle"] + angle_id(value))
    for site in proto.sites:
        if site.coords:
            sentence += [ids[site.element], *(first["coord"] + coord_id(x) for x in site.coords)]
    return [*sentence, ids["<eos>"]]


def parse(sentence: Sequence[int]) -> Protostructure:
    """The protostructure a sentence spells (conditions, padding and the restated elements are passed over).

    Raises:
        GenmatError: a sentence that is not of the language, naming the word where it breaks.
    """
    vocab = vocabulary()
    words = [vocab.words[i] for i in sentence if vocab.words[i] not in ("<pad>", "<bos>", "<eos>")]
    start = next((i for i, w in enumerate(words) if w.startswith("sg")), None)
    if start is None:
        raise GenmatError(f"sentence {' '.join(words)!r}: no space group; not a crystal")
    number = int(words[start][2:])
    group = space_group(number)
    end = words.index("<geom>") if "<geom>" in words else len(words)
    body = words[start + 1 : end]
    pairs = list(zip(body[::2], body[1::2], strict=False))
    if not pairs or len(body) % 2:
        raise GenmatError(f"sentence {' '.join(words)!r}: no complete sites after the space group")
    letters = [(element, position.removeprefix(str(number))) for element, position in pairs]
    if any(letter not in group.positions for _, letter in letters):
        raise GenmatError(f"sentence {' '.join(words)!r}: a Wyckoff position of another space group")
    if end == len(words):
        return Protostructure(number, tuple(Site(e, w) for e, w in letters))
    geometry = words[end + 1 :]
    slots = sum(1 + group.positions[w].dof for _, w in letters if group.positions[w].dof)
    if len(geometry) != len(group.free_lattice) + slots or "<unk>" in geometry:
        raise GenmatError(f"sentence {' '.join(words)!r}: geometry incomplete or overlong")
    lattice = tuple(float(word[1:]) for word in geometry[: len(group.free_lattice)])
    sites, at = [], len(group.free_lattice)
    for element, letter in letters:
        dof = group.positions[letter].dof
        if dof and geometry[at] != element:
            raise GenmatError(f"sentence {' '.join(words)!r}: coordinates out of the order of the sites")
        sites.append(Site(element, letter, tuple(float(word[1:]) for word in geometry[at + 1 : at + 1 + dof])))
        at += 1 + dof if dof else 0
    return Protostructure(number, tuple(sites), lattice)


def write_vocabulary(directory: str | Path) -> Path:
    """Write ``vocab.json`` for :class:`~genmat.tokenization.tokenization_crystal.CrystalTokenizer`; return its path."""
    import json

    path = Path(directory) / "vocab.json"
    path.write_text(json.dumps(vocabulary().ids), encoding="utf-8")
    return path
