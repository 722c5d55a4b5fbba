"""Every shipped model: a complete card the Hub can read, and figures of it reproduced where genmat is not installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from genmat.training.check import alone, section

ROOT = Path(__file__).resolve().parents[2]
CARDS = sorted(path.parent.name for path in ROOT.glob("models/*/README.md"))
SECTIONS = ("Intended use", "Use", "Check", "Training", "Figures", "Limits", "Licence")
TASKS = {"text-generation", "tabular-classification", "tabular-regression", "graph-ml", "question-answering"}
LICENCES = {"apache-2.0", "mit", "cc-by-4.0", "bsd-3-clause"}

ALONE = """
import io, json, sys, traceback
from contextlib import redirect_stdout

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("genmat", "pymatgen"):
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Block())
told = {}
for name, code in json.load(sys.stdin).items():
    out = io.StringIO()
    try:
        with redirect_stdout(out):
            exec(code, {"__name__": "card"})
    except Exception:
        out.write(traceback.format_exc())
    told[name] = out.getvalue()
assert "genmat" not in sys.modules
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, str]:
    """What the snippet of each card prints in a process where neither genmat nor pymatgen can be imported."""
    home = tmp_path_factory.mktemp("alone")
    cards = {name: ROOT / "models" / name for name in CARDS}
    codes = {name: alone(section((path / "README.md").read_text())[0], path) for name, path in cards.items()}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], input=json.dumps(codes), capture_output=True, text=True,
        cwd=home, env=environment | {"HF_HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_there_are_models() -> None:
    assert {"crystal-gpt", "crystal-gpt-sun", "crystal-rnn", "composition", "disorder", "qa"} <= set(CARDS)


@pytest.mark.parametrize("name", CARDS)
def test_card_is_complete(name) -> None:
    text = (ROOT / "models" / name / "README.md").read_text()
    assert all(path.stat().st_size <= 8e6 for path in (ROOT / "models" / name).glob("*.safetensors"))
    card = ModelCard(text)  # reads the header and the model index as the Hub's client does
    data = card.data.to_dict()
    assert data["license"] in LICENCES and data["library_name"] == "transformers"
    assert data["pipeline_tag"] in TASKS and {"genmat", "materials-science"} <= set(data["tags"])
    for result in card.data.eval_results or []:
        assert result.metric_value is not None and result.dataset_split == "test"
    if "model-index" in yaml.safe_load(text.split("---\n")[1]):
        assert card.data.eval_results
    headings = re.findall(r"(?m)^## (.+)$", text)
    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)
    assert "Not for:" in text and "$" not in re.sub(r"```.*?```", "", text, flags=re.S)
    for command in re.findall(r"genmat train (experiments/\S+\.yaml)", text):
        assert (ROOT / command).is_file(), command


@pytest.mark.parametrize("name", CARDS)
def test_a_figure_is_reproduced_without_genmat(name, told) -> None:
    _, printed = section((ROOT / "models" / name / "README.md").read_text())
    number = r"-?\d+\.\d+"
    assert re.sub(number, "#", told[name]) == re.sub(number, "#", printed)  # words and whole numbers exactly
    found, said = (list(map(float, re.findall(number, text))) for text in (told[name], printed))
    assert found == pytest.approx(said, abs=0.011) and len(said) >= 3
