"""What the page of a stress test draws, reduced to numbers: one dictionary per plot, JSON-able.

Keys of a plot: ``id``, ``title``, ``note``, ``traces`` (``name``, ``type``, ``mode``, ``x``, ``y``, ``text``, ``role``:
which colour of the style sheet), ``xaxis`` and ``yaxis`` (``label``, ``range``), ``diagonal``, ``description`` (for
those who cannot see it), ``head`` and ``lines`` (its numbers as a table).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from genmat.candidate import Candidate
from genmat.screening.stress import eos, gamma, polymorphs, substitution

BINS = (0, 5, 10, 20, 50, 100, 200, np.inf)  # meV/atom
MOST_LINES = 25  # rows of a table of numbers
Plot = dict[str, Any]


def plots(records: Mapping[str, Sequence[Candidate]]) -> list[Plot]:
    """All plots the records allow."""
    drawn: list[Plot | None] = []
    if "polymorphs" in records:
        rows = polymorphs.pairs_of(records["polymorphs"])
        drawn += [_parity(rows), _bins(rows)] if rows else []
    if "substituted" in records:
        drawn.append(_substituted(records["substituted"]))
    if "known" in records:
        drawn += [_curves(records["known"]), _gamma(records["known"])]
    if "elastic" in records:
        drawn.append(_moduli(records["elastic"]))
    return [plot for plot in drawn if plot is not None]


def _numbers(values: Any, digits: int = 1) -> list[float | None]:
    return [round(float(v), digits) if v is not None and np.isfinite(v) else None for v in values]


def _parity(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Each pair oriented so that DFT's difference is positive: below zero the potential has the other order."""
    truth = 1000 * np.array([abs(row["dft"]) for row in rows])
    found = 1000 * np.array([row["relaxed"] * (1 if row["dft"] >= 0 else -1) for row in rows])
    text = [f"{row['formula']}: {row['b']} − {row['a']}" for row in rows]
    right = found > 0
    top = float(np.percentile(truth, 97)) + 20
    worst = sorted(zip(found - truth, text, truth, found, strict=True), key=lambda line: -abs(line[0]))[:MOST_LINES]

    def trace(name: str, chosen: np.ndarray, role: str) -> dict[str, Any]:
        picked = [t for t, keep in zip(text, chosen, strict=True) if keep]
        points = {"x": _numbers(truth[chosen]), "y": _numbers(found[chosen]), "text": picked}
        return {"name": name, "type": "scatter", "mode": "markers", "role": role, **points}

    return {
        "id": "parity",
        "title": "Energy differences of polymorphs",
        "note": "relaxed; below zero the order is wrong; the line is DFT",
        "traces": [trace("ordered as DFT", right, "accent"), trace("the other order", ~right, "warm")],
        "xaxis": {"label": "DFT (meV/atom)", "range": [0, top]},
        "yaxis": {"label": "potential (meV/atom)", "range": [-top / 2, 1.2 * top]},
        "diagonal": [0, 1.2 * top],
        "description": f"{len(rows)} pairs of polymorphs: energy difference by the potential against DFT; "
        f"{int(right.sum())} have the sign of DFT.",
        "head": ["pair", "DFT meV/atom", "potential meV/atom"],
        "lines": [[name, f"{x:.0f}", f"{y:.0f}"] for _, name, x, y in worst],
    }


def _bins(rows: Sequence[Mapping[str, Any]]) -> Plot:
    truth = 1000 * np.array([row["dft"] for row in rows])
    bins = np.digitize(np.abs(truth), BINS[1:-1])
    names = [f"{a:g}–{b:g}" if np.isfinite(b) else f"> {a:g}" for a, b in pairwise(BINS)]
    kept = [i for i in range(len(names)) if (bins == i).any()]

    def share(key: str) -> list[float]:
        signs = np.sign([row[key] for row in rows]) * np.sign(truth)
        return [float(100 * ((signs[bins == i] + 1) / 2).mean()) for i in kept]

    series = {"relaxed": ("relaxed", "accent"), "input": ("as stored", "second"), "volume": ("denser is lower", "warm")}
    counts = [int((bins == i).sum()) for i in kept]
    shares = {key: share(key) for key in series}
    return {
        "id": "bins",
        "title": "Pairs ordered as DFT, by how far apart they are",
        "note": "a coin gets 50 %",
        "traces": [
            {"name": name, "type": "bar", "role": role, "x": [names[i] for i in kept], "y": _numbers(shares[key])}
            for key, (name, role) in series.items()
        ],
        "xaxis": {"label": "DFT difference (meV/atom)", "type": "category"},
        "yaxis": {"label": "ordered as DFT (%)", "range": [0, 100]},
        "description": "Share of pairs in the order of DFT, by the size of DFT's difference.",
        "head": ["meV/atom", "pairs", *(name for name, _ in series.values())],
        "lines": [
            [names[i], str(counts[k]), *(f"{shares[key][k]:.0f} %" for key in series)] for k, i in enumerate(kept)
        ],
    }


def _substituted(candidates: Sequence[Candidate]) -> Plot | None:
    rows = substitution.depths(candidates)
    if not rows:
        return None

    def trace(name: str, odd: bool, role: str) -> dict[str, Any]:
        chosen = [row for row in rows if (row["hole"] is not None or row["depth"] < -substitution.SUSPICIOUS) is odd]
        points = {"x": _numbers([100 * row["volume_change"] for row in chosen])}
        points |= {"y": _numbers([1000 * row["depth"] for row in chosen]), "text": [row["id"] for row in chosen]}
        return {"name": name, "type": "scatter", "mode": "markers", "role": role, **points}

    lowest = sorted(rows, key=lambda row: row["depth"])[:MOST_LINES]
    return {
        "id": "substituted",
        "title": "Substituted polymorphs after relaxation",
        "note": "zero is the composition's known ground state, relaxed with the same potential",
        "traces": [trace("plausible", False, "accent"), trace("hole, or > 50 meV/atom too deep", True, "warm")],
        "xaxis": {"label": "change of volume (%)"},
        "yaxis": {"label": "energy above the ground state (meV/atom)"},
        "description": f"{len(rows)} substituted polymorphs: energy above the known ground state against the change of "
        "volume in the relaxation.",
        "head": ["crystal", "meV/atom", "volume %", "space group", "odd"],
        "lines": [
            [
                row["id"],
                f"{1000 * row['depth']:.0f}",
                f"{100 * row['volume_change']:.0f}",
                f"{row['spacegroup_before']} → {row['spacegroup']}",
                row["hole"] or "",
            ]
            for row in lowest
        ],
    }


def _curves(candidates: Sequence[Candidate]) -> Plot | None:
    done = [c for c in candidates if c.alive and "eos_energies" in c.results]
    if not done:
        return None

    def trace(name: str, faulty: bool, role: str) -> dict[str, Any]:
        x: list[float | None] = []
        y: list[float | None] = []
        for candidate in done:
            if (candidate.results["eos_reason"] is not None) is faulty:
                x += [*eos.RATIOS, None]  # a gap between the curves
                y += [*candidate.results["eos_energies"], None]
        return {
            "name": name,
            "type": "scatter",
            "mode": "lines",
            "role": role,
            "x": _numbers(x, 3),
            "y": _numbers(y, 3),
        }

    faults = [c for c in done if c.results["eos_reason"] is not None]
    return {
        "id": "eos",
        "title": "Equations of state",
        "note": "energy above the least; one curve per crystal",
        "traces": [trace("sane", False, "accent"), trace("with a fault", True, "warm")],
        "xaxis": {"label": "volume / relaxed volume"},
        "yaxis": {"label": "energy (eV/atom)", "range": [-0.05, 3]},
        "description": f"Energy against volume of {len(done)} crystals; {len(faults)} curves have a fault.",
        "head": ["crystal", "fault", "bulk modulus GPa"],
        "lines": [
            [f"{c.formula} ({c.id})", c.results["eos_reason"], _cell(c.results["eos_bulk"])]
            for c in faults[:MOST_LINES]
        ],
    }


def _gamma(candidates: Sequence[Candidate]) -> Plot | None:
    done = [c for c in candidates if c.alive and c.results.get("gamma_lowest") is not None]
    if not done:
        return None
    values = np.array([c.results["gamma_lowest"] for c in done])
    edges = np.arange(np.floor(max(values.min(), -6)), 7.5, 0.5)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1] - 1e-6), edges)
    centre = edges[:-1] + 0.25
    parts = ((centre > gamma.IMAGINARY, "real", "accent"), (centre < gamma.IMAGINARY, "imaginary", "warm"))
    worst = sorted(done, key=lambda c: c.results["gamma_lowest"])[:MOST_LINES]
    return {
        "id": "gamma",
        "title": "Lowest vibration at Γ",
        "note": "crystals on the DFT hull that are in the ICSD; negative means imaginary",
        "traces": [
            {
                "name": name,
                "type": "bar",
                "role": role,
                "x": _numbers(centre[chosen], 2),
                "y": _numbers(counts[chosen], 0),
            }
            for chosen, name, role in parts
        ],
        "xaxis": {"label": "frequency (THz)"},
        "yaxis": {"label": "crystals"},
        "description": f"Histogram of the lowest frequency at Γ of {len(done)} existing crystals; "
        f"{int((values < gamma.IMAGINARY).sum())} are imaginary.",
        "head": ["crystal", "THz"],
        "lines": [[f"{c.formula} ({c.id})", f"{c.results['gamma_lowest']:.2f}"] for c in worst],
    }


def _moduli(candidates: Sequence[Candidate]) -> Plot | None:
    done = [c for c in candidates if c.alive and "elastic_bulk" in c.results]
    if not done:
        return None
    top = 1.05 * max(max(c.provenance["bulk"], c.results["elastic_bulk"]) for c in done)
    kinds = (("bulk", "bulk modulus K", "accent"), ("shear", "shear modulus G", "warm"))
    worst = sorted(done, key=lambda c: -abs(c.results["elastic_shear"] - c.provenance["shear"]))[:MOST_LINES]
    return {
        "id": "moduli",
        "title": "Elastic moduli",
        "note": "Voigt-Reuss-Hill averages, ions relaxed; the line is DFT",
        "traces": [
            {
                "name": name,
                "type": "scatter",
                "mode": "markers",
                "role": role,
                "x": _numbers([c.provenance[key] for c in done]),
                "y": _numbers([c.results[f"elastic_{key}"] for c in done]),
                "text": [c.formula for c in done],
            }
            for key, name, role in kinds
        ],
        "xaxis": {"label": "DFT (GPa)", "range": [0, top]},
        "yaxis": {"label": "potential (GPa)", "range": [0, top]},
        "diagonal": [0, top],
        "description": f"Bulk and shear moduli of {len(done)} binaries against DFT.",
        "head": ["crystal", "K DFT", "K", "G DFT", "G"],
        "lines": [
            [c.formula, *(_cell(v) for key, _, _ in kinds for v in (c.provenance[key], c.results[f"elastic_{key}"]))]
            for c in worst
        ],
    }


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
