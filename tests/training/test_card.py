"""Model cards: rendered, never edited."""

from __future__ import annotations

import json

import pytest

from genmat.errors import GenmatError
from genmat.training.card import render, write_card


@pytest.mark.parametrize("name", ["crystal-gpt", "crystal-gpt-sun", "crystal-rnn"])
def test_shipped_card_says_what_was_measured(name, root) -> None:
    folder = root / "models" / name
    if not folder.is_dir():
        pytest.skip(f"models/{name} is not in this checkout")
    read = {n: json.loads((folder / f"{n}.json").read_text()) for n in ("figures", "training_stats", "samples")}
    text = (folder / "README.md").read_text()
    assert text == render(read["figures"], read["training_stats"], read["samples"])
    assert f"{read['figures']['parameters']:,} parameters" in text and "CC BY 4.0" in text
    loss = read["figures"]["metrics"]["test"]["model"]["all"]["loss"]
    assert ("area under the ROC curve" in text) == ("preference" in read["figures"])
    assert f"{loss:.3f}" in text and loss < read["figures"]["metrics"]["test"]["bigram"]["all"]["loss"]


def test_no_card_without_figures(tmp_path) -> None:
    with pytest.raises(GenmatError, match="figures"):
        write_card(tmp_path)
