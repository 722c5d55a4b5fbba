"""Pushing: the dry run says exactly what would go and asks no network; a Hub that cannot be reached is one line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from genmat.cli.main import run
from genmat.cli.push import contents
from genmat.errors import GenmatError
from genmat.generation.sampler import find_model, model_folders


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a dry run asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", sorted(model_folders()))
def test_dry_run_says_what_would_go(name, capsys, no_network) -> None:
    assert run(["push", name, "--repo", "somebody/model", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    folder = model_folders()[name]
    assert plan["sent"] is None and plan["repo"] == "somebody/model"
    assert {file["name"] for file in plan["files"]} == {path.name for path in folder.iterdir() if path.is_file()}
    for file in plan["files"]:
        data = (folder / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert "license: " in plan["card"]


def test_dry_run_reads_well(capsys, no_network) -> None:
    assert run(["push", "disorder", "--repo", "somebody/disorder"]) == 0
    told = capsys.readouterr()
    assert "model.safetensors" in told.out and "license:" in told.out and "nothing was sent" in told.err


def test_caches_and_hidden_files_stay_here(tmp_path, no_network) -> None:
    folder = shutil.copytree(model_folders()["composition"], tmp_path / "mine")
    (folder / ".token").write_text("secret")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").touch()
    names = [file["name"] for file in contents(str(folder), "a/b")["files"]]
    assert "README.md" in names and not any("token" in name or "pyc" in name for name in names)
    (folder / "README.md").write_text("# no header")
    with pytest.raises(GenmatError, match="no model card"):
        contents(str(folder), "a/b")


@pytest.mark.parametrize(
    ("model", "repo", "words"),
    [
        ("crystal-gtp", "a/b", "did you mean 'crystal-gpt'"),
        ("disorder", "b", "USER/NAME"),
        ("models", "a/b", "snapshot"),
    ],
)
def test_mistakes(model, repo, words, root, monkeypatch, no_network) -> None:
    monkeypatch.chdir(root)
    with pytest.raises(GenmatError, match=words):
        contents(model, repo)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_hub_out_of_reach_is_one_line(tmp_path) -> None:
    home = {"HF_ENDPOINT": f"http://127.0.0.1:{closed_port()}", "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_no_token"}
    command = [sys.executable, "-m", "genmat", "push", "composition", "--repo", "a/b", "--yes"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **home}, timeout=100)
    assert done.returncode == 1 and "the Hub did not take it" in done.stderr and "Traceback" not in done.stderr


HUB = """
from genmat.errors import GenmatError
from genmat.generation.sampler import find_model
print(find_model("somebody/crystals"))
try:
    find_model("somebody/else")
except GenmatError as error:
    print(error)
"""


def test_a_hub_name_comes_from_the_cache(tmp_path) -> None:
    """What was fetched once is found without a network; what was not is refused in one line."""
    repo = tmp_path / "models--somebody--crystals"
    snapshot = shutil.copytree(find_model("composition"), repo / "snapshots" / ("0" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    home = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", HUB], capture_output=True, text=True, env=home, timeout=100)
    assert done.returncode == 0, done.stderr
    found, refused = done.stdout.splitlines()
    assert found == str(snapshot) and refused.startswith("somebody/else: neither a folder nor to be had from the Hub")
