"""The page of a stress test: what it says, that it draws, in a browser and without a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from chromium import browser, find_chromium
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.report.verdicts import write_verdicts
from genmat.screening.potentials.base import PotentialInfo
from genmat.screening.stress.eos import RATIOS
from genmat.screening.stress.verdict import agreements, judge

EVIL = "<img src=x onerror=window.hacked=1>"
CRYSTAL = Structure(Lattice.cubic(4.0), ["Cu"], [[0, 0, 0]])


def records(shift: float) -> dict[str, list[Candidate]]:
    """Records of all checks, energies of a made-up potential that errs by ``shift`` eV/atom."""
    rng = np.random.default_rng(0)
    polymorphs = []
    for i in range(30):
        dft = float(rng.uniform(-1, 0))
        facts = {"formula": f"X{i // 3}", "dft": dft, "source": "mp2021", "volume": 10.0 + i % 3, "order": 1 + i % 3}
        energy = dft + float(rng.normal(0, shift))
        found = {"energy_per_atom": energy, "input_energy_per_atom": energy, "volume_change": 0.02}
        polymorphs.append(Candidate(f"p{i}", "mp", provenance=facts, results=found))
    label = "A_cP1_221_a:Cu"
    relaxed = {"rmsd": 0.01, "closest_contact": 1.0, "relax_steps": 9, "converged": True, "label_final": label}
    substituted = [
        Candidate(
            f"s{i}{EVIL if i == 3 else ''}", "mp", structure=CRYSTAL,
            provenance={"formula": "Y", "ground": i == 0, "label": label},
            results={**relaxed, "energy_per_atom": -3.0 + 0.1 * i - (0.5 if i == 2 else 0), "volume_change": 0.1},
        )
        for i in range(5)
    ]  # fmt: skip
    substituted[4] = substituted[4].fail("relax", "cell exploded")
    curve = [float(abs(x - 1)) for x in RATIOS]
    known = [
        Candidate(f"k{i}", "mp", structure=CRYSTAL, results={
            "eos_energies": curve, "eos_reason": "hole under compression" if i == 0 else None, "eos_bulk": 100.0,
            "gamma_lowest": -2.0 + i,
        })
        for i in range(4)
    ]  # fmt: skip
    elastic = [
        Candidate(f"e{i}", "mp", structure=CRYSTAL, provenance={"bulk": 50.0 * i, "shear": 30.0 * i},
                  results={"elastic_bulk": 50.0 * i + 5, "elastic_shear": 12.0 * i})
        for i in range(1, 6)
    ]  # fmt: skip
    return {"polymorphs": polymorphs, "substituted": substituted, "known": known, "elastic": elastic}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verdicts")
    every = {"one-1": records(0.02), "two-1": records(0.5)}
    infos = [PotentialInfo(name, "1", "PBE", "MIT", frozenset({"Cu"})) for name in ("one", "two")]
    verdicts = [judge(info, every[info.source], {"polymorphs": 3.0}) for info in infos]
    write_verdicts(verdicts, every, out, agreements=agreements(every), command="genmat evaluate potentials")
    return out


def test_files(folder: Path):
    """Better and worse potential told apart; every figure in CSV and JSON; failures with their reasons."""
    data = json.loads((folder / "verdicts.json").read_text())
    one, two = data["potentials"]
    grades = {figure["key"]: figure["grade"] for figure in one["figures"]}
    assert grades["order_relaxed"] == "good" and grades["eos_holes"] == "poor" and grades["sub_suspicious"] == "poor"
    assert {f["key"]: f["grade"] for f in two["figures"]}["mae_relaxed"] == "poor"
    assert one["failures"]["substituted"] == {"cell exploded": 1}
    assert data["agreement"] == [{"a": "one-1", "b": "two-1", "share": 100.0, "n": 6}]
    lines = (folder / "verdicts.csv").read_text().splitlines()
    assert len(lines) == 1 + len(one["figures"]) + len(two["figures"])
    page = (folder / "one-1.html").read_text()
    assert "1 × cell exploded" in page and "two-1.html" in page and EVIL not in page


@pytest.mark.skipif(find_chromium() is None, reason="no chromium found; set GENMAT_CHROMIUM")
def test_page_draws(folder: Path):
    """All six plots with their numbers, words for those who cannot see them, no problem, no request, no injection."""
    with browser(find_chromium()) as page:
        page.open(folder / "one-1.html")
        ids = page.evaluate("[...document.querySelectorAll('.plot')].map((node) => node.id)")
        assert ids == [f"plot-{name}" for name in ("parity", "bins", "substituted", "eos", "gamma", "moduli")]
        for id in ids:
            page.evaluate(f"document.getElementById('{id}').scrollIntoView({{block: 'center'}})")
            page.wait(f"document.querySelectorAll('#{id} .main-svg').length")
            assert page.evaluate(f"document.getElementById('{id}').getAttribute('aria-label').length") > 20
            assert page.evaluate(f"document.querySelectorAll('#{id.replace('plot', 'numbers')} tbody tr').length") > 0
        before = page.evaluate("document.documentElement.dataset.theme")
        page.evaluate("document.getElementById('theme').click()")
        assert page.evaluate("document.documentElement.dataset.theme") != before
        assert page.problems() == [] and page.requests() == []
        assert page.evaluate("window.hacked === undefined")
