"""What a campaign is made of: a file that changed is another campaign, where it is computed is not."""

from pathlib import Path

import pytest

from genmat.campaign import Campaign
from genmat.cli.main import _addressed
from genmat.cli.settings import Screening, fingerprint, processes
from genmat.errors import GenmatError


def open_with(screening: Screening, out: Path) -> None:
    Campaign.open(out, command="screen", settings=screening.settings()).close()


@pytest.mark.parametrize("which", ["reference", "known", "weights file", "weights folder"])
def test_an_edited_file_does_not_resume(which: str, tmp_path: Path) -> None:
    file = tmp_path / "weights" / "state.pt"
    file.parent.mkdir()
    file.write_bytes(b"first")
    screening = {
        "reference": Screening(reference=str(file)),
        "known": Screening(known=str(file)),
        "weights file": Screening(potential=f"mace:{file}#head"),
        "weights folder": Screening(potential=f"m3gnet:{file.parent}"),
    }[which]
    open_with(screening, tmp_path / "out")
    open_with(screening, tmp_path / "out")
    file.write_bytes(b"second")
    named = str(file.parent if which == "weights folder" else file)
    with pytest.raises(GenmatError) as refused:
        open_with(screening, tmp_path / "out")
    line = str(refused.value)
    assert f"content of {named} was 'sha256 " in line and line.endswith("use another --out, or --fresh")
    file.write_bytes(b"first")
    open_with(screening, tmp_path / "out")


def test_where_it_is_computed_does_not_matter(tmp_path: Path) -> None:
    open_with(Screening(workers=1), tmp_path)
    open_with(Screening(workers=2, ray="local", python="/some/python"), tmp_path)
    assert "content of the shipped references" in Screening().settings()
    assert "content of the shipped references" not in Screening(reference="none").settings()


def test_no_key_is_kept() -> None:
    assert "SECRET" not in str(Screening(reference="mp:SECRET").settings())


def test_fingerprint_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    before = fingerprint([tmp_path])
    assert before == fingerprint([tmp_path]) and before.startswith("sha256 ")
    (tmp_path / "a").write_text("2")
    (tmp_path / "b").write_text("1")
    assert fingerprint([tmp_path]) != before


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["screen", "--ray", "in.cif"], ["screen", "--ray", "local", "in.cif"]),
        (["screen", "in.cif", "--ray"], ["screen", "in.cif", "--ray", "local"]),
        (["screen", "--ray", "--json"], ["screen", "--ray", "local", "--json"]),
        (["screen", "--ray", "auto", "in.cif"], ["screen", "--ray", "auto", "in.cif"]),
        (["screen", "--ray", "node-7:6379", "x"], ["screen", "--ray", "node-7:6379", "x"]),
        (["screen", "--ray", "ray://head.lab:10001"], ["screen", "--ray", "ray://head.lab:10001"]),
        (["screen", "--ray=1.2.3.4:6379", "x"], ["screen", "--ray=1.2.3.4:6379", "x"]),
    ],
)
def test_bare_ray(given: list[str], meant: list[str]) -> None:
    assert _addressed(given) == meant


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert [processes(3), processes(None), processes(None, "local"), processes(3, "local")] == [3, 6, 0, 3]
