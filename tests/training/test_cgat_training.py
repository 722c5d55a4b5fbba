"""Training on decorated prototypes: it learns, resumes to the same weights, and says how sure it is."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genmat.cli.main import run as genmat
from genmat.crystal.composition import ELEMENTS
from genmat.data.crystal_table import LABELS, CrystalTable, crystal_table, read_labels
from genmat.data.decorations import decorations
from genmat.data.graph_predict import fit_quantiles, half_width, load_graph_model, predict_rows
from genmat.data.prototypes import load_prototypes
from genmat.errors import GenmatError
from genmat.training.cgat import references, train_cgat
from genmat.training.cgat_card import history
from genmat.training.cgat_config import CGATTrainConfig
from genmat.training.config import load_recipe, recipe_kind

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(p for p in (ROOT / "experiments").glob("*.yaml") if recipe_kind(p) == "cgat")
KEYS = ["225:a_b", "221:a_b", "221:a_b_c"]


def config(**changes) -> CGATTrainConfig:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "shell_size": 8, "num_hidden_layers": 1, "num_members": 2}
    values = {
        "name": "tiny", "average": 0.8, "saves_per_epoch": 2,
        "model": {"type": "cgat", "sizes": {**sizes, "coverage": 0.8}},
        "optimiser": {"epochs": 16, "batch_size": 32, "learning_rate": 0.01},
    }  # fmt: skip
    return CGATTrainConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def table() -> CrystalTable:
    """Every decoration of three prototypes; energies that depend on elements, sites and prototype."""
    prototypes = load_prototypes()
    space = decorations(prototypes, ["Li", "Na", "K", "Mg", "Ca", "O", "S", "F", "Cl"], keys=KEYS)
    elements, graph = [], []
    for row, a, b in space.parts(0, len(space)):
        numbers = space.decode(row, np.arange(a, b))
        elements += [tuple(z) for z in numbers.tolist()]
        graph += [space.rows.index(row)] * len(numbers)
    graphs = [prototypes.graph(row) for row in space.rows]
    x = np.array([sum(z) / len(z) for z in elements]) / 10
    energy = -x + 0.3 * np.array(graph) + 0.05 * np.array([z[0] > z[-1] for z in elements])
    split = np.array(["train", "train", "val", "train", "test"])[np.arange(len(energy)) % 5]
    labels = dict(zip(LABELS, (energy, np.where(x > 1, np.nan, x), 10 + 5 * x), strict=True))
    return CrystalTable(np.arange(len(energy)).astype(str), graphs, np.array(graph), elements, labels, split)


def crystals_apart(table: CrystalTable) -> CrystalTable:
    """The same crystals with twice the energies."""
    return dataclasses.replace(table, labels={**table.labels, "energy": 2 * table.labels["energy"]})


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("cgat")
    return out, train_cgat(config(), out, table=table)


def test_it_learns_and_knows_how_well(table, trained) -> None:
    out, figures = trained
    scores = figures["metrics"]["test"]
    true = table.labels["energy"][table.rows("test")]
    assert scores["mae"] < 0.4 * np.abs(true - np.median(true)).mean()
    assert 0.6 < scores["coverage"] <= 1 and set(scores["by_elements"]) == {"2", "3"}
    model = load_graph_model(out / "snapshot")
    rows = table.rows("test")
    again = predict_rows(model, table, rows)
    assert np.abs(again["energy"] - true).mean() == pytest.approx(scores["mae"], abs=1e-6)
    assert model.config.quantiles["all"] > 0 and json.loads((out / "snapshot" / "figures.json").read_text())


def test_a_killed_run_resumes_to_the_same_weights(table, trained, tmp_path) -> None:
    out, _ = trained
    shutil.copytree(out, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "snapshot")
    steps = sorted((tmp_path / "run").glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    shutil.rmtree(steps[-1])
    train_cgat(config(), tmp_path / "run", table=table)
    one, two = (load_file(p / "snapshot" / "model.safetensors") for p in (out, tmp_path / "run"))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_start_takes_weights_and_refuses_other_sizes(table, trained, tmp_path) -> None:
    out, _ = trained
    start = {"start": str(out / "snapshot"), "optimiser": {"epochs": 0.2, "batch_size": 32, "learning_rate": 1e-6}}
    warm = train_cgat(config(**start), tmp_path / "warm", table=table)["metrics"]["test"]["mae"]
    cold = train_cgat(config(**{**start, "start": None}), tmp_path / "cold", table=table)["metrics"]["test"]["mae"]
    assert warm < 0.5 * cold
    other = config(**start, model={"type": "cgat", "sizes": {"hidden_size": 16}})
    with pytest.raises(GenmatError, match="use the sizes of that model"):
        train_cgat(other, tmp_path / "other", table=table)


def test_an_ensemble_of_networks_trained_apart(table, trained, tmp_path) -> None:
    """Its prediction is the mean of theirs; what it cost is what they cost."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "shell_size": 8, "num_hidden_layers": 1, "coverage": 0.8}
    alone = {"type": "cgat", "sizes": {**sizes, "num_members": 1}}
    short = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01}
    runs = [
        train_cgat(config(seed=k, name=f"one-{k}", model=alone, optimiser=short), tmp_path / str(k), table=table)
        for k in range(2)
    ]
    start = [str(tmp_path / str(k) / "snapshot") for k in range(2)]
    figures = train_cgat(config(start=start, optimiser=None), tmp_path / "both", table=table)
    assert figures["steps"] == 0 and [run["name"] for run in history(figures)] == ["one-0", "one-1", "tiny"]
    assert [run["cpu_hours"] for run in history(figures)[:2]] == [run["cpu_hours"] for run in runs]
    rows = table.rows("test")
    one, two, both = (
        predict_rows(load_graph_model(folder), table, rows)
        for folder in map(Path, [*start, tmp_path / "both" / "snapshot"])
    )
    assert np.allclose((one["energy"] + two["energy"]) / 2, both["energy"], atol=1e-5)
    assert np.abs(one["energy"] - two["energy"]).max() > 1e-3 and not np.allclose(one["sigma"], both["sigma"])
    with pytest.raises(ValueError, match="neither optimiser nor start"):
        CGATTrainConfig.model_validate({"name": "x", "model": alone})
    other = crystals_apart(table)
    foreign = train_cgat(config(seed=2, model=alone, optimiser=short), tmp_path / "2", table=other)
    assert foreign["steps"]
    with pytest.raises(GenmatError, match="different tables"):
        train_cgat(
            config(start=[start[0], str(tmp_path / "2" / "snapshot")], optimiser=None), tmp_path / "x", table=table
        )


def test_references_are_the_linear_part(table) -> None:
    fitted, scale = references(table, np.arange(len(table)))
    assert fitted.shape == (104, 2) and 0 < scale < 1
    shares = table.shares(np.arange(len(table)))
    assert np.allclose(shares.sum(1), 1) and shares[:, [ELEMENTS.index("Fe") + 1]].sum() == 0


def test_quantiles_cover_new_crystals() -> None:
    rng = np.random.default_rng(0)
    groups, sigma = rng.integers(2, 4, 4000), rng.uniform(0.5, 2, 4000)
    error = rng.laplace(0, sigma * np.where(groups == 2, 1.0, 3.0))
    found = fit_quantiles(error[:2000], sigma[:2000], groups[:2000], 0.9)
    inside = np.abs(error[2000:]) <= half_width(found, sigma[2000:], groups[2000:])
    for g in (2, 3):
        assert abs(inside[groups[2000:] == g].mean() - 0.9) < 0.03


def test_real_crystals(shared, tmp_path) -> None:
    """Rows of the Materials Project become decorations of the shipped prototypes; none lends itself its own shells."""
    import pandas as pd

    from genmat.data import crystal_table as tables

    source = tmp_path / tables.SOURCE
    source.parent.mkdir()
    rows = pd.read_parquet(shared / tables.SOURCE)
    rows = rows[rows.formation_energy_per_atom.notna()].sample(120, random_state=1).reset_index(drop=True)
    rows.to_parquet(source)
    prototypes = load_prototypes()
    table = crystal_table(rows, read_labels(source, tmp_path), prototypes)
    assert len(table) >= 118
    shares = table.shares(np.arange(len(table)))
    formulas = dict(zip(rows.material_id, rows.formula, strict=True))
    for name, share in zip(table.ids, shares, strict=True):
        from pymatgen.core import Composition

        wanted = Composition(formulas[name]).fractional_composition
        assert all(abs(share[e.Z] - wanted[e]) < 1e-6 for e in wanted)
    known = [table.graphs[g].counts.any() for g in table.graph]
    assert np.mean(known) > 0.75
    for i in table.rows("train"):
        if not table.graphs[table.graph[i]].counts.any():
            break
    assert np.mean(np.array(known)[table.rows("train")]) < 1


def test_larger_crystals_and_relaxed_decorations_join_the_training_split(shared, tmp_path) -> None:
    """None of the formulas of val and test among them, none with too many orbits; no shells where the
    cell is larger than any prototype."""
    import pandas as pd

    from genmat.data import crystal_table as tables

    (tmp_path / tables.SOURCE).parent.mkdir()
    small = pd.read_parquet(shared / tables.SOURCE)
    small = small[small.formation_energy_per_atom.notna()]
    small = pd.concat([part.sample(40, random_state=1) for _, part in small.groupby("split")]).reset_index(drop=True)
    large = pd.read_parquet(shared / tables.LARGER)
    large = large[large.formation_energy_per_atom.notna() & (large.split == "train")].sample(60, random_state=1)
    large = large.reset_index(drop=True)
    held = small.formula[small.split == "test"].iloc[0]
    large.loc[large.index[:3], "formula"] = held  # as if a formula of the test split were among them
    small.to_parquet(tmp_path / tables.SOURCE), large.to_parquet(tmp_path / tables.LARGER)
    more = (
        small[small.split == "train"]
        .head(2)
        .assign(
            label=["AB_cF8_225_a_b:Cl-Na", "AB_cF8_225_a_b:Mg-O"],
            formula=["NaCl", held],
            material_id=["scan-1", "scan-2"],
        )
    )
    more.to_parquet(tmp_path / "relaxed.parquet")
    alone = tables.load_crystals(tmp_path, tmp_path)
    table = tables.load_crystals(tmp_path, tmp_path, also=[tmp_path / "relaxed.parquet"], larger=12)
    assert "scan-1" in table.ids and "scan-2" not in table.ids
    new = np.flatnonzero(np.isin(table.ids, large.material_id))
    sizes = table.orbits(new)
    assert 20 < len(new) < 57 and sizes.max() <= 12 and (table.split[new] == "train").all()
    assert not set(large.material_id[:3]) & set(table.ids)
    big = [table.graphs[g] for g in table.graph[new] if table.graphs[g].atoms.sum() > 20]
    assert len(big) > 20 and not any(graph.counts.any() for graph in big)
    for split in ("val", "test"):
        assert set(table.ids[table.rows(split)]) == set(alone.ids[alone.rows(split)])


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiments_are_valid(path) -> None:
    from genmat.modeling.cgat.configuration_cgat import CGATConfig

    assert CGATConfig(**load_recipe(path, CGATTrainConfig).model.sizes).hidden_size


def test_unknown_keys_are_errors(tmp_path, capsys) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\nmodel: {type: cgat, sizes: {hiden_size: 3}}\noptimiser: {epochs: 1}\n")
    with pytest.raises(GenmatError, match="did you mean 'hidden_size'"):
        load_recipe(bad, CGATTrainConfig)
    assert genmat(["train", str(bad), "--out", str(tmp_path / "o")]) == 1
    assert "hidden_size" in capsys.readouterr().err


def test_properties_of_known_prototypes(shared) -> None:
    """Matbench's folds, a training split that only grows, and the target in the place of the energy."""
    from genmat.data.property_table import load_property

    small, whole = load_property(shared, "phonons", 100), load_property(shared, "phonons")
    assert len(whole) > 1000 and len(small.rows("train")) == 100 < len(whole.rows("train"))
    assert (small.rows("test") == whole.rows("test")).all() and set(small.rows("train")) <= set(whole.rows("train"))
    assert 0.15 < len(whole.rows("test")) / len(whole) < 0.25
    assert np.nanmedian(whole.labels["energy"]) > 100 and np.isnan(whole.labels["volume"]).all()
    fitted, scale = references(whole, whole.rows("train"))
    assert np.isfinite(fitted).all() and scale > 10


def test_relaxed_decorations_become_training_rows(tmp_path) -> None:
    """A real campaign of two decorations: energies on the scale of the references, labels as scanned."""
    import pandas as pd

    from genmat.data.relaxed import write_relaxed
    from genmat.screening.scan_output import decorated

    prototypes = load_prototypes()
    space = decorations(prototypes, ["Cu", "Au"], keys=["221:a_c"])
    ((row, a, b),) = space.parts(0, len(space))
    rows, lines = [], []
    for index, numbers in enumerate(space.decode(row, np.arange(a, b))):
        proto = decorated(space, row, numbers, 14.0)
        from genmat.crystal.realise import realise

        lines.append(json.dumps({"id": f"scan-{index}", "structure": realise(proto).as_dict()}))
        rows.append({"index": index, "label": proto.label})
    (tmp_path / "best.jsonl").write_text("\n".join(lines))
    pd.DataFrame(rows).to_csv(tmp_path / "best.csv", index=False)
    asked = ["screen", str(tmp_path / "best.jsonl"), "--out", str(tmp_path / "s"), "--potential", "emt"]
    assert genmat([*asked, "--reference", "none", "--workers", "1", "--json"]) == 0
    count = write_relaxed(tmp_path / "best.csv", tmp_path / "s", tmp_path / "t.parquet", {"Cu": 0.0, "Au": 0.0})
    made = pd.read_parquet(tmp_path / "t.parquet")
    assert count == len(made) == 2 and set(made.label) == {r["label"] for r in rows} and (made.split == "train").all()
    assert made.formation_energy_per_atom.abs().max() < 1.0  # EMT counts from the elements itself


SHIPPED = ROOT / "models" / "cgat"


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="models/cgat is not shipped")
def test_the_shipped_network_is_what_its_card_says() -> None:
    """Card rendered from the figures, the configuration that made it, and energies of crystals everybody knows."""
    from genmat.data.crystal_table import label_table
    from genmat.training.cgat_card import render

    figures = json.loads((SHIPPED / "figures.json").read_text())
    scores = SHIPPED / "scores.json"
    card = render(figures, json.loads(scores.read_text()) if scores.is_file() else {})
    assert (SHIPPED / "README.md").read_text() == card
    made = load_recipe(ROOT / "experiments" / "cgat.yaml", CGATTrainConfig).model_dump(mode="json")
    assert figures["config"] == made and figures["parameters"] <= 5_000_000
    assert (SHIPPED / "model.safetensors").stat().st_size < 8e6
    labels = ["AB_cF8_225_a_b:Cl-Na", "AB3C_cP5_221_a_c_b:Ba-O-Ti", "AB_cF8_225_a_b:Mg-O"]
    model = load_graph_model(SHIPPED)
    energy = predict_rows(model, label_table(labels, load_prototypes()), np.arange(3))["energy"]
    assert np.abs(energy - [-2.1, -3.5, -3.0]).max() < 0.3  # Materials Project: NaCl, BaTiO3, MgO
