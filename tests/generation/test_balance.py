"""Balanced draws: the space groups wanted, nothing else changed, and refusals in one line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from genmat.cli.main import run
from genmat.errors import GenmatError
from genmat.generation.balance import FIRST, balance, learned_groups
from genmat.generation.constraints import Grammar
from genmat.generation.decode import decode
from genmat.generation.sampler import find_model, generate
from genmat.tokenization.sentence import parse
from genmat.training.build import build_model
from genmat.training.config import ModelConfig


def test_what_is_not_admitted_ends_and_the_rest_stays_as_it_was():
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 48}  # fmt: skip
    model = build_model(ModelConfig(type="crystal_gpt", sizes=sizes), seed=1).eval()
    asked = {}

    def even(number: int, group: int) -> bool:
        asked[number] = group
        return group % 2 == 0

    every = decode(model, Grammar(), range(40), seed=3)
    kept = decode(model, Grammar(), range(40), seed=3, admit=even)
    groups = {s.index: parse(s.ids).spacegroup for s in every}
    assert asked == groups
    assert [s.index for s in kept] == [n for n, group in groups.items() if group % 2 == 0]
    alone = {s.index: s for s in every}
    for sentence in kept:
        assert sentence.ids == alone[sentence.index].ids
        assert sentence.log_likelihood == pytest.approx(alone[sentence.index].log_likelihood, rel=1e-4)


def test_chances_are_shares_wanted_over_shares_spoken():
    """A model that says 225 nine times in ten, asked for halves: one 225 in nine is admitted, a third group never."""

    def spoken(numbers, admit):
        assert numbers[0] >= FIRST
        for number in numbers:
            admit(number, 225 if number % 10 else 62)

    rule = balance(spoken, {225: 0.5, 62: 0.5, 14: 0.0}, seed=0)
    admitted = sum(rule(number, 225) for number in range(20_000)) / 20_000
    assert admitted == pytest.approx(1 / 9, abs=0.01)
    assert all(rule(number, 62) for number in range(100))
    assert not any(rule(number, group) for number in range(100) for group in (14, 2))
    again = balance(spoken, {225: 0.5, 62: 0.5, 14: 0.0}, seed=0)
    assert [rule(n, 225) for n in range(200)] == [again(n, 225) for n in range(200)]


def test_the_shipped_model_speaks_as_it_was_taught():
    wanted = learned_groups(Path(find_model("crystal-gpt-sun")))
    assert sum(wanted.values()) == pytest.approx(1) and 0.1 < wanted[225] < 0.2
    drawn = {
        balanced: list(generate(200, model="crystal-gpt-sun", balanced=balanced, seed=5)) for balanced in (False, True)
    }

    def off(candidates) -> float:
        counts = Counter(c.protostructure.spacegroup for c in candidates)
        return sum(abs(counts[group] / len(candidates) - share) for group, share in wanted.items())

    assert len(drawn[True]) == 200 and off(drawn[True]) < 0.9 * off(drawn[False])
    numbers = [c.provenance["index"] for c in drawn[True]]
    assert numbers == sorted(set(numbers)) and numbers[-1] > 300


def test_prompts_and_models_that_do_not_say_are_refused(tmp_path, capsys):
    for prompt in ({"elements": "Li-O"}, {"formula": "BaTiO3"}, {"spacegroup": 225}):
        with pytest.raises(GenmatError, match="balanced: for free generation"):
            generate(5, balanced=True, **prompt)
    with pytest.raises(GenmatError, match="does not count space groups"):
        learned_groups(tmp_path)
    assert run(["generate", "--n", "2", "--balanced", "--elements", "Li-O", "--out", str(tmp_path / "x.csv")]) == 1
    assert capsys.readouterr().err.startswith("error: balanced")
