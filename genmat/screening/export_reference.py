"""From the job's working table to the shipped files: the reference table and the element references."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd

from genmat.crystal.composition import parse_formula, reduced_formula
from genmat.errors import GenmatError
from genmat.screening.hull import fractions
from genmat.screening.reference import CHGNET, DATA, SHIPPED

CARDS = Path(__file__).parents[2] / "data_cards"
BEGIN, END = "<!-- counts -->", "<!-- /counts -->"
USABLE = "energy IS NOT NULL AND COALESCE(note, '') != 'not converged'"
ABSURD = 1.0  # eV/atom between the potential's and DFT's formation energy: a broken entry, not an error of the fit
JUDGED = 2000  # phases whose energy above the shipped hull is compared with DFT's


def best_of_tiers(db: sqlite3.Connection) -> pd.DataFrame:
    """One row per phase, the relaxed energy where there is one: id, formula, n_atoms, energy, volume, tier."""
    table = pd.read_sql(f"SELECT id, tier, formula, n_atoms, energy, volume FROM phase WHERE {USABLE}", db)
    return table.sort_values(["id", "tier"]).drop_duplicates("id").reset_index(drop=True)  # relaxed < volume


def tier_bias(db: sqlite3.Connection) -> dict[str, float]:
    """Energies of the volume tier minus the relaxed tier, same compounds, meV/atom: count, mean, median, quantiles."""
    both = pd.read_sql(
        "SELECT v.formula AS formula, v.energy - r.energy AS gap FROM phase v JOIN phase r ON v.id = r.id "
        "WHERE v.tier = 'volume' AND r.tier = 'relaxed' AND v.energy IS NOT NULL AND r.energy IS NOT NULL",
        db,
    )
    both = both.gap[[len(fractions(f)) > 1 for f in both.formula]]
    if both.empty:
        return {"n": 0}
    quantiles = {f"p{q}": 1000 * float(both.quantile(q / 100)) for q in (10, 50, 90, 99)}
    return {"n": len(both), "mean": 1000 * float(both.mean()), **quantiles}


def fit_elements(
    formulas: list[str], energies: np.ndarray, formation: np.ndarray, split: np.ndarray, source: str = CHGNET
) -> dict:
    """Element references that bring a potential's energies to the scale of DFT formation energies.

    Minimises sum |E - x . mu - E_form| over the training rows by iteratively reweighted least squares.

    Args:
        formulas: of the phases.
        energies: (n,) the potential's, corrections included, eV/atom.
        formation: (n,) DFT, eV/atom.
        split: (n,) "train" rows make the fit, "test" rows measure it.
        source: of the energies.

    Returns:
        ``mu`` per element, ``mae_train``, ``mae_test``, ``median_test`` (eV/atom), ``n_train``, ``n_test``, ``source``.
    """
    shares = [fractions(f) for f in formulas]
    symbols = sorted({s for x in shares for s in x})
    column = {s: i for i, s in enumerate(symbols)}
    x = np.zeros((len(shares), len(symbols)))
    for row, share in enumerate(shares):
        for symbol, value in share.items():
            x[row, column[symbol]] = value
    target = np.where(np.isfinite(formation), energies - formation, 0.0)
    train = (np.asarray(split) == "train") & np.isfinite(formation)
    weight = train.astype(float)
    mu = np.zeros(len(symbols))
    for _ in range(30):
        mu = np.linalg.lstsq(x * np.sqrt(weight)[:, None], target * np.sqrt(weight), rcond=None)[0]
        residual = np.abs(target - x @ mu)
        weight = train / np.maximum(residual, 2e-3)
        weight[residual > ABSURD] = 0.0
    sane = (residual < ABSURD) & np.isfinite(formation)
    test, seen = sane & (np.asarray(split) == "test"), sane & train
    return {
        "source": source,
        "target": "dft:MP2020",
        "mu": {s: round(float(mu[i]), 5) for s, i in column.items()},
        "mae_train": float(residual[seen].mean()),
        "mae_test": float(residual[test].mean()),
        "median_test": float(np.median(residual[test])),
        "n_train": int(seen.sum()),
        "n_test": int(test.sum()),
        "n_excluded": int(((residual >= ABSURD) & np.isfinite(formation)).sum()),
    }


def export(data: Path, out: Path, labels: Path | None = None) -> dict:
    """Write the shipped table and the element references.

    Args:
        data: folder with the Materials Project structures.
        out: working table of the job.
        labels: parquet of known protostructure labels (``material_id``, ``label``); the rest are computed.

    Returns:
        counts, bias between the tiers and error of the fit, also printed as JSON.
    """
    from genmat.screening.build_reference import NEAR_HULL, open_table, read_phases, source_of

    db = open_table(out)
    source = source_of(db)
    if source not in SHIPPED:
        raise GenmatError(f"{source}: no file name for its table; add one to genmat.screening.reference.SHIPPED")
    table = best_of_tiers(db)
    stored = read_phases(data).set_index("material_id")
    rows = stored.loc[table.id]
    # far from the hull (elements only) the potential is not what the fit should describe
    formation = rows.formation_energy_per_atom.where(rows.e_above_hull <= NEAR_HULL).to_numpy(float)
    fit = fit_elements(list(table.formula), table.energy.to_numpy(), formation, rows.split.to_numpy(), source)
    mu = fit["mu"]
    predicted = [
        e - sum(mu[s] * v for s, v in fractions(f).items()) for f, e in zip(table.formula, table.energy, strict=True)
    ]
    # entries the potential gets absurdly wrong would bend the hull for everything around them
    table = table[~(np.abs(np.array(predicted) - formation) >= ABSURD)]  # phases without label stay
    names = _labels(db, stored.loc[table.id], labels)
    shipped = pd.DataFrame(
        {
            "id": table.id,
            "formula": [_plain(f) for f in table.formula],
            "label": names,
            "energy_per_atom": table.energy.round(5).astype("float32"),
            "tier": table.tier.astype("category"),
        }
    ).sort_values(["formula", "id"], ignore_index=True)
    path = DATA / f"reference_{SHIPPED[source]}.parquet"
    shipped.to_parquet(path, compression="zstd", compression_level=19, index=False)
    elements = DATA / f"element_references_{SHIPPED[source]}.json"
    elements.write_text(json.dumps(fit, indent=1, sort_keys=True) + "\n")
    counts = {
        "rows": len(shipped),
        "tiers": shipped.tier.value_counts().to_dict(),
        "formulas": int(shipped.formula.nunique()),
        "bytes": path.stat().st_size,
        "bias": tier_bias(db),
        "hull": hull_error(source, shipped, stored),
        "fit": {k: v for k, v in fit.items() if k != "mu"},
    }
    print(json.dumps(counts, indent=1, default=str))
    card = CARDS / f"reference_{SHIPPED[source]}.md"
    if card.is_file():
        _write_card(card, shipped, fit, counts["bias"], counts["hull"])
    return counts


def hull_error(source: str, shipped: pd.DataFrame, stored: pd.DataFrame) -> dict[str, float]:
    """Energies above the shipped hull against DFT's: random phases of the test split with labels of their own.

    Both hulls hold the phases themselves, so a phase on one hull is at zero there; eV/atom.
    """
    from genmat.screening.reference import _shipped, load_reference

    _shipped.cache_clear()
    hull = load_reference(None, source)
    rows = shipped[[len(fractions(f)) > 1 for f in shipped.formula]].join(
        stored[["split", "e_above_hull", "energy_source"]], on="id"
    )
    rows = rows[(rows.split == "test") & (rows.energy_source == "mp2021") & rows.e_above_hull.notna()]
    rows = rows.sample(min(JUDGED, len(rows)), random_state=0)
    found = np.array(
        [
            hull.e_above_hull(row.formula, hull.formation_energy(row.formula, float(row.energy_per_atom)))[0]
            for row in rows.itertuples()
        ]
    )
    gap = np.abs(found - rows.e_above_hull.to_numpy())
    same = (found <= 0.025) == (rows.e_above_hull.to_numpy() <= 0.025)
    return {"n": len(rows), "mae": float(gap.mean()), "median": float(np.median(gap)), "same_side": float(same.mean())}


def _write_card(card: Path, shipped: pd.DataFrame, fit: dict, bias: dict[str, float], hull: dict[str, float]) -> None:
    """Put the figures of this export into the data card."""
    from genmat.data.cards import read_card, render_card

    rows = [
        ("phases", f"{len(shipped):,}"),
        ("compositions", f"{shipped.formula.nunique():,}"),
        ("relaxed phases", f"{(shipped.tier == 'relaxed').sum():,}"),
        ("compounds computed in both tiers", f"{bias['n']:,}"),
    ]
    if bias["n"]:
        spread = (
            f"median {bias['p50']:.1f}, mean {bias['mean']:.1f}, p90 {bias['p90']:.1f}, p99 {bias['p99']:.1f} meV/atom"
        )
        rows.append(("volume tier above relaxed tier", spread))
    rows += [
        ("training phases of the fit", f"{fit['n_train']:,}"),
        ("test phases of the fit", f"{fit['n_test']:,}"),
        ("error of the fit, test split, MAE", f"{1000 * fit['mae_test']:.1f} meV/atom"),
        ("error of the fit, test split, median", f"{1000 * fit['median_test']:.1f} meV/atom"),
        ("test phases compared with the DFT hull", f"{hull['n']:,}"),
        ("energy above this hull against DFT's, MAE", f"{1000 * hull['mae']:.1f} meV/atom"),
        ("the same, median", f"{1000 * hull['median']:.1f} meV/atom"),
        ("on the same side of 25 meV/atom", f"{100 * hull['same_side']:.1f} %"),
    ]
    table = "\n".join(["| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    header, body = read_card(card)
    head, rest = body.split(BEGIN)
    body = f"{head}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"
    card.write_text(render_card(header, body, card.parent.parent), encoding="utf-8")


def _plain(formula: str) -> str:
    """Reduced formula without brackets; elements stand alone (O, not O2)."""
    return reduced_formula(parse_formula(formula))


def _labels(db: sqlite3.Connection, rows: pd.DataFrame, given: Path | None) -> list[str]:
    """Protostructure label of each stored structure: given, or computed once and kept in the working table.

    Args:
        db: working table of the job.
        rows: indexed by material id.
        given: parquet with ``material_id`` and ``label``, where labels have been computed already.
    """
    from genmat.crystal.prototype import from_structure
    from genmat.screening.build_reference import primitive

    with db:
        db.execute("CREATE TABLE IF NOT EXISTS label (id TEXT PRIMARY KEY, label TEXT)")
    known = dict(db.execute("SELECT id, label FROM label"))
    if given is not None:
        known |= dict(pd.read_parquet(given, columns=["material_id", "label"]).itertuples(index=False))
    fresh: list[tuple[str, str]] = []
    for row in rows[~rows.index.isin(list(known))].itertuples():
        try:
            label = from_structure(primitive(row)).label
        except GenmatError:
            label = ""
        known[row.Index] = label
        fresh.append((row.Index, label))
        if len(fresh) == 200:  # short transactions: the job may be writing at the same time
            _keep(db, fresh)
            fresh = []
    _keep(db, fresh)
    return [known[i] for i in rows.index]


def _keep(db: sqlite3.Connection, labels: list[tuple[str, str]]) -> None:
    with db:
        db.executemany("INSERT OR REPLACE INTO label VALUES (?, ?)", labels)
