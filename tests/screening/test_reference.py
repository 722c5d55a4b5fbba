"""The shipped table, tables of formation energies, and the job that made the former."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from genmat.errors import GenmatError
from genmat.screening import build_reference as job
from genmat.screening.export_reference import fit_elements
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.reference import ELEMENTS, element_references, load_reference, read_table, table_file
from genmat.screening.relax import relax_one


@pytest.fixture(scope="module")
def chgnet():
    return load("chgnet", check=False)


TABLES = {"chgnet-0.3.0": "reference_chgnet", "m3gnet-MP-2021.2.8-PES": "reference_m3gnet"}


@pytest.mark.parametrize("source", TABLES)
def test_shipped_table(source):
    table = read_table(source)
    assert list(table.columns) == ["id", "formula", "label", "energy_per_atom", "tier"]
    assert table_file(source).stat().st_size <= 4e6 and ELEMENTS.stat().st_size < 1e4
    assert table.id.is_unique and table.energy_per_atom.between(-17, 1).all()
    assert set(table.tier) <= {"volume", "relaxed"}
    assert not table.formula.str.contains(r"[()\[\]]").any()
    assert (table.label != "").mean() > 0.99


@pytest.mark.parametrize("source", TABLES)
def test_card_counts_are_the_tables(source, root):
    """The card's figures are those of the files."""
    text = (root / "data_cards" / f"{TABLES[source]}.md").read_text()
    table, fit = read_table(source), element_references(source)
    counts = {
        "phases": len(table),
        "compositions": table.formula.nunique(),
        "relaxed phases": int((table.tier == "relaxed").sum()),
        "training phases of the fit": fit["n_train"],
        "test phases of the fit": fit["n_test"],
    }
    for name, count in counts.items():
        found = re.search(rf"^\| {name} \| ([\d,]+) \|$", text, re.MULTILINE)
        assert found and int(found[1].replace(",", "")) == count, name
    assert f"| {1000 * fit['mae_test']:.1f} meV/atom |" in text


def test_shipped_hull_knows_perovskite(chgnet):
    """BaTiO3 and NaCl lie on or near it; a strained crystal lies above by its strain energy."""
    hull = load_reference()
    assert hull.source == hull.energy_source == "chgnet-0.3.0"
    from genmat.candidate import Candidate

    for name in ("NaCl", "SrTiO3", "MoS2", "LiFePO4"):
        done = relax_one(Candidate(name, "test", structure=golden_crystal(name)), chgnet)
        shares = {e.symbol: n for e, n in done.structure.composition.items()}
        formation = hull.formation_energy(shares, done.results["energy_per_atom"], done.results["potential"])
        above, text = hull.e_above_hull(shares, formation)
        assert -0.03 < above < 0.03, (name, above, text)
    with pytest.raises(GenmatError, match="no elemental reference"):
        hull.e_above_hull("AmO2", 0.0)


def test_hull_of_another_potential(shared):
    """M3GNet's crystals lie on M3GNet's hull, its energies on no other; MatPES energies have no table."""
    from genmat.candidate import Candidate

    m3gnet = load(f"m3gnet:{shared / 'potentials' / 'M3GNet-MP-2021.2.8-PES'}")
    hull = load_reference(None, m3gnet)
    assert hull.source == hull.energy_source == m3gnet.info.source
    done = relax_one(Candidate("salt", "test", structure=golden_crystal("NaCl")), m3gnet)
    energy, source = done.results["energy_per_atom"], done.results["potential"]
    formation = hull.formation_energy("NaCl", energy, source)
    assert -2.3 < formation < -1.8 and -0.03 < hull.e_above_hull("NaCl", formation)[0] < 0.03
    with pytest.raises(GenmatError, match="cannot be placed"):
        load_reference().formation_energy("NaCl", energy, source)
    with pytest.raises(GenmatError, match=r"no table .* chgnet-0.3.0, m3gnet-MP-2021.2.8-PES"):
        load_reference(None, "tensornet-MatPES-PBE-v2025.1-PES")
    with pytest.raises(GenmatError, match="no element references"):
        element_references("mace-small")


def test_user_tables_take_the_references_of_the_potential(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("formula,formation_energy_per_atom\nNaCl,-2.1\n")
    for source in ("m3gnet-MP-2021.2.8-PES", "tensornet-MatPES-PBE-v2025.1-PES"):
        hull = load_reference(path, source)
        assert hull.energy_source == source and hull.source == "dft:user" and source in hull.note
        assert hull.references == element_references(source)["mu"]


def test_user_tables(tmp_path):
    good = tmp_path / "mine.csv"
    good.write_text("formula,formation_energy_per_atom\nNaCl,-2.1\nNa(Cl)3,-0.9\n")
    hull = load_reference(good)
    assert hull.source == "dft:user" and hull.energy_source == "chgnet-0.3.0" and "MAE" in hull.note
    assert hull.e_above_hull("NaCl", -2.0)[0] == pytest.approx(0.1)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(GenmatError, match="needs a column"):
        load_reference(tmp_path / "bad.csv")
    with pytest.raises(GenmatError, match="no such file"):
        load_reference(tmp_path / "none.csv")
    with pytest.raises(GenmatError, match=r"key is missing|mp-api is not installed"):
        load_reference("mp:")


def test_no_element_lies_below_zero(tmp_path):
    table = tmp_path / "mixed.csv"
    table.write_text("formula,formation_energy_per_atom\nBr4,-0.5\nNaBr,-1.9\n")
    hull = load_reference(table)
    assert hull.e_above_hull("Br2", 0.0)[0] == 0.0
    assert hull.e_above_hull("NaBr3", -0.95)[0] == pytest.approx(0.0)


def test_shared_hull(shared):
    """The complete Materials Project hull: its own vertices lie on it."""
    import pandas as pd

    hull = load_reference(shared / "mp" / "hull_entries.csv.gz")
    assert hull.source == "dft:MP2020"
    table = pd.read_parquet(shared / "mp" / "structures_le20.parquet")
    table = table[table.e_above_hull.notna()].sample(60, random_state=0)
    ours = []
    for row in table.itertuples():
        symbols, counts = np.unique(list(row.species), return_counts=True)
        ours.append(hull.e_above_hull(dict(zip(symbols, counts, strict=True)), row.formation_energy_per_atom)[0])
    assert np.median(np.abs(np.array(ours) - table.e_above_hull)) < 2e-3


def test_fit_recovers_references_despite_outliers():
    rng = np.random.default_rng(0)
    mu = {"Na": -1.3, "Cl": -1.8, "O": -4.9}
    formulas = [f"Na{a}Cl{b}O{c}" for a, b, c in rng.integers(1, 6, (300, 3))]
    from genmat.screening.hull import fractions

    formation = rng.normal(-1, 0.5, 300)
    energies = formation + [sum(mu[s] * x for s, x in fractions(f).items()) for f in formulas]
    energies += rng.normal(0, 0.01, 300)
    energies[:10] += 3.0  # broken entries
    fit = fit_elements(formulas, energies, formation, np.where(np.arange(300) % 5 > 0, "train", "test"))
    assert fit["mu"] == pytest.approx(mu, abs=0.02)
    assert fit["n_excluded"] == 10 and fit["n_train"] + fit["n_test"] == 290
    assert 0.005 < fit["mae_test"] < 0.012


def test_volume_relaxation(chgnet):
    """One to three evaluations find the minimum that a fine scan finds, to 1 meV/atom."""
    crystals = [golden_crystal("NaCl"), golden_crystal("SrTiO3"), golden_crystal("MoS2")]
    for crystal, scale in zip(crystals, (1.0, 1.08, 0.95), strict=True):
        crystal.scale_lattice(crystal.volume * scale)
    found = job.volume_relax(crystals, chgnet)
    for crystal, (energy, volume, _, _, points) in zip(crystals, found, strict=True):
        scan = []
        for factor in np.linspace(0.9, 1.12, 45):
            moved = crystal.copy()
            moved.scale_lattice(volume * len(crystal) * factor)
            scan.append(moved)
        lowest = chgnet.evaluate(scan, gradients=False).energies.min() / len(crystal)
        assert energy == pytest.approx(lowest, abs=1e-3) and 1 <= points <= 3


def test_job_resumes(tmp_path, shared, chgnet, monkeypatch):
    """A table half done is carried on, not done again; elements come first, hull vertices next."""
    whole = job.read_phases(shared / "mp")
    assert whole.stage.is_monotonic_increasing and whole.material_id.is_unique
    labelled = whole[whole.e_above_hull.notna()]
    assert ((labelled.e_above_hull <= 0.05) | (labelled.stage == 0)).all()
    holes = whole[whole.e_above_hull.isna() & (whole.stage > 0)]  # ground states the data leaves without a label
    assert len(holes) > 500 and {"PtPb", "CaIn2"} <= set(holes.formula)
    few = whole.iloc[:6]
    monkeypatch.setattr(job, "read_phases", lambda data: few)
    job.run_volume(shared / "mp", tmp_path / "t.db")
    db = job.open_table(tmp_path / "t.db")
    first = db.execute("SELECT id, energy FROM phase ORDER BY id").fetchall()
    assert [i for i, _ in first] == sorted(few.material_id) and all(e is not None for _, e in first)
    few = whole.iloc[:8]
    job.run_volume(shared / "mp", tmp_path / "t.db")
    second = dict(db.execute("SELECT id, energy FROM phase").fetchall())
    assert len(second) == 8 and all(second[i] == e for i, e in first)


def test_element_references_file():
    fit = element_references()
    assert fit["source"] == "chgnet-0.3.0" and fit["target"] == "dft:MP2020"
    assert len(fit["mu"]) >= 85 and fit["mae_test"] < 0.05
    assert json.loads(ELEMENTS.read_text()) == fit
