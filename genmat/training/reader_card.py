"""Card of the question-answering model, rendered from the figures of its rounds of training and of its benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any

from genmat.errors import GenmatError
from genmat.training.check import UNKNOWN, header, write_checked

TAGS = ("extractive-qa", "information-extraction")
FILES = {
    "squadshifts_new_wiki": ("SQuADShifts, new Wikipedia articles (Miller et al., ICML 2020)", "CC BY 4.0"),
    "squadshifts_reddit": ("SQuADShifts, Reddit", "CC BY 4.0"),
    "squadshifts_amazon_reviews": ("SQuADShifts, Amazon reviews", "CC BY 4.0"),
    "qamr_wiki_devtest": ("QAMR, one sentence each (Michael et al., NAACL 2018)", "MIT"),
    "measeval_train": ("MeasEval train: quantities, both directions (Harper et al., SemEval 2021)", "CC BY 4.0"),
    "measeval_trial": ("MeasEval trial: the same", "CC BY 4.0"),
    "measeval_train_qa": ("MeasEval train: quantities alone", "CC BY 4.0"),
    "measeval_trial_qa": ("MeasEval trial: quantities alone", "CC BY 4.0"),
    "cde_snowball_bandgap_train": (
        "ChemDataExtractor's band-gap training sentences, both directions (Dong and Cole, Sci. Data 2022)",
        "MIT",
    ),
}
UNMEASURED = "Run `python benchmarks/qa.py --model FOLDER --write` to measure them."


def write_scores(folder: Path, name: str, found: dict[str, Any]) -> Path:
    """Add figures of the benchmark, `question_answering` or `speed`, to a snapshot and render its card anew."""
    figures = read_figures(folder)
    figures[name] = figures.get(name, {}) | found
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return write_reader_card(folder)


def write_reader_card(folder: Path) -> Path:
    """Write `README.md` of a snapshot from its `figures.json`.

    Raises:
        GenmatError: figures missing.
    """
    figures, size = read_figures(folder), (folder / "model.safetensors").stat().st_size
    return write_checked(folder, figures, lambda known: render(known, size))


def read_figures(folder: Path) -> dict[str, Any]:
    """The figures of a snapshot's training and, where measured, of the benchmark.

    Raises:
        GenmatError: there are none.
    """
    try:
        return json.loads((folder / "figures.json").read_text())
    except FileNotFoundError as error:
        raise GenmatError(f"{error.filename}: missing; train the model with genmat train") from None


def render(figures: dict[str, Any], size: int) -> str:
    """The card's text; `size` in bytes of the weights."""
    rounds = figures["rounds"]
    last = rounds[-1]["config"]
    template = Template((Path(__file__).parent / "reader_card.md").read_text())
    head = header(TAGS, "question-answering", last["name"], results(figures))
    return template.substitute(
        header=head + "base_model: sentence-transformers/all-MiniLM-L6-v2\n",
        name=last["name"],
        tuned=6 - last["model"]["frozen"],
        size=f"{size / 1e6:.1f}",
        check=figures.get("check", f"{UNKNOWN}\n"),
        passes=passes(rounds),
        windows=windows(rounds),
        batch=last["batch"],
        rounds=costs(rounds),
        commands="\n".join(f"genmat train experiments/{r['config']['name'].replace('-', '_')}.yaml" for r in rounds)
        + f"\ngenmat train experiments/{last['name'].replace('-', '_')}.yaml --add corrections.jsonl",
        figures=table(figures["question_answering"]) + speeds(figures.get("speed", {}))
        if "question_answering" in figures
        else UNMEASURED,
    )


def passes(rounds: list[dict[str, Any]]) -> str:
    """Which file was passed over how often, as Markdown."""
    names = sorted({name for r in rounds for stage in learned(r["config"]) for name in stage["files"]})
    ordered = sorted(names, key=lambda name: [*FILES, stem(name)].index(stem(name)))
    lines = [f"| file | {' | '.join(f'round {i + 1}' for i in range(len(rounds)))} | licence |"]
    lines.append("|---" * (len(rounds) + 2) + "|")
    for name in ordered:
        what, licence = FILES.get(stem(name), (f"`{name}`", "its own"))
        cells = []
        for r in rounds:
            shares = [stage["files"][name] for stage in learned(r["config"]) if name in stage["files"]]
            cells.append(" + ".join(f"{share:g}" for share in shares) or "–")
        lines.append(f"| {what} | {' | '.join(cells)} | {licence} |")
    own = [f"`{Path(path).name}`" for r in rounds for path in r["config"]["add"]]
    return "\n".join(lines) + (f"\n\nThen own corrections: {', '.join(own)}." if own else "")


def learned(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages of a round that were learned from, not only the confidence fitted to."""
    return [stage for stage in config["stages"] if stage.get("batches") != 0]


def stem(name: str) -> str:
    """File name without folder and endings."""
    return Path(name).name.split(".")[0]


def windows(rounds: list[dict[str, Any]]) -> str:
    """Fewest and most words of a context, by round."""
    told = []
    for i, r in enumerate(rounds):
        if not r["steps"]:
            continue
        stages = r["config"]["stages"] or [{}]
        sizes = dict.fromkeys(tuple(stage.get("words") or r["config"]["words"]) for stage in stages)
        told.append(f"round {i + 1}: " + ", then ".join(f"{low} to {high}" for low, high in sizes))
    return "; ".join(told) + " words"


def costs(rounds: list[dict[str, Any]]) -> str:
    """Steps, questions, cost and seed of every round, or what it is the mean of."""

    def told(r: dict[str, Any]) -> str:
        config = r["config"]
        start = config["start"] if isinstance(config["start"], list) else []
        mean = f"the mean of {' and '.join(Path(name).parent.name for name in start)}"
        if not r["steps"]:
            return mean
        joined = ", then ".join(f"{s['joined']:.0%}" for s in config["stages"] if s.get("joined"))
        parts = [
            f"{r['steps']:,} steps",
            f"{r['examples']:,} questions",
            f"{r['cpu_minutes']:.0f} CPU-minutes on one core",
            f"rate {config['rate']:g} of the head",
            f"{config['layer_decay']:g} times that for every layer below",
            f"dropout {config['dropout']:g}" if config.get("dropout") else "",
            f"{config['masked']:.0%} of the words hidden" if config.get("masked") else "",
            f"other contexts around {joined} of them" if joined else "",
            f"kept at rank {config['model']['rank']}" if "rank" in config["model"] else "",
            f"products in {config.get('precision', 'float32')}",
            f"from {mean}" if len(start) > 1 else "",
            f"seed {config['seed']}",
        ]
        return ", ".join(filter(None, parts))

    return "\n".join(f"- round {i + 1}: {told(r)}" for i, r in enumerate(rounds))


def results(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Figures of the sets that were not learned from, for the model index."""
    return [
        {"dataset": name, "split": "test", "metrics": {"exact_match": found["EM"], "f1": found["F1"]}}
        for name, found in figures.get("question_answering", {}).items()
    ]


def table(scores: dict[str, Any]) -> str:
    """Figures of `benchmarks/qa.py` as Markdown, with precision and recall over the threshold of confidence."""
    lines = [
        "Neither set was learned from (`python benchmarks/qa.py --model FOLDER --write`); shuffled questions are the",
        "same ones asked of other contexts that do not hold the answer.",
        "",
        '| set | questions | exact match | F1 | "no answer" AUROC | ECE, half shuffled | ECE, answerable alone |',
        "|---" * 7 + "|",
    ]
    for name, s in scores.items():
        lines.append(
            f"| {name} | {s['n']:,} | {s['EM']:.1f} | {s['F1']:.1f} | {s['no-answer AUROC']:.3f} | {s['ECE']:.3f} "
            f"| {s['ECE answerable']:.3f} |"
        )
    lines += ["", "Precision and recall over the threshold of confidence, half of the questions shuffled; an answer is"]
    lines += ["right from an F1 of 0.5 on:", ""]
    columns = [f"{name}: {what}" for name in scores for what in ("given answers right", "questions answered rightly")]
    lines += [f"| confidence from | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for rows in zip(*(s["curve"] for s in scores.values()), strict=True):
        cells = " | ".join(f"{value:.3f}" for _, *values in rows for value in values)
        lines.append(f"| {rows[0][0]:g} | {cells} |")
    return "\n".join(lines)


def speeds(found: dict[str, Any]) -> str:
    """Answers per CPU-second by precision."""
    if not found:
        return ""
    lines = [
        f"{name} {s['segments per CPU-second']:.1f} segments of 700 characters, {s['sentences per CPU-second']:.1f}"
        f" sentences, peak memory {s['peak MiB']} MiB"
        for name, s in found.items()
    ]
    said = "\n\nAnswers per CPU-second of one thread (`python benchmarks/qa.py --model FOLDER --speed --write`): "
    return said + "; ".join(lines) + "."
