"""The grammar: no dead end, nothing but crystals, and no crystal shut out."""

from __future__ import annotations

import random
from math import gcd

import numpy as np
import pytest
import torch

from genmat.crystal.prototype import Protostructure, Site
from genmat.crystal.realise import realise
from genmat.errors import GenmatError
from genmat.generation.constraints import Grammar, GrammarLogitsProcessor, closing_angles, copy_row, replay
from genmat.generation.prototypes import PrototypeGrammar, prototype_letters
from genmat.generation.sampler import grammar_for
from genmat.tokenization.sentence import parse, spell
from genmat.tokenization.vocabulary import vocabulary


def walk(grammar: Grammar, rng: random.Random) -> list[int]:
    """A sentence of uniformly drawn allowed words: far from what any model would say."""
    row, ids = grammar.start(), [1]
    while row.parts:
        part = rng.choice(row.parts)
        words = grammar.masks.words((part,))
        assert words, vocabulary().words[ids[-1]]
        ids.append(rng.choice(words))
        row.advance(ids[-1])
    return ids


PROMPTS = {
    "nothing": {},
    "system": {"elements": ["Li", "P", "S"]},
    "required": {"required": ["Na", "O"]},
    "formula": {"formula": {"Ba": 1, "Ti": 1, "O": 3}},
    "formula and group": {"formula": {"Mg": 1, "Al": 2, "O": 4}, "spacegroups": [227]},
    "group": {"spacegroups": [225]},
    "large groups": {"spacegroups": [214, 228, 230], "required": ["Si"]},
    "few atoms": {"max_atoms": 2},
    "many atoms": {"max_atoms": 40, "elements": ["Ca", "Al", "Si", "O", "H"]},
    "exactly eight": {"max_atoms": 8, "min_atoms": 8},
    "exactly seven in a group": {"max_atoms": 7, "min_atoms": 7, "spacegroups": [123, 166], "required": ["O"]},
    "eight to twelve of a formula": {"formula": {"Ba": 1, "Ti": 1, "O": 3}, "max_atoms": 12, "min_atoms": 8},
    "triclinic": {"spacegroups": [1, 2], "max_atoms": 6},
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_every_walk_ends_in_a_crystal_that_obeys(prompt) -> None:
    grammar, rng = Grammar(**prompt), random.Random(0)
    for _ in range(60):
        ids = walk(grammar, rng)
        proto = parse(ids)
        assert prompt.get("min_atoms", 1) <= proto.n_atoms <= prompt.get("max_atoms", 20)
        assert len(realise(proto)) == proto.n_atoms
        amounts = list(proto.composition.values())
        spelled = [vocabulary().words[i] for i in ids[1:]]
        group_at = next(i for i, w in enumerate(spelled) if w.startswith("sg"))
        said = dict(zip(spelled[0:group_at:2], map(int, spelled[1:group_at:2]), strict=True))
        assert {e: n // gcd(*amounts) for e, n in proto.composition.items()} == said
        assert set(said) <= set(prompt.get("elements") or said)
        assert set(prompt.get("required", ())) <= set(said)
        assert proto.spacegroup in prompt.get("spacegroups", [proto.spacegroup])
        assert said == prompt.get("formula", said)
        assert (
            spell(Protostructure(proto.spacegroup, proto.sites))[1:] == ids[1 : ids.index(vocabulary().ids["<geom>"])]
        )


def test_grammar_is_complete_for_small_crystals() -> None:
    """All prototypes of Li-O with at most two atoms: counted through the grammar and by trying every site list."""
    from itertools import combinations_with_replacement

    from genmat.crystal.prototype import sort_sites
    from genmat.crystal.wyckoff import space_group

    grammar, found, groups = Grammar(["Li", "O"], max_atoms=2), set(), (2, 123, 166, 194, 216, 225)
    stack = [(grammar.start(), [1])]
    while stack:
        row, ids = stack.pop()
        for word in grammar.masks.words(row.parts):
            text = vocabulary().words[word]
            if text.startswith("sg") and int(text[2:]) not in groups:
                continue
            if text == "<geom>":
                found.add(tuple(ids[1:]))
            else:
                stack.append((copy_row(row).advance(word), [*ids, word]))
    expected = set()
    for number in groups:
        table = space_group(number)
        sites = [Site(e, w) for e in ("Li", "O") for w in table.positions]
        for k in (1, 2):
            for chosen in combinations_with_replacement(sites, k):
                used = [s.letter for s in chosen if table.positions[s.letter].dof == 0]
                proto = Protostructure(number, sort_sites(list(chosen)))
                if proto.n_atoms <= 2 and len(used) == len(set(used)):
                    expected.add(tuple(spell(proto)[1:]))
    assert found == expected and len(found) > 100


def test_real_sentences_are_all_allowed(shared) -> None:
    import pandas as pd
    from pymatgen.core import Lattice

    from genmat.crystal.composition import ATOMIC_NUMBER
    from genmat.crystal.prototype import from_arrays

    columns = ["n_primitive", "lattice_parameters", "species", "frac_coords"]
    table = pd.read_parquet(shared / "mp" / "structures_le20.parquet", columns=columns)
    grammar = Grammar()
    for row in table[table.n_primitive <= 20].sample(150, random_state=1).itertuples():
        matrix = Lattice.from_parameters(*row.lattice_parameters).matrix
        proto = from_arrays(matrix, np.stack(row.frac_coords), np.array([ATOMIC_NUMBER[s] for s in row.species]))
        assert replay(grammar, spell(proto, 0.0)).parts == ()


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"formula": {"Ba": 20, "O": 1}}, "do not fit"),
        ({"formula": {"Ba": 1, "Ti": 1, "O": 3}, "spacegroups": [230]}, "do not fit"),
        ({"elements": ["Xx"]}, "not a chemical element"),
        ({"elements": ["Li"], "required": ["Na"]}, "not among the allowed"),
        ({"spacegroups": [231]}, "there is none"),
        ({"required": ["Li", "Na", "K"], "max_atoms": 2}, "none fits"),
        ({"spacegroups": [230], "max_atoms": 4}, "none fits"),
        ({"max_atoms": 0}, "at least one"),
        ({"formula": {"Ba": 2, "O": 2}}, "reduced"),
    ],
)
def test_impossible_prompts_are_refused(prompt, message) -> None:
    with pytest.raises(GenmatError, match=message):
        Grammar(**prompt)


def test_contradicting_prompts_are_refused() -> None:
    with pytest.raises(GenmatError, match="leave elements"):
        grammar_for(formula="BaTiO3", elements="Ba-Ti-O")
    with pytest.raises(GenmatError, match="leave them out"):
        grammar_for(prototype="AB_cF8_225_a_b", spacegroup=225)


def test_third_angle_always_closes_a_cell() -> None:
    for alpha in range(0, 241, 12):
        for beta in range(0, 241, 12):
            assert closing_angles(alpha, beta)


PROTOTYPES = ["ABC3_cP5_221_a_b_c", "AB2C4_cF56_227_a_d_e", "A_cF4_225_a", "AB_hP4_194_b_c", "A2BC4_tI14_82_bc_a_g"]


@pytest.mark.parametrize("label", PROTOTYPES)
def test_prototypes_are_decorated_and_nothing_else(label) -> None:
    group, letters = prototype_letters(label)
    grammar, rng = PrototypeGrammar(label), random.Random(0)
    for _ in range(30):
        proto = parse(walk(grammar, rng))
        assert proto.spacegroup == group
        assert sorted(
            "".join(sorted(s.letter for s in proto.sites if s.element == e)) for e in proto.composition
        ) == sorted("".join(sorted(ws)) for ws in letters)


def test_prototype_prompts_can_be_wrong() -> None:
    for label, message in (
        ("perovskite", "not a prototype"),
        ("A_cF4_225_z", "no position"),
        ("A_cF8_225_2a", "one site"),
    ):
        with pytest.raises(GenmatError, match=message):
            PrototypeGrammar(label)
    with pytest.raises(GenmatError, match="raise max_atoms"):
        PrototypeGrammar("AB2C4_cF56_227_a_d_e", max_atoms=10)
    with pytest.raises(GenmatError, match="elements"):
        PrototypeGrammar("ABC3_cP5_221_a_b_c", elements=["Li", "O"])
    sites = (Site("Sr", "a"), Site("Ti", "b"), Site("O", "c"))
    assert prototype_letters(Protostructure(221, sites)) == (221, ["a", "b", "c"])


def test_logits_processor_agrees_with_the_rows() -> None:
    grammar, rng = Grammar(), random.Random(2)
    processor = GrammarLogitsProcessor(grammar)
    ids = walk(grammar, rng)
    row = grammar.start()
    for t in range(1, len(ids)):
        scores = processor(torch.tensor([ids[:t]]), torch.zeros(1, len(vocabulary())))
        assert torch.isfinite(scores[0]).nonzero().squeeze(-1).tolist() == sorted(grammar.masks.words(row.parts))
        row.advance(ids[t])
    done = processor(torch.tensor([ids]), torch.zeros(1, len(vocabulary())))
    assert torch.isfinite(done[0]).nonzero().tolist() == [[vocabulary().ids["<pad>"]]]


def test_replay_refuses_what_is_not_a_crystal() -> None:
    ids = vocabulary().ids
    with pytest.raises(GenmatError, match="cannot come there"):
        replay(Grammar(), [ids["<bos>"], ids["Ba"], ids["2"], ids["sg225"]])
