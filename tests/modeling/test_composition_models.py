"""Composition models: order and padding change nothing, amounts matter, every weight learns, snapshots run alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from genmat.modeling.auto import COMPOSITIONS
from genmat.modeling.composition.modeling_composition import CompositionModel, pattern
from genmat.modeling.composition.modeling_disorder import shifted
from genmat.training.composition import build_composition_model, round_weights, save_model
from genmat.training.composition_config import CompositionTrainConfig

SIZES = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48, "num_patterns": 64, "num_members": 2}
TASKS = {
    "spacegroup": {"kind": "classes", "labels": list(range(1, 231)), "spread": True},
    "volume": {"kind": "number", "mean": 2.8, "std": 0.4, "log": True},
    "is_metal": {"kind": "chance"},
}
DISORDER = {"disorder": {"kind": "classes", "labels": ["O", "S", "V", "M"]}}
IDS = torch.tensor([[56, 22, 8, 0], [11, 17, 0, 0], [19, 22, 24, 8]])
AMOUNTS = torch.tensor([[1.0, 1, 3, 0], [1, 1, 0, 0], [0.5, 1, 0.25, 7]])


def build(kind: str, tasks: dict = TASKS):
    values = {"name": "t", "model": {"type": kind, "sizes": SIZES}, "optimiser": {"epochs": 1}}
    return build_composition_model(CompositionTrainConfig.model_validate(values), tasks).eval()


@pytest.fixture(params=["composition_transformer", "composition_gru", "composition_both"])
def model(request):
    return build(request.param)


@torch.no_grad()
def test_padding_changes_nothing(model) -> None:
    alone = model(IDS[1:2, :2], AMOUNTS[1:2, :2]).predictions
    padded = model(IDS, AMOUNTS).predictions
    for name in TASKS:
        assert torch.allclose(alone[name][0], padded[name][1], atol=1e-4), name
    assert torch.allclose(padded["spacegroup"].exp().sum(-1), torch.ones(3), atol=1e-4)


@torch.no_grad()
def test_the_transformer_reads_a_set_and_amounts_matter() -> None:
    model = build("composition_transformer")
    order = torch.tensor([2, 0, 1, 3])
    first, turned = model(IDS, AMOUNTS).predictions, model(IDS[:, order][:1], AMOUNTS[:, order][:1]).predictions
    assert torch.allclose(first["spacegroup"][0], turned["spacegroup"][0], atol=1e-4)
    doubled = model(IDS[:1, :3], 2 * AMOUNTS[:1, :3]).predictions["spacegroup"]
    assert not torch.allclose(first["spacegroup"][0], doubled[0], atol=1e-3)  # whole numbers count, not only fractions


@torch.no_grad()
def test_members_take_turns_and_may_be_asked_alone() -> None:
    model = build("composition_both")
    assert [type(m.encoder).__name__ for m in model.members] == ["SetEncoder", "SentenceEncoder"]
    volumes = [m(IDS, AMOUNTS, ["volume"])["volume"] * 0.4 + 2.8 for m in model.members]
    both, first = (model(IDS, AMOUNTS, tasks=["volume"], members=n).predictions for n in (None, 1))
    assert list(both) == ["volume"] and torch.allclose(first["volume"], volumes[0].exp())
    assert torch.allclose(both["volume"], ((volumes[0] + volumes[1]) / 2).exp())


def test_patterns_know_no_names() -> None:
    a = pattern(torch.tensor([[1.0, 1, 3, 0], [3, 1, 1, 0], [1, 2, 3, 0]]), 1 << 20)
    assert a[0] == a[1] != a[2] and (a >= 0).all()


def test_every_parameter_gets_a_gradient(model) -> None:
    model.train()
    labels = {"spacegroup": torch.eye(230)[:3], "volume": torch.tensor([10.0, 20.0, 15.0]), "is_metal": torch.ones(3)}
    model(IDS, AMOUNTS, labels).loss.backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_unknown_labels_cost_nothing(model) -> None:
    nan = float("nan")
    unknown = {"spacegroup": torch.zeros(3, 230), "volume": torch.full((3,), nan), "is_metal": torch.full((3,), nan)}
    assert model(IDS, AMOUNTS, unknown).loss.item() == 0.0
    one = {**unknown, "spacegroup": torch.cat([torch.eye(230)[:1], torch.zeros(2, 230)])}
    members = [member(IDS, AMOUNTS)["spacegroup"][0].log_softmax(-1)[0] for member in model.members]
    assert torch.allclose(model(IDS, AMOUNTS, one).loss, -sum(members), atol=1e-4)


def test_any_right_answer_is_enough_for_disorder() -> None:
    model = build("composition_transformer", DISORDER)
    labels = torch.tensor([[0.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    loss = model(IDS, AMOUNTS, {"disorder": labels}).loss
    raw = [member(IDS, AMOUNTS)["disorder"].log_softmax(-1) for member in model.members]
    expected = sum(-(r[0, 1:].logsumexp(-1) + r[1, 0]) / 2 for r in raw)
    assert torch.allclose(loss, expected, atol=1e-5)


@torch.no_grad()
def test_prior_shifts_the_odds_of_whole_formulas_alone() -> None:
    model = build("composition_transformer", DISORDER)
    model.config.priors, model.config.calibration = [0.25, 0.9], [[1.5, 0.2], [1.0, 0.0]]
    plain, rare = model(IDS, AMOUNTS).probability, model(IDS, AMOUNTS, prior=0.05).probability
    same = model(IDS, AMOUNTS, prior=0.25).probability
    odds = (rare / (1 - rare) / (plain / (1 - plain)))[:2]
    assert torch.allclose(odds, torch.full((2,), (0.05 / 0.95) / (0.25 / 0.75)), rtol=1e-3)
    assert torch.allclose(rare[2], plain[2]) and torch.allclose(same, plain, atol=1e-6)
    assert torch.equal(shifted(plain, plain, None), plain)


def test_wrong_configurations_are_refused() -> None:
    config_class = COMPOSITIONS["composition"][0]
    for bad in ({"encoder": "mamba"}, {"hidden_size": 30}, {"tasks": {"x": {"kind": "regression"}}}):
        with pytest.raises(Exception, match=r"neither|multiple|none of"):
            config_class(**bad)


@pytest.mark.parametrize("tasks", [TASKS, DISORDER], ids=["composition", "disorder"])
def test_a_snapshot_runs_without_genmat(tasks, tmp_path) -> None:
    model = build("composition_both", tasks)
    round_weights(model)  # 16 bits are written
    save_model(model, tmp_path / "m", {})
    code = (
        "import sys, torch; sys.modules['genmat'] = None\n"
        "from transformers import AutoModel\n"
        f"m = AutoModel.from_pretrained({str(tmp_path / 'm')!r}, trust_remote_code=True).eval()\n"
        "out = m(torch.tensor([[56, 22, 8]]), torch.tensor([[1.0, 1.0, 3.0]]))\n"
        "print(float(out.probability if 'probability' in out else out.predictions['volume']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    with torch.no_grad():
        out = model(IDS[:1], AMOUNTS[:1])
    here = out.probability if tasks is DISORDER else out.predictions["volume"]
    assert float(run.stdout.split()[-1]) == pytest.approx(float(here), rel=1e-4)
    assert load_file(tmp_path / "m" / "model.safetensors")["members.0.norm.weight"].dtype == torch.float16
    again = (COMPOSITIONS["disorder"][1] if tasks is DISORDER else CompositionModel).from_pretrained(tmp_path / "m")
    assert again.dtype == torch.float32
    assert torch.equal(again.members[0].embed.features, model.members[0].embed.features)
