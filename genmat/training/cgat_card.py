"""Card of a crystal-graph attention network, rendered from the figures of training and benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any

from genmat.crystal.shells import RANKS, site_symmetries
from genmat.errors import GenmatError
from genmat.modeling.cgat.configuration_cgat import CGATConfig
from genmat.training.check import UNKNOWN, header, write_checked

COMMANDS = {
    "test": "python benchmarks/cgat.py test --write",
    "wbm": "python benchmarks/cgat.py wbm --write",
    "hits": "python benchmarks/cgat.py hits --elements {elements} --write",
}


def write_scores(folder: Path, what: str, result: dict[str, Any]) -> None:
    """Add the figures of one benchmark to a snapshot and render its card anew."""
    path = folder / "scores.json"
    scores = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**scores, what: result}, indent=1))
    write_cgat_card(folder)


def write_cgat_card(folder: Path) -> Path:
    """Write `README.md` of a snapshot from its `figures.json` and, if there, `scores.json`.

    Raises:
        GenmatError: figures missing.
    """
    try:
        figures = json.loads((folder / "figures.json").read_text())
    except FileNotFoundError as error:
        raise GenmatError(f"{error.filename}: missing; train the model with genmat train") from None
    scores = folder / "scores.json"
    measured = json.loads(scores.read_text()) if scores.is_file() else {}
    return write_checked(folder, figures, lambda known: render(known, measured))


def render(figures: dict[str, Any], scores: dict[str, Any]) -> str:
    """The card's text."""
    config = figures["config"]
    members = config["model"]["sizes"].get("num_members", 1)
    template = Template((Path(__file__).parent / "cgat_card.md").read_text())
    told = history(figures)
    parts = [training_table(figures), test_table(scores.get("test")), wbm_table(scores.get("wbm"))]
    return template.substitute(
        header=header(("inorganic", "crystal-structures", "formation-energy"), "graph-ml", figures["name"]),
        check=figures.get("check", f"{UNKNOWN}\n"),
        name=figures["name"],
        parameters=f"{figures['parameters']:,}",
        members="one network" if members == 1 else f"an ensemble of {members} networks",
        mthreem=site_symmetries()["m-3m"],
        ranks=RANKS,
        rows=", ".join(f"{split} {count:,}" for split, count in figures["rows"].items()),
        data=data(told),
        runs="\n".join(run(part) for part in told if part["config"]["optimiser"]),
        commands="\n".join(command(part) for part in told),
        beta=config["model"]["sizes"].get("beta", CGATConfig.beta),
        figures="\n\n".join(part for part in [*parts, hits_table(scores.get("hits"))] if part),
    )


def history(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that led to a snapshot, in their order, itself last; each once."""
    told: dict[str, dict[str, Any]] = {}
    for earlier in figures.get("earlier", []):
        told |= {part["name"]: part for part in history(earlier)}
    return [*told.values(), figures]


def data(told: list[dict[str, Any]]) -> str:
    """What was learned from beside the crystals of the split."""
    larger = max(part["config"].get("larger", 0) for part in told)
    relaxed = {path for part in told for path in part["config"]["also"]}
    lines = []
    if larger:
        lines.append(
            f"Crystals of 21 to 52 atoms on at most {larger} orbits are learned from too, most of them without shells; "
            "none of their formulas is in val or test."
        )
    if relaxed:
        lines.append(
            "So are decorations of prototypes that a scan by an earlier network liked or doubted, relaxed by CHGNet; "
            f"rounds: {len(relaxed)}. Those of formulas in val or test were left out."
        )
    return "\n".join(lines) or "No relaxed decorations are learned from."


def run(figures: dict[str, Any]) -> str:
    """One line on a run of training."""
    config, optimiser = figures["config"], figures["config"]["optimiser"]
    beside = [f"started from {', '.join(f'`{name}`' for name in config['start'])}"] if config["start"] else []
    beside += ["with relaxed decorations"] if config["also"] else []
    return (
        f"- `{figures['name']}`: {figures['steps']:,} steps of {optimiser['batch_size']} crystals "
        f"({optimiser['epochs']:g} epochs of "
        f"{figures['rows']['train']:,}), {60 * figures['cpu_hours']:.0f} CPU-minutes on one core, seed "
        f"{', '.join([str(config['seed']), *beside])}; weights are a running average (decay {config['average']})"
    )


def command(figures: dict[str, Any]) -> str:
    """What repeats a run."""
    return f"genmat train experiments/{figures['config']['name'].replace('-', '_')}.yaml"


def training_table(figures: dict[str, Any]) -> str:
    """What training measured."""
    what = "formation energy, eV/atom" if figures["config"].get("table", "mp") == "mp" else figures["config"]["table"]
    lines = [f"| {what} | MAE | median | RMSE | 90 % intervals cover | crystals |", "|---" * 6 + "|"]
    for split in ("val", "test"):
        s = figures["metrics"][split]
        errors = " | ".join(f"{s[key]:.4f}" for key in ("mae", "median", "rmse"))
        lines.append(f"| {split} | {errors} | {100 * s['coverage']:.1f} % | {s['n']:,} |")
    s = figures["metrics"]["test"]
    bare = s["without_shells"]
    if "above_hull_mae" in s:  # a table may know energies alone
        lines.append(
            f"\nTest: energy above the hull read off directly, MAE {s['above_hull_mae']:.4f} eV/atom; volume, mean"
        )
        lines.append(f"relative error {100 * s['volume_mape']:.1f} %.")
    if bare["mae"] is not None:
        lines.append(f"{bare['n']:,} crystals on prototypes without shells: MAE {bare['mae']:.4f} eV/atom.")
    return "\n".join(lines)


def test_table(scores: dict[str, Any] | None) -> str:
    """The test split beside random forests, and by number of elements."""
    if not scores:
        return ""
    names = {
        "model": "this model",
        "composition": "random forest, composition",
        "composition_spacegroup": "random forest, composition, space group and atoms in the cell",
    }
    lines = [f"`{COMMANDS['test']}`", "", "| test split | MAE, meV/atom, 95 % interval |", "|---|---|"]
    for key, name in names.items():
        if key in scores:
            value, low, high = (1000 * v for v in scores[key]["mae_interval"])
            lines.append(f"| {name} | {value:.1f} [{low:.1f}, {high:.1f}] |")
    lines += ["", "| elements | MAE, meV/atom | coverage, % | crystals |", "|---|---|---|---|"]
    for k, s in scores["model"]["by_elements"].items():
        lines.append(f"| {k} | {1000 * s['mae']:.1f} | {100 * s['coverage']:.1f} | {s['n']:,} |")
    return "\n".join(lines)


test_table.__test__ = False  # type: ignore[attr-defined]  # not a test


def wbm_table(scores: dict[str, Any] | None) -> str:
    """Classification of WBM crystals."""
    if not scores:
        return ""
    lines = [
        f"{scores['n']} WBM crystals, {scores['with_shells']} of them on prototypes with shells (`{COMMANDS['wbm']}`);",
        f"{100 * scores['coverage']:.1f} % of energies are inside the 90 % intervals. CHGNet reads relaxed structures.",
        "",
        "| stable at | | F1 | DAF | precision | recall | MAE, meV/atom |",
        "|---" * 7 + "|",
    ]
    rows = {name: s for name, s in scores.items() if isinstance(s, dict)}
    for threshold in ("0.0", "0.05"):
        for name, s in rows.items():
            cells = " | ".join(
                f"{v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]"
                for v in (s[threshold][k] for k in ("F1", "DAF", "precision", "recall"))
            )
            mae, low, high = (1000 * v for v in s["mae"])
            lines.append(f"| {float(threshold):g} eV/atom | {name} | {cells} | {mae:.0f} [{low:.0f}, {high:.0f}] |")
    return "\n".join(lines)


def hits_table(scores: dict[str, Any] | None) -> str:
    """What became of the best of a scan when they were relaxed."""
    if not scores:
        return ""
    command = COMMANDS["hits"].format(elements=scores["elements"])
    lines = [
        f"Of {scores['decorations']:,} decorations of {scores['elements']}, relaxed by CHGNet, its hull (`{command}`):",
        "",
        "| | known phases | relaxed | on the hull, % | within 50 meV/atom, % | within 100, % |",
        "|---" * 6 + "|",
    ]
    for name in ("best", "random"):
        s = scores[name]
        cells = " | ".join(
            f"{100 * v[0]:.1f} [{100 * v[1]:.1f}, {100 * v[2]:.1f}]" for v in (s["0.0"], s["0.05"], s["0.1"])
        )
        lines.append(f"| {name} | {s['known']} | {s['relaxed']} | {cells} |")
    return "\n".join(lines)
