"""The figures of a calibration as lines for the terminal and as the table of its data card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARDS = Path(__file__).parents[2] / "data_cards"
BEGIN, END = "<!-- counts -->", "<!-- /counts -->"


def lines(figures: Mapping[str, Any]) -> list[str]:
    """Everything that was measured, in print."""
    text = [_sample(figures)]
    for name, target in figures["targets"].items():
        text += ["", *_target(name, target)]
    text += ["", *_probabilities(figures["stable"])]
    text += ["", *_correlations(figures["correlation"])]
    return text


def _sample(figures: Mapping[str, Any]) -> str:
    parts = []
    for source, lost in figures["losses"].items():
        used = figures["crystals"].get(source, 0)
        parts.append(
            f"{source}: {lost['relaxed']} relaxed, {lost['failed']} failed, {lost['left']} no longer the stored "
            f"material, {used} used"
        )
    return "; ".join(parts) + f"; {figures['systems']} chemical systems"


def _target(name: str, target: Mapping[str, Any]) -> list[str]:
    mae, bias, width = target["mae"], target["bias"], target["width"]
    raw = {subset: share for subset, _, share in target["coverage_raw_spread"]}
    text = [
        f"{name}: " + ", ".join(f"{s} MAE {1e3 * mae[s]:.1f}, bias {1e3 * bias[s]:+.1f}" for s in mae) + " meV/atom",
        "  90 % intervals, chemical systems held out (10 folds): "
        + ", ".join(f"{s} median width {1e3 * width[s]:.0f} meV/atom" for s in width),
        *(f"    {subset:32s} n {n:5d}  covered {100 * share:5.1f} %" for subset, n, share in target["coverage"]),
        f"  weighted to the Materials Project's own mix: {100 * target['coverage_mp_weighted']:.1f} %",
        f"  WBM by intervals calibrated on the Materials Project alone: {100 * target['coverage_wbm_from_mp']:.1f} %",
        "  raw committee spread, ±1.645 σ: " + ", ".join(f"{s} {100 * raw[s]:.1f} %" for s in raw),
    ]
    if "coverage_stated" in target:
        share = 100 * target["coverage_stated"]
        text.append(f"  energies as the Materials Project states them, bounds cut at 0: {share:.1f} %")
    return text


def _probabilities(stable: Mapping[str, Any]) -> list[str]:
    text = []
    for source, found in stable.items():
        text.append(f"P(at most 50 meV/atom above the hull), {source}: n {found['n']}, {100 * found['rate']:.1f} % are")
        for name, score in found.items():
            if isinstance(score, dict):
                text.append(f"    {name:24s} Brier {score['brier']:.3f}  ECE {score['ece']:.3f}")
        curve = found["P(stable)"]["curve"]
        text.append("    said / happened (n): " + "  ".join(_point(point) for point in curve))
    return text


def _point(point: Mapping[str, Any]) -> str:
    return f"{point['p']:.2f}/{point['share']:.2f} ({point['n']})"


def _correlations(found: Mapping[str, Any]) -> list[str]:
    names, text = found["names"], []
    for source in ("mp", "wbm"):
        part = found[source]
        text.append(f"correlation of formation-energy errors, {source}, n {part['n']}; MAE in meV/atom")
        for name, row, mae in zip(names, part["matrix"], part["mae"], strict=True):
            text.append(f"    {name:38s} {1e3 * mae:6.1f}  " + " ".join(f"{value:6.3f}" for value in row))
    return text


def write_card(figures: Mapping[str, Any], name: str) -> None:
    """Put the figures of the calibration of a potential into its data card, where there is one."""
    from genmat.data.cards import read_card, render_card

    card = CARDS / f"calibration_{name}.md"
    if not card.is_file():
        return
    header, body = read_card(card)
    head, rest = body.split(BEGIN)
    block = "\n".join(["```", *lines(figures), "```"])
    body = f"{head}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"
    card.write_text(render_card(header, body, CARDS.parent), encoding="utf-8")
