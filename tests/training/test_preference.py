"""Preferences: which samples are preferred, pairs within a space group, and a model that learns to agree."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from genmat.crystal.prototype import Protostructure, Site, equivalents
from genmat.data.preferences import Opinion, held_out, read_opinions, verdict
from genmat.errors import GenmatError
from genmat.tokenization.sentence import spell
from genmat.tokenization.vocabulary import vocabulary
from genmat.training.batches import Collator
from genmat.training.build import build_model, condition_slice
from genmat.training.config import ModelConfig, load_recipe, recipe_kind
from genmat.training.preference import (
    PairCollator,
    Pairs,
    PreferenceTrainConfig,
    PreferenceTrainer,
    agreement,
    known_opinions,
    log_likelihoods,
)
from genmat.training.trainer import Epochs, training_arguments

SIZES = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 48,
}  # fmt: skip
ROW = dict.fromkeys(("duplicate_sampled", "duplicate_of", "known", "known_sampled", "failure"), "")


def opinion(cation: str, anion: str, preferred: bool, group: int = 225) -> Opinion:
    sites = (Site(cation, "a"), Site(anion, "b"))
    proto = Protostructure(group, sites, (4.0,))
    return Opinion(proto.formula, group, preferred, [spell(s, 0.025) for s in equivalents(proto)])


@pytest.fixture(scope="module")
def opinions() -> list[Opinion]:
    """Chlorides are preferred to iodides, in two space groups."""
    cations = ["Li", "Na", "K", "Rb", "Cs", "Cu", "Ag", "Tl"]
    pairs = [opinion(c, x, x == "Cl", g) for c, x, g in product(cations, ("Cl", "I"), (225, 221))]
    assert {o.spacegroup for o in pairs} == {221, 225}
    return pairs


def test_what_is_preferred() -> None:
    stable = ROW | {"e_above_hull": "0.03", "spacegroup_relaxed": "62"}
    assert verdict(stable, 0.08) is True
    assert verdict(stable | {"spacegroup_relaxed": "1"}, 0.08) is False
    assert verdict(stable | {"e_above_hull": "0.09"}, 0.08) is None
    assert verdict(stable | {"e_above_hull": "0.2"}, 0.08) is False
    assert verdict(stable | {"known": "training"}, 0.08) is None
    assert verdict(stable | {"duplicate_of": "x-1"}, 0.08) is None
    assert verdict(ROW | {"failure": "relax: exploded", "spacegroup_relaxed": ""}, 0.08) is False


def test_pairs_stay_in_their_space_group_and_change_with_the_epoch(opinions) -> None:
    good, bad = ([o for o in opinions if o.preferred is side] for side in (True, False))
    pairs, start = Pairs(good, bad, bad, 0.5, seed=3), vocabulary().slices["spacegroup"][0] - 1
    drawn = []
    for pairs.epoch in (0, 1):
        drawn.append([pairs[i] for i in range(len(pairs))])
        for row, found in zip(good, drawn[-1], strict=True):
            assert row.spacegroup + start in found["preferred"] and row.spacegroup + start in found["other"]
    assert drawn[0] != drawn[1]
    assert pairs[0] == pairs[0]


def test_likelihoods_are_those_of_the_model(opinions) -> None:
    model = build_model(ModelConfig(type="crystal_gpt", sizes=SIZES)).eval()
    batch = Collator(vocabulary().ids["<pad>"], condition_slice())([{"input_ids": o.variants[0]} for o in opinions[:3]])
    with torch.no_grad():
        told, whole, words = log_likelihoods(model, batch["input_ids"], batch["labels"])
        for i, o in enumerate(opinions[:3]):
            ids = torch.tensor([o.variants[0]])
            single = model(ids).logits[0, 1:-1].gather(-1, ids[0, 2:, None]).squeeze(-1)
            end = o.variants[0].index(vocabulary().ids["<geom>"]) - 1
            assert whole[i].item() == pytest.approx(single.sum().item(), rel=1e-4)
            assert told[i].item() == pytest.approx(single[:end].sum().item(), rel=1e-4)
            assert words[i] == len(single)


@pytest.mark.parametrize("kind", ["crystal_gpt", "crystal_rnn"])
def test_a_model_learns_to_agree_on_formulas_it_has_not_seen(opinions, tmp_path, kind) -> None:
    sizes = SIZES if kind == "crystal_gpt" else {"embedding_size": 24, "hidden_size": 32}
    model, reference = (build_model(ModelConfig(type=kind, sizes=sizes), seed=1) for _ in range(2))
    optimiser = {"name": "adamw", "epochs": 12, "batch_size": 8, "learning_rate": 0.01}
    config = PreferenceTrainConfig(name="tiny", start="", judged=(), optimiser=optimiser)
    seen, rest = ([o for o in opinions if ("Na" in o.formula or "Tl" in o.formula) is side] for side in (False, True))
    good, bad = ([o for o in seen if o.preferred is side] for side in (True, False))
    pairs = Pairs(good, bad, known_opinions([o.variants for o in bad], 0.025), 0.4)
    trainer = PreferenceTrainer(
        model=model,
        args=training_arguments(config, tmp_path, 2, None),
        train_dataset=pairs,
        data_collator=PairCollator(Collator(vocabulary().ids["<pad>"], condition_slice())),
        callbacks=[Epochs()],
    )
    trainer.optimiser, trainer.reference, trainer.config = config.optimiser, reference.eval(), config
    before = agreement(reference, rest)
    trainer.train()
    after = agreement(trainer.model, rest)
    assert before["auc"] < 0.9 and after["auc"] > 0.95
    assert after["n_preferred"] == after["n_others"] == 4


def test_formulas_are_held_out_by_their_name() -> None:
    out = [f for f in (f"{a}{n}O{m}" for a, n, m in product("KFBC", range(1, 9), range(1, 9))) if held_out(f, 0.1)]
    assert 10 < len(out) < 45 and all(held_out(f, 0.2) for f in out)


def test_bad_recipes_and_folders_are_one_line(tmp_path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nstart: y\njudged: [z]\nbetta: 1\noptimiser: {epochs: 1}\n")
    assert recipe_kind(path) == "preference"
    with pytest.raises(GenmatError, match="betta"):
        load_recipe(path, PreferenceTrainConfig)
    with pytest.raises(GenmatError, match=r"values\.csv"):
        read_opinions([tmp_path], 0.08, 0.025, 2)
