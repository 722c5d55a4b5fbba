"""Sentences: what is spelled can be parsed, the tokenizer reads what people write, the features tell words apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genmat.crystal.prototype import Protostructure, Site
from genmat.crystal.wyckoff import space_group
from genmat.errors import GenmatError
from genmat.tokenization.sentence import parse, spell, write_vocabulary
from genmat.tokenization.tokenization_crystal import CrystalTokenizer
from genmat.tokenization.vocabulary import FEATURES, hull_word, vocabulary

BATIO3 = Protostructure(221, (Site("Ba", "a"), Site("Ti", "b"), Site("O", "c")), (4.0,))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return CrystalTokenizer(str(write_vocabulary(tmp_path_factory.mktemp("vocabulary"))))


def test_perovskite_is_a_short_sentence(tokenizer):
    sentence = spell(BATIO3, e_above_hull=0.01)
    assert tokenizer.decode(sentence) == (
        "<bos> <hull:0.025> Ba 1 Ti 1 O 3 sg221 Ba 221a Ti 221b O 221c <geom> L3.987 <eos>"
    )
    assert parse(sentence).label == BATIO3.label


def test_geometry_is_spelled_only_where_it_is_free():
    rutile = Protostructure(136, (Site("Ti", "a"), Site("O", "f", (0.305,))), (4.59, 2.96))
    words = [vocabulary().words[i] for i in spell(rutile)]
    assert words[words.index("<geom>") :] == ["<geom>", "L4.587", "L2.954", "O", "x0.3042", "<eos>"]
    bare = Protostructure(136, (Site("Ti", "a"), Site("O", "f")))
    assert parse(spell(bare)) == bare


@st.composite
def protostructures(draw):
    group = space_group(draw(st.integers(1, 230)))
    letters = draw(st.lists(st.sampled_from(sorted(group.positions)), min_size=1, max_size=4, unique=True))
    elements = draw(
        st.lists(st.sampled_from(["Li", "Fe", "O", "S", "Xe", "Lr"]), min_size=len(letters), max_size=len(letters))
    )
    sites = []
    for element, letter in zip(elements, letters, strict=True):
        dof = group.positions[letter].dof
        coords = draw(st.lists(st.floats(0, 0.999), min_size=dof, max_size=dof))
        sites.append(Site(element, letter, tuple(coords)))
    lattice = tuple(draw(st.floats(2.5, 60)) if i < 3 else draw(st.floats(60, 120)) for i in group.free_lattice)
    return Protostructure(group.number, tuple(sites), lattice)


@settings(max_examples=150, deadline=None)
@given(protostructures())
def test_round_trip_is_exact_up_to_the_grid(proto):
    try:
        sentence = spell(proto)
    except GenmatError as error:
        assert "beyond the language" in str(error)
        return
    back = parse(sentence)
    assert spell(back) == sentence
    assert [(s.element, s.letter) for s in back.sites] == [(s.element, s.letter) for s in proto.sites]
    for i, (ours, theirs) in enumerate(zip(back.lattice, proto.lattice, strict=True)):
        kind = space_group(proto.spacegroup).free_lattice[i]
        assert abs(ours - theirs) <= (0.0051 * theirs if kind < 3 else 0.2501)
    for ours, theirs in zip(back.sites, proto.sites, strict=True):
        distance = np.array(ours.coords) - np.array(theirs.coords)
        assert (np.abs(distance - distance.round()) <= 0.5 / 240 + 1e-4).all()


def test_tokenizer_reads_letters_in_context_and_saves(tokenizer, tmp_path):
    text = "<bos> Ba 1 Ti 1 O 3 sg221 Ba a Ti b O c"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids).endswith("sg221 Ba 221a Ti 221b O 221c")
    assert tokenizer("Ba 1")["input_ids"] == tokenizer("<bos> Ba 1")["input_ids"]
    tokenizer.save_pretrained(tmp_path)
    assert CrystalTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == ids
    assert tokenizer("nonsense")["input_ids"] == [tokenizer.bos_token_id, tokenizer.unk_token_id]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Ba 1 Ti 1 O 3", "no space group"),
        ("Ba 1 sg221", "no complete sites"),
        ("Ba 1 sg221 Ba 225a", "another space group"),
        ("Ba 1 sg221 Ba 221a <geom>", "geometry incomplete"),
        ("Ti 1 O 2 sg136 Ti 136a O 136f <geom> L4.587 L2.954 Ti x0.3042", "out of the order"),
    ],
)
def test_broken_sentences_say_where(tokenizer, text, reason):
    with pytest.raises(GenmatError, match=reason):
        parse(tokenizer(text)["input_ids"])


def test_features_tell_all_words_apart_and_share_site_symmetry():
    vocab = vocabulary()
    assert len(np.unique(vocab.features, axis=0)) == len(vocab) == len(set(vocab.words))
    column = FEATURES.index("site_symmetry")
    one, other = vocab.features[vocab.ids["221a"]], vocab.features[vocab.ids["225a"]]
    assert one[column] == other[column] > 0, "m-3m is m-3m in Pm-3m and Fm-3m"
    assert vocab.features[vocab.ids["221a"], FEATURES.index("own")] == 0


def test_hull_bins():
    assert [hull_word(e) for e in (-0.1, 0.0, 0.01, 0.05, 0.07, 3)] == [
        "<hull:0>", "<hull:0>", "<hull:0.025>", "<hull:0.05>", "<hull:0.1>", "<hull:inf>"
    ]  # fmt: skip
