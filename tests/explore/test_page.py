"""The picture and its page: scores with their baselines, and a page that draws in a real browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genmat.cli.main import run
from genmat.errors import GenmatError
from genmat.explore.map import cluster_names, draw, find_clusters, judge, purity
from genmat.explore.page import colour_column

sys.path.append(str(Path(__file__).resolve().parents[1] / "report"))
from chromium import browser, find_chromium

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def islands() -> tuple[np.ndarray, np.ndarray]:
    """Three groups of forty points in eight dimensions."""
    random = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], 40)
    return 8 * np.eye(8)[kinds] + random.normal(size=(120, 8)), kinds


def test_clusters_are_the_groups(islands):
    vectors, kinds = islands
    picture = draw(vectors, method="PCA")
    figures = judge(picture, vectors, [f"p{k}" for k in kinds])
    assert figures["clusters"] == 3 and figures["purity"] == 1
    assert figures["purity_shuffled"] < 0.6 and figures["trustworthiness"] > 0.7
    assert np.abs(picture.places).max() <= 1.0001


def test_umap_is_reproducible(islands):
    pytest.importorskip("umap")
    vectors, kinds = islands
    one, two = draw(vectors, seed=3), draw(vectors, seed=3)
    assert one.method == "UMAP" and (one.places == two.places).all()
    assert judge(one, vectors, list(kinds))["purity"] > 0.9


def test_largest_cluster_is_first():
    random = np.random.default_rng(0)
    places = np.concatenate([random.normal(0, 0.01, (20, 2)), random.normal(1, 0.01, (60, 2))])
    clusters = find_clusters(places)
    assert (clusters[20:] == 0).mean() > 0.9 and (clusters[:20] == 1).mean() > 0.9
    assert np.isnan(purity(np.full(3, -1), np.array(["a", "b", "c"])))


def test_names_come_from_prototypes_or_chemistry():
    table = pd.DataFrame({
        "prototype": ["221:a_b_c"] * 3 + ["2:i_i", "2:ii_i", "2:i_iii", "2:ii_ii"],
        "formula": ["BaTiO3", "SrTiO3", "KNbO3", "LiO", "NaO2", "KO3", "RbS"], "spacegroup": [221] * 3 + [2] * 4,
    })  # fmt: skip
    names = cluster_names(np.array([0, 0, 0, 1, 1, 1, 1]), table)
    assert "erovskite" in names[0] and names[0].endswith("(221:a_b_c)")
    assert names[1] == "triclinic oxides of 2 elements"


def test_columns_that_colour():
    assert colour_column(pd.Series([1.0, None, 3.0])) == {"values": [1.0, None, 3.0]}
    assert colour_column(pd.Series([True, False, None, True])) == {"words": ["yes", "no"], "values": [0, 1, None, 0]}
    assert colour_column(pd.Series(["a"] * 3)) is None
    assert colour_column(pd.Series([str(i) for i in range(99)])) is None


def test_too_few_points():
    with pytest.raises(GenmatError, match="too few"):
        draw(np.zeros((2, 4)))


@pytest.fixture(scope="module")
def page_file(small, crystal_files, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page") / "map.html"
    assert run(["explore", "map", str(small), "--candidates", str(crystal_files / "LiF.cif"), "--out", str(out),
                "--method", "PCA", "--json"]) == 0  # fmt: skip
    return out


def test_unknown_column(small, tmp_path, capsys):
    assert (
        run(["explore", "map", str(small), "--method", "PCA", "--color", "n_atom", "--out", str(tmp_path / "m.html")])
        == 1
    )
    assert "did you mean 'n_atoms'?" in capsys.readouterr().err


@pytest.mark.skipif(find_chromium() is None, reason="no chromium found; set GENMAT_CHROMIUM")
def test_page_in_a_browser(page_file):
    with browser(find_chromium()) as page:
        page.open(page_file, 1200, 800)
        page.wait("document.querySelector('#plot .main-svg')")
        assert page.evaluate("document.querySelectorAll('#color option').length") > 3
        assert page.evaluate("document.querySelector('#plot').data.map(t => t.x.length)") == [13, 1]
        page.evaluate("(() => { const s = document.getElementById('search'); s.value = 'BaTiO3'; s.oninput(); })()")
        assert page.evaluate("document.getElementById('card').innerText").startswith("Close\nBaTiO")
        assert "1 found" in page.evaluate("document.getElementById('found').textContent")
        page.evaluate("(() => { const s = document.getElementById('color'); s.value = 'n_atoms'; s.onchange(); })()")
        assert page.evaluate("document.querySelector('#legend .ends').innerText").split() == ["≤", "2", "≥", "6"]
        page.evaluate("document.getElementById('theme').click()")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.problems() == [] and page.requests() == []


def test_json_of_the_command(page_file, small, capsys, tmp_path):
    assert run(["explore", "near", "KCl", "--map", str(small), "--k", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "id" and told["neighbours"][0]["id"] == "KCl"
    assert run(["explore", "map", str(small), "--out", str(tmp_path / "again.html"), "--method", "pca"]) == 2
