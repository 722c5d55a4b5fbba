"""Every data card tells the truth about its files, and a lie is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from genmat.data.cards import check_card, main, measure, read_card, render_card
from genmat.errors import GenmatError

CARDS = sorted((Path(__file__).resolve().parents[2] / "data_cards").glob("*.md"))


def files(card: Path) -> list[dict]:
    return read_card(card)[0]["genmat"]["files"]


MEASURABLE = [card for card in CARDS if "genmat" in card.read_text().split("---")[1]]


def test_there_are_cards():
    assert {"mp_structures", "mp_hull_entries", "generated_mattergen"} <= {card.stem for card in CARDS}


@pytest.mark.parametrize("card", MEASURABLE, ids=lambda card: card.stem)
def test_counts_and_hashes_are_recomputed(card, request, root):
    inside = all((root / entry["path"]).exists() for entry in files(card))
    base = root if inside else request.getfixturevalue("shared")
    assert check_card(card, base) == []


@pytest.mark.parametrize("card", MEASURABLE, ids=lambda card: card.stem)
def test_cards_are_complete(card):
    header, body = read_card(card)
    assert header["license"] and header["genmat"]["sources"]
    assert "rebuild" in body and header["tags"] and header["pretty_name"]
    assert "\n## Intended use\n" in body and "\n## Limits\n" in body
    for entry in header["genmat"]["files"]:
        assert len(entry["sha256"]) == 64 and entry["rows"] > 0


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_the_hub_reads_the_header(card):
    data = DatasetCard(card.read_text()).data.to_dict()
    assert data["license"] in ("cc-by-4.0", "mit", "lgpl", "cdla-permissive-2.0", "apache-2.0", "unknown", "other")
    assert len(data["pretty_name"]) < 100


@pytest.fixture
def card(tmp_path) -> Path:
    (tmp_path / "t.csv").write_text("a,split\n1,train\n2,train\n3,test\n")
    path = tmp_path / "card.md"
    path.write_text("---\nlicense: mit\npretty_name: T\ngenmat:\n  files:\n  - path: t.csv\n---\n\n# T\n")
    path.write_text(render_card(*read_card(path), tmp_path))
    return path


def test_render_measures_and_is_stable(card, tmp_path):
    (entry,) = files(card)
    assert (entry["rows"], entry["splits"], entry["columns"]) == (3, {"test": 1, "train": 2}, ["a", "split"])
    assert "| `t.csv` | 3 | 2 / 0 / 1 |" in card.read_text()
    assert render_card(*read_card(card), tmp_path) == card.read_text()


def test_changed_data_and_changed_cards_are_noticed(card, tmp_path, capsys):
    assert main([str(card), "--root", str(tmp_path)]) == 0
    card.write_text(card.read_text().replace("| 3 |", "| 4 |"))
    assert check_card(card, tmp_path) == ["table of files differs from the header"]
    (tmp_path / "t.csv").write_text("a,split\n1,train\n")
    problems = check_card(card, tmp_path)
    assert any("rows is 1, the card says 3" in p for p in problems) and any("sha256" in p for p in problems)
    assert main([str(card), "--root", str(tmp_path)]) == 1
    assert main([str(card), "--root", str(tmp_path), "--write"]) == 0
    assert "right" in capsys.readouterr().out


def test_broken_cards_are_one_clear_line(tmp_path):
    for text, message in {
        "# no header": "no YAML header",
        "---\nlicense: mit\n---\n": "lacks pretty_name, genmat",
        "---\na: [1\n---\n": "broken YAML",
    }.items():
        (tmp_path / "card.md").write_text(text)
        with pytest.raises(GenmatError, match=message) as raised:
            read_card(tmp_path / "card.md")
        assert "\n" not in str(raised.value)
    for name in ("missing.csv", "card.md"):
        with pytest.raises(GenmatError):
            measure(tmp_path / name)
