"""The sampler: every candidate a crystal, prompts obeyed, seeds decisive, likelihoods true."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from genmat.crystal.validity import check
from genmat.errors import GenmatError
from genmat.generation import sampler
from genmat.generation.constraints import Grammar, GrammarLogitsProcessor, replay
from genmat.generation.decode import Clock, choose, decode, uniforms
from genmat.generation.sampler import find_model, generate, load_model, model_folders
from genmat.tokenization.sentence import parse, spell
from genmat.tokenization.vocabulary import vocabulary
from genmat.training.build import build_model, save_snapshot
from genmat.training.config import ModelConfig

SIZES = {
    "crystal_gpt": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48,
    },
    "crystal_rnn": {"embedding_size": 24, "hidden_size": 32},
}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(SIZES))
def model(request):
    """Untrained, so that it says what a trained one hardly would."""
    return build_model(ModelConfig(type=request.param, sizes=SIZES[request.param]), seed=1).eval()


def test_untrained_models_speak_only_crystals(model) -> None:
    candidates = list(generate(48, model=model, batch_size=20))
    assert len(candidates) == 48 and len({c.id for c in candidates}) == 48
    for c in candidates:
        assert c.alive and len(c.structure) == c.protostructure.n_atoms <= 20
        assert c.results["log_likelihood"] < 0 and c.provenance["seed"] == 0


def test_batches_and_numbers_do_not_change_candidates(model) -> None:
    one = [c.protostructure for c in generate(12, model=model, batch_size=12)]
    assert one == [c.protostructure for c in generate(12, model=model, batch_size=5)]
    assert one[:4] == [c.protostructure for c in generate(4, model=model)]
    assert one != [c.protostructure for c in generate(12, model=model, seed=1)]


def test_without_replacement_nothing_comes_twice(model) -> None:
    """The first of every protostructure, in the order of the draws; of a narrow prompt all there are."""
    drawn = {"model": model, "elements": "Cl-Na", "max_atoms": 2}
    once = list(generate(8, distinct=True, **drawn))
    labels = [c.protostructure.label for c in once]
    assert len(set(labels)) == len(labels) == 8
    assert labels == list(dict.fromkeys(c.protostructure.label for c in generate(200, **drawn)))[:8]
    rock_salt = generate(5, distinct=True, model=model, formula="NaCl", spacegroup=225, max_atoms=2)
    assert [c.protostructure.label for c in rock_salt] == ["AB_cF8_225_a_b:Cl-Na"]


def test_likelihood_is_that_of_the_model(model) -> None:
    grammar, condition = Grammar(formula={"Na": 1, "Cl": 1}), vocabulary().ids["<hull:0.025>"]
    for sentence in decode(model, grammar, range(3), condition=[condition], seed=4):
        ids = torch.tensor([sentence.ids])
        with torch.no_grad():
            words = model(ids).logits[0, 1:-1].gather(-1, ids[0, 2:, None]).squeeze(-1)
        prototype = words[: sentence.ids.index(vocabulary().ids["<geom>"]) - 1]
        assert sentence.log_likelihood == pytest.approx(words.sum().item(), rel=1e-3)
        assert sentence.log_likelihood_prototype == pytest.approx(prototype.sum().item(), rel=1e-3)
        assert sentence.ids[:2] == [1, condition] and replay(grammar, sentence.ids).parts == ()


def test_openings_are_kept_and_not_judged(model) -> None:
    grammar, geometry = Grammar(formula={"Ti": 1, "O": 2}), vocabulary().ids["<geom>"]
    first = decode(model, grammar, range(6), seed=1)
    openings = [s.ids[: s.ids.index(geometry) + 1] for s in first]
    again = decode(model, grammar, [s.index for s in first], openings=openings, seed=2)
    for before, after, opening in zip(first, again, openings, strict=True):
        assert after.ids[: len(opening)] == opening and replay(grammar, after.ids).parts == ()
        ids = torch.tensor([after.ids])
        with torch.no_grad():
            words = model(ids).logits[0, :-1].gather(-1, ids[0, 1:, None]).squeeze(-1)
        told = after.log_likelihood - after.log_likelihood_prototype
        assert told == pytest.approx(words[len(opening) - 1 :].sum().item(), rel=1e-3, abs=1e-3)
        assert before.index == after.index
    assert any(a.ids != b.ids for a, b in zip(first, again, strict=True))


def test_impossible_geometries_are_spelled_anew(model, monkeypatch) -> None:
    options = {"model": model, "formula": "TiO2", "spacegroup": 15, "seed": 3}
    monkeypatch.setattr(sampler, "RESPELLINGS", ())
    plain = list(generate(40, **options))
    monkeypatch.undo()
    mended = list(generate(40, **options))
    wrong = [i for i, c in enumerate(plain) if check(c.structure).reason is not None]
    assert wrong and sum(check(c.structure).reason is not None for c in mended) < len(wrong)
    for i, (before, after) in enumerate(zip(plain, mended, strict=True)):
        assert before.id == after.id and before.protostructure.label == after.protostructure.label
        assert before.results["log_likelihood_prototype"] == after.results["log_likelihood_prototype"]
        assert i in wrong or before.to_dict() == after.to_dict()


def test_prompts_are_obeyed(model) -> None:
    for c in generate(6, model=model, formula="SrTiO3", spacegroup=221):
        assert c.protostructure.spacegroup == 221 and c.protostructure.formula == "SrTiO3"
    for c in generate(6, model=model, elements="Li-P-S", required="S"):
        assert "S" in c.protostructure.composition and set(c.protostructure.composition) <= {"Li", "P", "S"}
    for c in generate(6, model=model, prototype="AB_cF8_225_a_b", max_atoms=4):
        assert c.protostructure.label.startswith("AB_cF8_225_a_b")
    for c in generate(6, model=model, spacegroup=[227, 230], e_above_hull=None):
        assert c.protostructure.spacegroup in (227, 230) and "condition" not in c.provenance


def test_hugging_face_generate_takes_the_same_grammar(model) -> None:
    grammar = Grammar(elements=["Mg", "O"], max_atoms=4)
    torch.manual_seed(0)
    out = model.generate(
        torch.full((4, 1), 1), do_sample=True, max_new_tokens=90, logits_processor=[GrammarLogitsProcessor(grammar)]
    )
    for row in out.tolist():
        proto = parse(row)
        assert set(proto.composition) <= {"Mg", "O"} and proto.n_atoms <= 4


def test_bad_prompts_are_refused_before_anything_is_generated(model) -> None:
    for options, message in (
        ({"formula": "Ba30TiO3"}, "do not fit"),
        ({"formula": "Ba-1O"}, "negative"),
        ({"elements": "Li-Xx"}, "not a chemical element"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"model": "crystal-gtp"}, "unknown model"),
    ):
        with pytest.raises(GenmatError, match=message):
            generate(1, **({"model": model} | options))


def test_models_are_found_by_folder(model, tmp_path, monkeypatch) -> None:
    save_snapshot(model, tmp_path / "mine")
    assert find_model(tmp_path / "mine") == str(tmp_path / "mine")
    assert load_model(str(tmp_path / "mine")).dtype == torch.float32
    with pytest.raises(GenmatError, match=r"no config\.json"):
        find_model(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # what is cached is found in test_push.py
    with pytest.raises(GenmatError, match="someone/crystal-gpt: neither a folder nor to be had from the Hub"):
        find_model("someone/crystal-gpt")


def test_temperature_and_top_p() -> None:
    logp = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4000, -1)
    allowed = torch.tensor([[True, True, False, True]]).expand(4000, -1)
    chances = uniforms(0, np.arange(4000), 0)
    share = np.bincount(choose(logp, allowed, chances, 1.0, 1.0).numpy(), minlength=4) / 4000
    assert np.allclose(share, [0.5 / 0.85, 0.3 / 0.85, 0, 0.05 / 0.85], atol=0.03)
    assert set(choose(logp, allowed, chances, 1.0, 0.9).tolist()) == {0, 1}
    assert set(choose(logp, allowed, chances, 0, 1.0).tolist()) == {0}
    cold = np.bincount(choose(logp, allowed, chances, 0.5, 1.0).numpy(), minlength=4) / 4000
    assert cold[0] > share[0]


def test_chances_are_uniform_and_independent() -> None:
    u = np.stack([uniforms(7, np.arange(5000), step) for step in range(8)])
    assert ((u >= 0) & (u < 1)).all() and abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.003
    assert np.abs(np.corrcoef(u) - np.eye(8)).max() < 0.06
    assert np.array_equal(uniforms(7, np.arange(10, 20), 3), uniforms(7, np.arange(20), 3)[10:])


def test_a_gap_asked_of_a_model_that_has_read_none_is_one_line(model, tmp_path) -> None:
    save_snapshot(model, tmp_path)
    assert len(list(generate(1, model=tmp_path, gap=1.0))) == 1
    (tmp_path / "figures.json").write_text('{"config": {"data": {"gaps": null}}}')
    with pytest.raises(GenmatError, match="read no band gaps"):
        generate(1, model=tmp_path, gap=1.0)


@pytest.mark.parametrize("name", ["crystal-gpt", "crystal-rnn"])
def test_shipped_models_speak_crystals(name) -> None:
    if name not in model_folders():
        pytest.skip(f"models/{name} is not in this checkout")
    clock = Clock()
    candidates = list(generate(256, model=name, clock=clock))
    assert all(c.alive and c.structure is not None for c in candidates)
    assert len({c.protostructure.label for c in candidates}) > 230
    groups = Counter(c.protostructure.spacegroup for c in candidates)
    assert len(groups) > 25 and groups[1] < 13  # symmetric, and not of one kind
    volumes = [c.structure.volume / len(c.structure) for c in candidates]
    assert 10 < np.median(volumes) < 30  # Å³ per atom, as in real crystals


def test_a_trained_model_prefers_real_crystals() -> None:
    """Rock salt NaCl is likelier than NaCl with atoms on top of each other."""
    if "crystal-gpt" not in model_folders():
        pytest.skip("models/crystal-gpt is not in this checkout")
    from genmat.crystal.prototype import Protostructure, Site

    model = load_model("crystal-gpt")

    def likelihood(a: float) -> float:
        ids = torch.tensor([spell(Protostructure(225, (Site("Na", "a"), Site("Cl", "b")), (a,)), 0.0)])
        with torch.no_grad():
            return model(ids).logits[0, 1:-1].gather(-1, ids[0, 2:, None]).sum().item()

    assert likelihood(5.64) > max(likelihood(3.0), likelihood(9.0)) + 3


def test_other_models_are_refused_in_one_line(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(GenmatError, match="no model that writes crystals") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)
