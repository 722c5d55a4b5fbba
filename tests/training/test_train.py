"""The training loop on real sentences of a few crystals: it learns, resumes exactly, tracks, and measures itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from genmat.crystal.prototype import Protostructure, Site, equivalents
from genmat.tokenization.sentence import spell
from genmat.tokenization.vocabulary import vocabulary
from genmat.training.batches import Collator, LengthBuckets, SentenceDataset, choose
from genmat.training.build import build_model, condition_slice
from genmat.training.config import ModelConfig, TrainConfig
from genmat.training.metrics import SEGMENTS, NgramBaseline, model_losses, segments, summarise
from genmat.training.muon import Muon, orthogonalise, parameter_groups
from genmat.training.train import BucketTrainer, train, training_stats


def crystals() -> list[list[list[int]]]:
    """Sentences of rock salts, perovskites and wurtzites, in all their equivalent settings."""
    protos = []
    for i, (a, x) in enumerate(product(["Li", "Na", "K", "Rb", "Cs"], ["F", "Cl", "Br", "I"])):
        protos.append(Protostructure(225, (Site(a, "a"), Site(x, "b")), (4.0 + 0.1 * i,)))
    for i, (a, b) in enumerate(product(["Ca", "Sr", "Ba"], ["Ti", "Zr", "Hf", "Sn"])):
        protos.append(Protostructure(221, (Site(a, "a"), Site(b, "b"), Site("O", "c")), (3.8 + 0.05 * i,)))
    for i, (a, x) in enumerate(product(["Zn", "Cd", "Be", "Mg"], ["S", "Se", "Te"])):
        sites = (Site(a, "b", (0.0,)), Site(x, "b", (0.375 + 0.002 * i,)))
        protos.append(Protostructure(186, sites, (3.8 + 0.04 * i, 6.2)))
    return [[spell(s, 0.01 * (i % 5)) for s in equivalents(p)[:3]] for i, p in enumerate(protos)]


def config(**changes) -> TrainConfig:
    values = {
        "name": "tiny",
        "model": {"type": "crystal_gpt", "sizes": {
            "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
            "intermediate_size": 48, "dropout": 0.1,
        }},
        "optimiser": {"epochs": 6, "batch_size": 8, "learning_rate": 0.01},
        "log_every": 2,
    }  # fmt: skip
    return TrainConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def splits() -> dict[str, list]:
    rows = crystals()
    return {"train": rows[::2] + rows[1::4], "val": rows[3::8], "test": rows[7::8]}


def test_learns_and_writes_a_snapshot(splits, tmp_path) -> None:
    figures = train(config(), tmp_path / "run", splits=splits)
    val = figures["metrics"]["val"]
    untrained = build_model(config().model, 0)
    from genmat.training.train import evaluate

    before = evaluate(untrained, splits)["val"]["model"]["all"]["loss"]
    assert val["model"]["all"]["loss"] < 0.7 * before
    assert val["model"]["all"]["loss"] < val["unigram"]["all"]["loss"]
    snapshot = tmp_path / "run" / "snapshot"
    assert (snapshot / "model.safetensors").is_file() and (snapshot / "modeling_crystal_gpt.py").is_file()
    assert json.loads((snapshot / "figures.json").read_text())["steps"] == figures["steps"] > 0
    stats = json.loads((snapshot / "training_stats.json").read_text())
    assert stats["spacegroups"].keys() == {"186", "221", "225"}


def test_space_groups_near_the_hull_are_counted_apart() -> None:
    proto = Protostructure(186, (Site("Zn", "b", (0.0,)), Site("O", "b", (0.38,))), (3.25, 5.2))
    stats = training_stats([[spell(proto, above)] for above in (0.0, 0.1, 0.11, 2.0)])
    assert stats["spacegroups"] == {"186": 4} and stats["near_hull"] == {"186": 2}


def test_seed_decides_everything(splits, tmp_path) -> None:
    runs = [train(config(optimiser={"epochs": 1, "batch_size": 8}), tmp_path / str(i), splits=splits) for i in range(2)]
    assert runs[0]["metrics"] == runs[1]["metrics"]


KILLED = """
import json, sys
from pathlib import Path
from test_train import config
from genmat.training.train import train
train(config(saves_per_epoch=2), Path(sys.argv[1]), splits=json.loads(Path(sys.argv[2]).read_text()))
"""


def test_killed_and_resumed_equals_undisturbed(splits, tmp_path) -> None:
    root = Path(__file__).resolve().parents[2]
    data, out = tmp_path / "splits.json", tmp_path / "killed"
    data.write_text(json.dumps(splits))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).parent)])}
    run = subprocess.Popen([sys.executable, "-c", KILLED, str(out), str(data)], cwd=root, env=environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while not list(out.glob("checkpoint-*/trainer_state.json")):
        assert run.poll() is None, "ended before its first checkpoint"
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (out / "snapshot").exists()
    resumed = train(config(saves_per_epoch=2), out, splits=splits)
    undisturbed = train(config(saves_per_epoch=2), tmp_path / "undisturbed", splits=splits)
    a, b = resumed["metrics"]["val"]["model"]["all"], undisturbed["metrics"]["val"]["model"]["all"]
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)
    assert resumed["steps"] == undisturbed["steps"]


def test_every_word_weighs_the_same(splits, tmp_path) -> None:
    """Two batches of sentences of different length add up to the gradient of both in one."""
    dataset = SentenceDataset(splits["train"], condition_slice(), augment=False)
    model = build_model(config().model).train()
    trainer = BucketTrainer(model=model, args=TrainingArguments(str(tmp_path), use_cpu=True), train_dataset=dataset)
    for part in (model.config, *model.blocks):
        part.dropout = 0.0
    collate, rows = (
        Collator(0, condition_slice()),
        sorted((dataset[i] for i in range(16)), key=lambda r: len(r["input_ids"])),
    )
    parts = [trainer.compute_loss(model, collate(rows[i : i + 8])).item() for i in (0, 8)]
    words = [sum((batch["labels"][:, 1:] != -100).sum().item() for batch in [collate(rows[i : i + 8])]) for i in (0, 8)]
    assert words[0] < words[1]
    mean = [model(**collate(rows[i : i + 8])).loss.item() for i in (0, 8)]
    for k in (0, 1):
        assert parts[k] == pytest.approx(mean[k] * words[k] / (8 * dataset.mean_words), rel=1e-4)


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_tracking_offline(splits, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    train(config(optimiser={"epochs": 1, "batch_size": 8}), tmp_path / "run", splits=splits, track="wandb")
    assert list(tmp_path.glob("wandb/offline-run-*"))


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, 1000)
    sampler = LengthBuckets(lengths, 16, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(1000)) and first == list(LengthBuckets(lengths, 16, seed=1))
    sampler.set_epoch(1)
    assert list(sampler) != first
    spread = [np.ptp(lengths[first[i : i + 16]]) for i in range(0, 992, 16)]
    assert np.mean(spread) < 0.2 * np.ptp(lengths)


def test_every_variant_is_seen_and_conditions_are_dropped() -> None:
    condition = condition_slice()
    rows = [[[1, condition[0], 30 + v, 2] for v in range(4)]]
    data = SentenceDataset(rows * 200, condition, (0.25, 0.0), seed=5)
    ids = [data[i]["input_ids"] for i in range(200)]
    assert {i[-2] for i in ids} == {30, 31, 32, 33}
    assert 20 <= sum(len(i) == 3 for i in ids) <= 80
    data.epoch = 1
    assert [data[i]["input_ids"] for i in range(200)] != ids
    assert abs(np.mean([choose(0, 0, r, 1000) for r in range(4000)]) - 500) < 20


def test_labels_leave_out_padding_and_conditions() -> None:
    condition = condition_slice()
    batch = Collator(0, condition)([{"input_ids": [1, condition[0], 40, 2]}, {"input_ids": [1, 41, 42, 43, 2]}])
    assert batch["labels"].tolist() == [[1, -100, 40, 2, -100], [1, 41, 42, 43, 2]]


def test_segments_cover_the_sentence(splits) -> None:
    vocab = vocabulary()
    ids = splits["train"][-1][0]
    names = [SEGMENTS[s] if s >= 0 else "" for s in segments(ids, vocab.slices)]
    words = [vocab.words[i] for i in ids]
    assert names[words.index("<geom>")] == "sites" and names[-1] == "coordinates" and names[:2] == ["", ""]
    assert all((n == "lattice") == w.startswith(("L", "A")) for n, w in zip(names, words, strict=True) if "." in w)


def test_losses_by_segment_add_up(splits) -> None:
    model, condition, slices = build_model(config().model), condition_slice(), vocabulary().slices
    sentences = [v[0] for v in splits["val"]]
    batch = Collator(0, condition)([{"input_ids": ids} for ids in sentences])
    summary = summarise(model_losses(model, [batch]), sentences, slices)
    with torch.no_grad():
        whole = model(**batch).loss.item()
    assert summary["all"]["loss"] == pytest.approx(whole, rel=1e-5)
    assert summary["all"]["tokens"] == sum(summary[s]["tokens"] for s in SEGMENTS)


def test_ngram_baseline_is_a_probability() -> None:
    baseline = NgramBaseline([[0, 1, 2], [0, 1, 3]], 4)
    total = sum(np.exp(-baseline.losses([1, second])[1][0]) for second in range(4))
    assert total == pytest.approx(1.0)


def test_muon_orthogonalises_and_descends() -> None:
    torch.manual_seed(0)
    for shape in ((16, 48), (48, 16)):
        s = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert s.min() > 0.5 and s.max() < 1.5
    model = build_model(ModelConfig(type="crystal_rnn", sizes={"embedding_size": 16, "hidden_size": 24}))
    optimiser = Muon(parameter_groups(model, 0.0), lr=0.02)
    ids = torch.tensor([v[0][:10] for v in crystals()[:8]])
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
