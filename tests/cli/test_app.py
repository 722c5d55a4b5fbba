"""`genmat app`: what is typed becomes a command, and the page driven end to end in headless Chromium."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))

from axe import find_axe, findings
from chromium import Page, browser, find_chromium

from genmat.cli import app_runs
from genmat.cli.app_space import write_space
from genmat.cli.main import run
from genmat.errors import GenmatError

CHROMIUM = find_chromium()
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium found; set GENMAT_CHROMIUM")


@pytest.mark.parametrize(
    ("typed", "chemistry"),
    [
        ("Li-P-S", ["--elements", "Li-P-S"]),
        ("li, p s", None),
        (" S P, Li ", ["--elements", "S-P-Li"]),
        ("Ti2Ba2O6", ["--formula", "BaTiO3"]),
        ("", []),
    ],
)
def test_what_is_typed_becomes_a_command(typed, chemistry):
    if chemistry is None:
        with pytest.raises(GenmatError, match="li"):
            app_runs.discover_arguments(typed, 20, 2, 1, "chgnet", 5, 100)
        return
    made = app_runs.discover_arguments(typed, 20, 2, 1, "chgnet", 5, 100)
    assert made == ["discover", "-n", "20", "--relax", "2", *chemistry,
                    "--potential", "chgnet", "--max-steps", "5", "--seed", "1"]  # fmt: skip


@pytest.mark.parametrize(("n", "relax"), [(0, 1), (101, 1), (20, 21), (20, 0)])
def test_numbers_out_of_range_are_one_line(n, relax):
    with pytest.raises(GenmatError, match="out of range; "):
        app_runs.discover_arguments("", n, relax, 0, "chgnet", 5, 100)


def test_potentials_without_a_hull_ask_for_none():
    assert app_runs.screening_arguments(0, "emt", 9)[:4] == ["--potential", "emt", "--reference", "none"]


def test_campaigns_keep_apart_and_give_away_nothing_else(tmp_path):
    campaigns = app_runs.Campaigns(tmp_path)
    one, two = campaigns.new(), campaigns.new()
    assert one != two and len(one.name) == 16
    (one / "report.html").write_text("x")
    (one / "campaign.db").write_text("x")
    (tmp_path / "report.html").write_text("x")
    assert campaigns.file(one.name, "report.html") == one / "report.html"
    for key, name in (
        (one.name, "campaign.db"),
        (two.name, "report.html"),
        ("..", "report.html"),
        (".", "report.html"),
    ):
        assert campaigns.file(key, name) is None


def test_an_error_of_the_command_is_its_one_line(tmp_path):
    campaigns = app_runs.Campaigns(tmp_path)
    events = list(campaigns.run("visitor", campaigns.new(), ["screen", str(tmp_path / "missing.cif")]))
    assert len(events) == 1 and "missing.cif" in events[0]["error"] and "error:" not in events[0]["error"]


def test_who_stops_before_the_turn_runs_nothing_and_may_begin_again(tmp_path):
    campaigns = app_runs.Campaigns(tmp_path)
    campaigns.stop("visitor")
    assert list(campaigns.run("visitor", campaigns.new(), ["--nonsense"])) == [{"stopped": True}]
    campaigns.begin("visitor")
    assert "error" in next(campaigns.run("visitor", campaigns.new(), ["--nonsense"]))


def test_uploaded_files_of_one_name_both_arrive(tmp_path):
    for folder, text in (("a", "1"), ("b", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.cif").write_text(text)
    made = app_runs.screen_arguments([str(tmp_path / f / "x.cif") for f in "ab"], tmp_path / "c", 0, "chgnet", 5)
    assert made[0] == "screen" and sorted(p.read_text() for p in Path(made[1]).iterdir()) == ["1", "2"]


def test_space_is_ready_to_be_pushed(tmp_path, capsys):
    import yaml

    assert run(["app", "--space", str(tmp_path / "space"), "--most", "300"]) == 0
    _, matter, text = (tmp_path / "space" / "README.md").read_text().split("---\n", 2)
    front = yaml.safe_load(matter)
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py" and "density functional theory" in text
    assert "most=300" in compiled((tmp_path / "space" / "app.py").read_text())
    assert (tmp_path / "space" / "requirements.txt").read_text().startswith("genmat[app]==")
    (tmp_path / "taken").write_text("")
    with pytest.raises(GenmatError, match="choose another folder"):
        write_space(tmp_path / "taken", 1)


def compiled(source: str) -> str:
    compile(source, "app.py", "exec")
    return source


def test_missing_gradio_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("genmat.cli.app.find_spec", lambda name: None)
    assert run(["app"]) == 1
    assert capsys.readouterr().err == "error: genmat app: gradio is not installed; run `pip install genmat[app]`\n"


# --- the page itself --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Address of a server that runs two campaigns at once, and its folder."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    folder = tmp_path_factory.mktemp("app")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "genmat", "app", "--port", str(port), "--out", str(folder), "--at-once", "2"]
    path = os.pathsep.join(sys.path)
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 90
        while not answers(f"http://127.0.0.1:{port}/"):
            assert server.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/", folder
        assert "Traceback" not in (folder / "log").read_text()
    finally:
        server.terminate()
        server.wait(20)


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def click(page: Page, element: str) -> None:
    """Click an element, given as JavaScript, once it is there and enabled: Gradio mounts its parts one by one."""
    page.wait(f"({element}) && !({element}).disabled")
    page.evaluate(f"({element}).click()")


def fill(page: Page, id: str, value: object) -> None:
    """Type into a field of Gradio, which listens to events."""
    page.wait(f"document.querySelector('#{id} input, #{id} textarea')")
    page.evaluate(
        f"(() => {{ const e = document.querySelector('#{id} input, #{id} textarea');"
        "const kind = e.tagName === 'INPUT' ? HTMLInputElement : HTMLTextAreaElement;"
        f"Object.getOwnPropertyDescriptor(kind.prototype, 'value').set.call(e, {json.dumps(str(value))});"
        "for (const event of ['input', 'change']) e.dispatchEvent(new Event(event, {bubbles: true})); e.blur(); })()"
    )


def said(page: Page) -> str:
    return page.evaluate("document.querySelector('#steps').innerText")


def until(page: Page, text: str, seconds: float = 180) -> str:
    end = time.monotonic() + seconds
    while text not in said(page):
        assert time.monotonic() < end and "Error" not in said(page), said(page)
        time.sleep(0.2)
    return said(page)


@in_browser
def test_the_page_end_to_end(site):
    """Wrong input is one line; a real campaign runs, stage by stage, and ends in its report; another one is stopped."""
    address, folder = site
    with browser(CHROMIUM, webgl=False) as page:
        page.open(address, 1280, 900)
        click(page, "[...document.querySelectorAll('button')].find(b => b.innerText.trim().startsWith('How'))")
        page.wait("document.querySelector('#max-steps input')")
        axe = find_axe()
        if axe:
            assert findings(page, axe) == []

        fill(page, "wanted", "Xx-Li")
        click(page, "document.querySelector('#go')")
        page.wait("document.querySelector('#steps .error')")
        line = page.evaluate("document.querySelector('#steps .error').innerText")
        assert line.startswith("Error: ") and "Xx" in line and "\n" not in line

        for id, value in {"wanted": "Ba-Ti-O", "n": 20, "relax": 2, "max-steps": 3}.items():
            fill(page, id, value)
        click(page, "document.querySelector('#go')")
        page.wait("!document.querySelector('#steps .error')")
        assert "Relaxed" in until(page, "Relaxed")
        until(page, "Done: 2 relaxed")
        page.wait(
            "document.querySelector('#outcome iframe')?.contentDocument?.querySelectorAll('#cards .drawing').length"
        )
        inside = "document.querySelector('#outcome iframe').contentDocument"
        assert page.evaluate(f"{inside}.querySelector('#table-count').textContent") == "20 of 20 candidates"
        assert "--elements Ba-Ti-O" in page.evaluate(f"{inside}.querySelector('#command').textContent")
        key = next(f.name for f in folder.iterdir() if (f / "results.csv").is_file())
        for name in app_runs.FILES:
            served = urllib.request.urlopen(f"{address}campaign/{key}/{name}").read()
            assert served == (folder / key / name).read_bytes()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}campaign/{key}/campaign.db")
        assert page.evaluate("document.querySelectorAll('#outcome a[download]').length") == 3

        fill(page, "n", 2000)
        click(page, "document.querySelector('#go')")
        page.wait("document.querySelector('#steps').innerText.includes('Starting')")
        click(page, "document.querySelector('#stop')")
        until(page, "Stopped.", 60)
        page.wait("!document.querySelector('#go').disabled")

        page.theme("dark")
        page.open(address, 390, 844, phone=True)
        page.wait("document.querySelector('#go')")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        if axe:
            assert findings(page, axe) == []
        assert page.problems() == []
        assert [url for url in page.requests() if not url.startswith((address, "ws://127.0.0.1"))] == []
