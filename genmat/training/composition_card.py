"""Cards of the composition models, rendered from the figures of training and benchmark; nothing is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any

from genmat.errors import GenmatError
from genmat.training.check import UNKNOWN, header, write_checked

WHAT = {
    "composition": "Reads a composition and tells space group, crystal system, anonymous prototype, formation\n"
    "energy, band gap, metallicity and volume of its most stable crystal.",
    "disorder": "Reads a composition and tells how likely its crystals are disordered, and in which way:\n"
    "substitutional (S), vacancies (V), both (M), or ordered (O).",
}
TAGS = {
    "composition": ("inorganic", "composition", "crystal-symmetry", "formation-energy"),
    "disorder": ("inorganic", "composition", "disorder"),
}
INTENDED = {
    "composition": """A first guess where only a formula is known: to sort candidates, to choose space groups to search,
to see whether a prediction is surprising. Not for: polymorphs, properties of a particular crystal, or anything a
calculation or an experiment should decide.""",
    "disorder": """Telling, of formulas about to be computed as ordered crystals, which ones nature would probably
scramble. Not for: saying that a compound exists, at which temperature it orders, or that a sample is ordered.""",
}
CHECKED = {
    "composition": "Likeliest space group, its probability, and formation energy of four textbook compounds",
    "disorder": "Probability of disorder of four compounds at the training data's prior",
}
SAID = {
    "composition": "space group {told.predictions['spacegroup'].argmax().item() + 1}, "
    "{told.predictions['spacegroup'].max().exp().item():.3f}; "
    "{told.predictions['formation_energy'].item():.3f} eV/atom",
    "disorder": "{told.probability.item():.3f}",
}
USE = {
    "composition": "genmat predict symmetry BaTiO3 --top 5\ngenmat predict properties BaTiO3",
    "disorder": "genmat predict disorder TaCr2O6 BaTiO3 --prior 0.2",
}
DATA = {
    "composition": """Data: 95,118 formulas of 132,752 Materials Project entries (CC BY 4.0; Jain et al., APL Materials
1, 011002, 2013), as in Matbench v0.1 (MIT; Dunn et al., npj Comput. Mater. 6, 138, 2020); 6,216 more to train on, and
the prototypes, from its structures of 2025. Split by a hash of the reduced formula, so that all entries of a formula
are on one side. Several space groups or prototypes of one formula are several right answers.""",
    "disorder": """Data: lists of inorganic formulas "ever reported with partial occupancy", derived from the ICSD by
two published studies (repositories epatyukova/General-disorder-prediction and lrcfmd/Disorder-type-prediction), which
carry no licence file. The lists are not part of this folder, the weights are. Labels say what was reported, not what
is: an ordered label may be a crystal nobody looked at closely. The encoder starts from one pretrained on the Materials
Project, which lists many of the ordered formulas, those of the test split included.""",
}
ENCODER_WORDS = {
    "transformer": "set transformer",
    "gru": "gated recurrent network",
    "both": "set transformer and gated recurrent network, answers averaged",
}
LIMITS = {
    "composition": """- One answer per composition: polymorphs share it.
- Labels are DFT's (PBE) and the database's, space groups at its tolerance.
- A prototype seen in fewer than eight training formulas is no answer of its own; what is missing to a probability of
  one is that of such a rare one.
- Elements up to lawrencium; rare ones hardly seen.""",
    "disorder": """- It reads a composition, not a structure: to it all sites of an element are alike. Which
  element's sites mix is counted over the fractional training formulas (`mixing.json`), not learnt by the network.
- The share called disordered depends on the prior. Without `--prior` it is the training data's, stated above.
- Temperature and preparation, which decide about disorder, are not known to it.""",
}
LICENCE = {
    "composition": "Weights and code: Apache-2.0. Training data: CC BY 4.0 (Materials Project), MIT (Matbench).",
    "disorder": "Code: Apache-2.0. Weights: Apache-2.0 as far as they are genmat's; the lists they were trained on\n"
    "are for research use.",
}


def write_scores(folder: Path, result: dict[str, Any]) -> None:
    """Add the benchmark's figures to a snapshot and render its card anew."""
    (folder / "scores.json").write_text(json.dumps(result, indent=1))
    write_composition_card(folder)


def write_composition_card(folder: Path) -> Path:
    """Write `README.md` of a snapshot from its `figures.json` and, if there, `scores.json`.

    Raises:
        GenmatError: figures missing.
    """
    try:
        figures = json.loads((folder / "figures.json").read_text())
    except FileNotFoundError as error:
        raise GenmatError(f"{error.filename}: missing; train the model with genmat train") from None
    scores = folder / "scores.json"
    measured = json.loads(scores.read_text()) if scores.is_file() else None
    return write_checked(folder, figures, lambda known: render(known, measured))


def render(figures: dict[str, Any], scores: dict[str, Any] | None) -> str:
    """The card's text."""
    config, kind = figures["config"], "composition" if figures["config"]["table"] == "composition" else "disorder"
    encoder = config["model"]["type"].removeprefix("composition_")
    template = Template((Path(__file__).parent / "composition_card.md").read_text())
    rows = ", ".join(f"{split} {count:,}" for split, count in figures["rows"].items())
    table = symmetry_table if kind == "composition" else disorder_table
    return template.substitute(
        name=figures["name"],
        header=header(TAGS[kind], "tabular-classification", figures["name"], results(scores, kind)),
        intended=INTENDED[kind],
        checked=CHECKED[kind],
        said=SAID[kind],
        check=figures.get("check", f"{UNKNOWN}\n"),
        what=WHAT[kind],
        parameters=f"{figures['parameters']:,}",
        encoder=ENCODER_WORDS[encoder],
        use=USE[kind],
        output='.predictions["spacegroup"].argmax() + 1' if kind == "composition" else ".probability",
        data=DATA[kind],
        rows=f"Formulas: {rows}",
        steps=f"{figures['steps']:,}",
        batch=config["optimiser"]["batch_size"],
        epochs=f"{config['optimiser']['epochs']:g}",
        cpu_minutes=f"{60 * figures['cpu_hours']:.1f}",
        seed=config["seed"],
        start=started(config["start"]),
        average=config["average"],
        experiment=experiment(config),
        figures=table(scores) if scores else "Run `benchmarks/composition.py` with `--write` to measure them.",
        limits=LIMITS[kind],
        licence=LICENCE[kind],
    )


def started(start: str | list[str] | None) -> str:
    """What the members started from, behind the seed."""
    if not start:
        return ""
    names = [start] if isinstance(start, str) else start
    return ", members started from " + " and ".join(f"`{name}`" for name in names)


def results(scores: dict[str, Any] | None, kind: str) -> list[dict[str, Any]]:
    """Figures of the test split for the model index."""
    if not scores:
        return []
    if kind == "composition":
        symmetry = scores["model"]["symmetry"]
        found = {name: symmetry[key] for name, key in (("top_1", "top1"), ("top_5", "top5"), ("top_10", "top10"))}
        return [{"dataset": "Matbench v0.1 formulas, space groups", "split": "test", "metrics": found}]
    found = {name: scores["model"]["all"][name] for name in ("balanced_accuracy", "auroc", "mcc")}
    return [{"dataset": "formulas ever reported with partial occupancy", "split": "test", "metrics": found}]


def experiment(config: dict[str, Any]) -> str:
    """File name of the experiment."""
    kind = config["table"].replace("-", "_")
    return f"{kind}.yaml"


def symmetry_table(scores: dict[str, Any]) -> str:
    """Figures of a composition model as Markdown."""
    model = scores["model"]
    lines = [
        f"Test formulas, {scores['split']} (`{scores['command']}`); a hit is any right answer among the first k.",
        "",
    ]
    who = {"this model": model, **scores["alone"], "random forest": scores.get("forest"), "rule": scores["rule"]}
    found = {name: part for name, part in who.items() if part}
    lines += ["| space group | top 1 | top 5 | top 10 | crystal system | formulas |", "|---|---|---|---|---|---|"]
    for name, part in found.items():
        if "symmetry" in part:
            s = part["symmetry"]
            cells = " | ".join(f"{s[k]:.3f}" for k in ("top1", "top5", "top10", "system"))
            lines.append(f"| {name} | {cells} | {s['n']:,} |")
    lines += ["", "| anonymous prototype | top 1 | top 5 | top 10 | formulas |", "|---|---|---|---|---|"]
    for name, part in found.items():
        if "prototype" in part:
            s = part["prototype"]
            lines.append(f"| {name} | {s['top1']:.3f} | {s['top5']:.3f} | {s['top10']:.3f} | {s['n']:,} |")
    common = f"{100 * model['prototype']['common']:.1f} % of the test formulas have one common enough to be found."
    lines.append(f"\nThe rule names the commonest prototypes of the anonymous formula. {common}")
    lines += ["", "| | mean absolute error | of the training median | formulas |", "|---|---|---|---|"]
    units = {"formation_energy": "eV/atom", "band_gap": "eV", "volume": "Å³/atom"}
    for name, unit in units.items():
        s = model[name]
        lines.append(f"| {name.replace('_', ' ')}, {unit} | {s['mae']:.3f} | {s['mae_of_median']:.3f} | {s['n']:,} |")
    metal, units_right = model["is_metal"], model["formula_units"]["accuracy"]
    lines.append(f"\nMetal or not: AUROC {metal['auroc']:.3f}, expected calibration error {metal['ece']:.3f}")
    lines.append(f"({metal['n']:,} formulas). Formula units in the cell: accuracy {units_right:.3f}.")
    return "\n".join(lines)


def disorder_table(scores: dict[str, Any]) -> str:
    """Figures of a disorder model as Markdown, the rule and the random forest beside them, and its reliability."""
    names = {"this model": "model", "random forest": "forest", "rule: fractional is disordered": "rule"}
    lines = [f"Test split `{scores['split']}` (`{scores['command']}`), decisions at 0.5.", ""]
    lines += ["| formulas | | balanced accuracy | AUROC | average precision | MCC | calibration error | n |"]
    lines += ["|---" * 8 + "|"]
    for part, text in (("all", "all"), ("whole", "whole amounts only"), ("unseen", "whole, not in pretraining")):
        for who, key in names.items():
            if part in scores.get(key, {}):
                s = scores[key][part]
                cells = " | ".join(
                    f"{s[k]:.3f}" for k in ("balanced_accuracy", "auroc", "average_precision", "mcc", "ece")
                )
                lines.append(f"| {text} | {who} | {cells} | {s['n']:,} |")
    lines += ["", "| types O, S, V, M | balanced accuracy | recalls | n |", "|---|---|---|---|"]
    for part, text in (("types", "likeliest type"), ("types_even", "type that gained most over its prior")):
        for who, key in names.items():
            s = scores.get(key, {}).get(part)
            if s:
                recalls = ", ".join(f"{r:.2f}" for r in s["recalls"])
                lines.append(f"| {who}, {text} | {s['balanced_accuracy']:.3f} | {recalls} | {s['n']:,} |")
    lines += ["", "Reliability, formulas of whole amounts:", "", "| said | happened | formulas |", "|---|---|---|"]
    lines += [f"| {p:.2f} | {t:.2f} | {n:,} |" for p, t, n in scores["model"]["whole"]["reliability"]]
    whole, fractional = scores["priors"]["trained"]
    shares = "; ".join(f"prior {k}: {100 * v:.1f} %" for k, v in scores["priors"].items() if k != "trained")
    lines.append(
        f"\nPrior of the training data: {whole:.3f} of formulas of whole amounts, {fractional:.3f} of fractional"
    )
    lines.append(f"ones. Share of the whole test formulas called disordered, by prior: {shares}.")
    return "\n".join(lines)
