"""Tunes the adapter of `qa` on question-answer pairs with and without an answer; killed, the same command goes on.

python -m genmat.literature.qa_train experiments/qa.yaml --data ../shared/data/literature --out FOLDER
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml

from genmat.errors import GenmatError
from genmat.literature.qa import adapter_weights, add_adapters, answer, encoder_path


@dataclass(frozen=True)
class QaConfig:
    """All settings of a run; `files` are relative to the data folder, each with its licence in the data card."""

    files: tuple[str, ...]
    held_out: str
    rank: int = 48
    alpha: float = 96.0
    rate: float = 1e-3
    batch: int = 24
    epochs: float = 1.0
    warmup: float = 0.05
    length: int = 256
    unanswerable: float = 0.3
    save_minutes: float = 3.0
    seed: int = 0


def read_config(path: Path) -> QaConfig:
    """The configuration in a YAML file.

    Raises:
        GenmatError: unknown keys.
    """
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    known = {field.name for field in fields(QaConfig)}
    if not isinstance(data, dict) or set(data) - known:
        wrong = ", ".join(sorted(set(data) - known)) if isinstance(data, dict) else "no mapping"
        raise GenmatError(f"{path}: unknown keys: {wrong}; known: {', '.join(sorted(known))}")
    return QaConfig(**{**data, "files": tuple(data["files"])})


def read_examples(path: Path) -> list[dict[str, Any]]:
    """Questions of a JSONL(.gz) file: context, question, answers [[start, text], …]."""
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in text.decode().splitlines() if line.strip()]


def with_unanswerable(examples: Sequence[dict[str, Any]], share: float, rng: random.Random) -> list[dict[str, Any]]:
    """The examples and, for a share of them, the same question asked of another context."""
    mixed = list(examples)
    for example in examples:
        if rng.random() < share:
            other = examples[rng.randrange(len(examples))]
            if all(text not in other["context"] for _, text in example["answers"]):
                mixed.append({"context": other["context"], "question": example["question"], "answers": []})
    return mixed


def batches(examples: Sequence[dict[str, Any]], config: QaConfig) -> list[list[int]]:
    """Indices by batch: similar lengths together, batches shuffled; the same for the same seed."""
    rng = random.Random(config.seed)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i]["context"]) + rng.random() * 200)
    grouped = [order[i : i + config.batch] for i in range(0, len(order), config.batch)]
    rng.shuffle(grouped)
    return grouped


def encode(tokenizer: Any, chosen: Sequence[dict[str, Any]], length: int) -> dict[str, torch.Tensor]:
    """Inputs (batch, tokens) and the answers' first and last token; 0, 0 where there is none."""
    encoded = tokenizer(
        [e["question"] for e in chosen],
        [e["context"] for e in chosen],
        truncation="only_second",
        max_length=length,
        padding=True,
        return_tensors="pt",
    )
    places = [_place(encoded, row, example) for row, example in enumerate(chosen)]
    starts, ends = torch.tensor(places).T
    return {**encoded, "start_positions": starts, "end_positions": ends}


def _place(encoded: Any, row: int, example: dict[str, Any]) -> tuple[int, int]:
    if not example["answers"]:
        return 0, 0
    start, text = example["answers"][0]
    first = encoded.char_to_token(row, start, sequence_index=1)
    last = encoded.char_to_token(row, start + len(text.rstrip()) - 1, sequence_index=1)
    return (0, 0) if first is None or last is None else (first, last)


def train(config: QaConfig, data: Path, out: Path) -> None:
    """Train to the end, saving every few minutes; an unfinished run in `out` is continued."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(encoder_path())
    model = add_adapters(AutoModelForQuestionAnswering.from_pretrained(encoder_path()), config.rank, config.alpha)
    examples = [example for name in config.files for example in read_examples(data / name)]
    examples = with_unanswerable(examples, config.unanswerable, random.Random(config.seed))
    plan = batches(examples, config)
    steps = int(len(plan) * config.epochs)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.rate, weight_decay=0.01)
    state_file, done, spent = out / "state.pt", 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        done, spent = state["done"], state["spent"]
        optimiser.load_state_dict(state["optimiser"])
        model.load_state_dict(state["model"], strict=False)
    model.train()
    start, saved, losses = time.process_time() - spent, time.monotonic(), []

    def save(step: int) -> None:
        weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        spent = time.process_time() - start
        state = {"done": step, "spent": spent, "model": weights, "optimiser": optimiser.state_dict()}
        torch.save(state, state_file.with_suffix(".partial"))
        state_file.with_suffix(".partial").replace(state_file)
        save_file(adapter_weights(model), out / "adapter.safetensors")
        (out / "adapter.json").write_text(json.dumps({**asdict(config), "steps": step, "cpu_seconds": round(spent)}))

    for step in range(done, steps):
        progress = step / steps
        factor = min(progress / config.warmup, (1 - progress) / (1 - config.warmup)) if config.warmup else 1 - progress
        for group in optimiser.param_groups:
            group["lr"] = config.rate * max(factor, 0.01)
        inputs = encode(tokenizer, [examples[i] for i in plan[step % len(plan)]], config.length)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
        if time.monotonic() - saved > 60 * config.save_minutes or step + 1 == steps:
            save(step + 1)
            mean = sum(losses[-100:]) / len(losses[-100:])
            print(f"step {step + 1} of {steps}, loss {mean:.3f}, {time.process_time() - start:.0f} CPU-s", flush=True)
            saved = time.monotonic()
    held_out = read_examples(data / config.held_out)
    model.eval()
    print(json.dumps({"held_out": config.held_out, **evaluate(model, tokenizer, held_out)}))
    assert load_file(out / "adapter.safetensors")


def evaluate(model: Any, tokenizer: Any, examples: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Exact match and token F1 (per cent, best of the reference answers) of forced answers."""
    found = answer(model, tokenizer, [e["question"] for e in examples], [e["context"] for e in examples], length=384)
    exact = [
        max(_words(a.text) == _words(text) for _, text in e["answers"]) for a, e in zip(found, examples, strict=True)
    ]
    f1 = [max(_f1(a.text, text) for _, text in e["answers"]) for a, e in zip(found, examples, strict=True)]
    return {"EM": round(100 * sum(exact) / len(exact), 1), "F1": round(100 * sum(f1) / len(f1), 1), "n": len(f1)}


def _words(text: str) -> list[str]:
    """Words without articles and punctuation at their edges, as SQuAD's script compares them."""
    words = (word.strip(".,;:!?\"'()[]") for word in text.lower().split())
    return [word for word in words if word and word not in ("a", "an", "the")]


def _f1(left: str, right: str) -> float:
    a, b = _words(left), _words(right)
    shared = sum(min(a.count(word), b.count(word)) for word in set(a))
    return 2 * shared / (len(a) + len(b)) if shared else float(a == b)


def main(arguments: Iterator[str] | None = None) -> None:
    """Read the configuration and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/literature"))
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(list(arguments) if arguments is not None else None)
    train(read_config(chosen.config), chosen.data, chosen.out)


if __name__ == "__main__":
    main()
