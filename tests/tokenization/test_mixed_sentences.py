"""Sentences of disordered crystals: exact round trips, ids of the ordered language untouched."""

from __future__ import annotations

import pytest
from mixed_crystals import real_structures

from genmat.crystal.disorder import DisorderedProtostructure, MixedSite, from_structure
from genmat.errors import GenmatError
from genmat.tokenization import sentence
from genmat.tokenization.disordered import ids, parse, spell, words, write_vocabulary
from genmat.tokenization.tokenization_crystal import CrystalTokenizer
from genmat.tokenization.vocabulary import vocabulary

ALLOY = DisorderedProtostructure(225, (MixedSite((("Cu", 10), ("Au", 10)), "a"),), (3.9,))
BRONZE = DisorderedProtostructure(
    221, (MixedSite((("Na", 13),), "b"), MixedSite((("W", 20),), "a"), MixedSite((("O", 20),), "d")), (3.85,)
)


def test_words_are_those_of_the_ordered_language_and_more():
    assert words()[: len(vocabulary())] == vocabulary().words
    assert len(words()) == len(vocabulary()) + 20 == len(ids())


def test_alloy_and_bronze(tmp_path):
    tokenizer = CrystalTokenizer(str(write_vocabulary(tmp_path)))
    assert tokenizer.decode(spell(ALLOY)) == "<bos> Cu Au sg225 Cu f0.5 Au f0.5 225a <geom> L3.908 <eos>"
    text = "<bos> Na W O sg221 Na f0.65 <va> 221b W 221a O 221d <geom> L3.831 <eos>"
    assert tokenizer.decode(spell(BRONZE)) == text
    assert tokenizer(text)["input_ids"] == spell(BRONZE)
    assert parse(spell(BRONZE)).label == BRONZE.label


def test_an_ordered_sentence_is_read_too():
    from genmat.crystal.prototype import Protostructure, Site

    salt = Protostructure(225, (Site("Na", "a"), Site("Cl", "b")), (5.64,))
    assert parse(sentence.spell(salt)).label == salt.label


@pytest.mark.parametrize(
    "text",
    [
        "Cu Au",
        "Cu Au sg225",
        "Cu Au sg225 Cu f0.5 Au 225a",
        "Cu Au sg225 Cu f0.5 Au f0.6 225a",
        "Cu Au sg225 Cu f0.5 Au f0.4 225a",
        "Cu Au sg225 Cu f0.5 Au f0.5 <va> 225a",
        "Cu Au sg225 Cu f0.5 Au f0.5 225a <geom>",
        "Cu sg225 Cu f0.5",
    ],
)
def test_broken_sentences_are_refused(text):
    with pytest.raises(GenmatError, match="sentence"):
        parse([ids()[word] for word in text.split()])


def test_round_trip_of_real_crystals(shared):
    """Groups, letters, occupants come back exactly, geometry within the grid, and the sentence word by word."""
    done = 0
    for name, structure in real_structures(shared, every=2):
        proto = from_structure(structure)
        said = spell(proto)
        back = parse(said)
        assert back.label == proto.label, name
        assert [(s.occupants, s.letter) for s in back.sites] == [(s.occupants, s.letter) for s in proto.sites]
        assert back.lattice == pytest.approx(proto.lattice, rel=0.006, abs=0.26)
        for one, two in zip(back.sites, proto.sites, strict=True):
            for x, y in zip(one.coords, two.coords, strict=True):
                assert abs((x - y + 0.5) % 1 - 0.5) < 0.5 / 240 + 1e-4
        assert spell(back) == said, name
        done += 1
    assert done > 150
