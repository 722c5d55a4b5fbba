"""The model card, rendered from the figures of the run that made the checkpoint; nothing in it is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any

from genmat.errors import GenmatError
from genmat.training.check import UNKNOWN, header, write_checked
from genmat.training.metrics import SEGMENTS

KINDS = {"crystal_gpt": "decoder-only transformer", "crystal_rnn": "gated recurrent network"}
GAPS = """After it `<gap:0.05>`, `<gap:1>`, `<gap:3>` and `<gap:inf>` likewise for a band gap
(eV, PBE). The model also works without either."""
NO_GAPS = "The model also works without. It knows no words for band gaps."
TAUGHT = """
Then it was taught what relaxation by CHGNet said of its own samples (direct preference optimisation, Rafailov et al.,
arXiv:2305.18290; commands in `experiments/{experiment}`): {preferred:,} crystals that are new, at most {below:g}
eV/atom above the hull and not P1 are preferred to {set_against:,} new ones that are not, and to training crystals;
{hours:.2f} CPU-hours more. On judged formulas kept apart ({n_preferred} and {n_others}), likelihood of composition
and prototype tells one from the other with an area under the ROC curve of {before:.3f} before and {after:.3f} after.
What it prefers is CHGNet's opinion, errors included. The losses below are those after it: it no longer tries to repeat
what is known.
"""
NO_SAMPLES = "Samples: run `python benchmarks/generate.py --model {name} --write` to measure them."


def write_card(folder: Path) -> Path:
    """Write `README.md` of a snapshot from its `figures.json`, `training_stats.json` and, if there, `samples.json`.

    Raises:
        GenmatError: figures missing.
    """
    try:
        figures = json.loads((folder / "figures.json").read_text())
        stats = json.loads((folder / "training_stats.json").read_text())
    except FileNotFoundError as error:
        raise GenmatError(f"{error.filename}: missing; train the model with genmat train") from None
    samples = folder / "samples.json"
    measured = json.loads(samples.read_text()) if samples.is_file() else None
    return write_checked(folder, figures, lambda known: render(known, stats, measured))


def render(figures: dict[str, Any], stats: dict[str, Any], samples: dict[str, Any] | None) -> str:
    """The card's text."""
    config, metrics = figures["config"], figures["metrics"]
    name = figures["name"]
    template = Template((Path(__file__).parent / "model_card.md").read_text())

    def nats(split: str, model: str) -> str:
        return f"{metrics[split][model]['all']['nats_per_crystal']:.2f}" if split in metrics else "not measured"

    return template.substitute(
        header=header(("crystals", "inorganic", "generative"), "text-generation", name, results(metrics)),
        check=figures.get("check", f"{UNKNOWN}\n"),
        name=name,
        kind=KINDS[config["model"]["type"]],
        parameters=f"{figures['parameters']:,}",
        crystals=f"{stats['crystals']:,}",
        max_atoms=config["data"]["max_atoms"],
        gaps=GAPS if config["data"].get("gaps") else NO_GAPS,
        max_hull=config["data"]["max_e_above_hull"],
        steps=f"{figures['steps']:,}",
        batch=config["optimiser"]["batch_size"],
        epochs=f"{config['optimiser']['epochs']:g}",
        cpu_hours=f"{figures['cpu_hours']:.2f}",
        seed=config["seed"],
        experiment=f"{config['model']['type']}.yaml",
        taught=taught(figures.get("preference"), name),
        losses=loss_table(metrics),
        val_nats=nats("val", "model"),
        test_nats=nats("test", "model"),
        val_bigram_nats=nats("val", "bigram"),
        test_bigram_nats=nats("test", "bigram"),
        samples=sample_text(samples, stats) if samples else NO_SAMPLES.format(name=name),
    )


def taught(preference: dict[str, Any] | None, name: str) -> str:
    """What a training on preferences added, or nothing."""
    if preference is None:
        return ""
    before, after = preference["held_out"]["before"], preference["held_out"]["after"]
    return TAUGHT.format(
        experiment=f"{name.replace('-', '_')}.yaml",
        below=preference["config"]["below"],
        hours=preference["cpu_hours"],
        before=before["auc"],
        after=after["auc"],
        n_preferred=after["n_preferred"],
        n_others=after["n_others"],
        preferred=preference["preferred"],
        set_against=preference["set_against"],
    )


def results(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Loss, perplexity and nats per crystal of the test split, for the model index."""
    if "test" not in metrics:
        return []
    found = {name: metrics["test"]["model"]["all"][name] for name in ("loss", "perplexity", "nats_per_crystal")}
    return [{"dataset": "Materials Project crystals, held-out formulas", "split": "test", "metrics": found}]


def loss_table(metrics: dict[str, Any]) -> str:
    """Loss and perplexity of every segment as a Markdown table."""
    lines = ["| segment | " + " | ".join(f"{s} loss (perplexity) | {s} bigram | {s} unigram" for s in metrics) + " |"]
    lines.append("|---" * (1 + 3 * len(metrics)) + "|")
    for segment in (*SEGMENTS, "all"):
        cells = []
        for split in metrics:
            m = metrics[split]["model"][segment]
            cells.append(f"{m['loss']:.3f} ({m['perplexity']:.2f})")
            cells += [f"{metrics[split][b][segment]['loss']:.3f}" for b in ("bigram", "unigram")]
        lines.append(f"| {segment} | " + " | ".join(cells) + " |")
    counts = " / ".join(f"{split} {metrics[split]['model']['crystals']:,}" for split in metrics)
    return "\n".join(lines) + f"\n\nCrystals: {counts}."


def sample_text(s: dict[str, Any], stats: dict[str, Any]) -> str:
    """What samples look like, and their space groups beside those of the training set."""
    total = stats["crystals"]
    rows = [
        f"| {g} | {100 * share:.1f} | {100 * stats['spacegroups'].get(g, 0) / total:.1f} |" for g, share in s["top"]
    ]
    how = f"condition {s['condition']}, temperature {s['temperature']:g}, seed {s['seed']}"
    speed = f"{s['per_cpu_second']:.0f} candidates per CPU-second ({s['threads']} threads), structures included"
    measured = [
        ("parse and realise", f"{100 * s['realised']:.2f}"),
        (f"physically possible (distances, density; of {s['checked']:,})", f"{100 * s['possible']:.1f}"),
        (f"charge-balanced or metallic (SMACT; of {s['checked']:,})", f"{100 * s['charge_balanced']:.1f}"),
        ("unique protostructures", f"{100 * s['unique']:.1f}"),
        ("protostructure not among the known phases", f"{100 * s['novel']:.1f}"),
        ("space group P1", f"{100 * s['p1']:.2f}"),
    ]
    lines = [f"Samples (`{s['command']}`): {s['n']:,}, {how}.", "", "| | % |", "|---|---|"]
    lines += [f"| {what} | {value} |" for what, value in measured]
    lines += ["", f"{speed}; the grammar takes {100 * s['grammar_share']:.1f} % of decoding.", ""]
    lines += ["| space group | samples % | training % |", "|---|---|---|", *rows, ""]
    lines.append(
        f"Total variation distance of the two distributions: {s['group_distance']:.3f}; {s['groups']} groups occur."
    )
    return "\n".join(lines)
