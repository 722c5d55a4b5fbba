"""The documentation does what it says: every block of every page, in order, in a folder of its own; then the site.

A block is left out only where a comment above it says why: ``<!-- not run: reason -->``. In a console block, lines
after a command are what it prints: each must occur, in that order; ``…`` stands for anything.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from genmat.cli.main import run

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<kind>python|console)\n(?P<text>.*?)^```$", re.M | re.S
)


def blocks(page: str) -> list[tuple[str, str, str | None]]:
    """Kind, text and, for those that are not run, the reason."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return [(found["kind"], found["text"], found["why"]) for found in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_page(page, tmp_path, monkeypatch) -> None:
    found = blocks(page)
    if not any(why is None for _, _, why in found):
        pytest.skip(f"docs/{page}.md: {'; '.join(why for *_, why in found if why) or 'no blocks'}")
    for name in ("docs", "examples", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "200")
    names: dict[str, object] = {"__name__": page}
    for kind, text, why in found:
        if why is None and kind == "python":
            exec(compile(text, f"docs/{page}.md", "exec"), names)
        elif why is None:
            for command, expected in commands(text):
                code, printed = typed(command)
                assert code == 0, f"{command}\n{printed}"
                says(printed, expected, command)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block with the lines it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def typed(command: str) -> tuple[int, str]:
    """Exit code and output: genmat and Python files run in this process, the rest in a shell."""
    words = shlex.split(command)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        if words[0] == "genmat":
            return run(words[1:]), out.getvalue()
        if words[0] == "python":
            before, sys.argv = sys.argv, words[1:]
            try:
                runpy.run_path(words[1], run_name="__main__")
            finally:
                sys.argv = before
            return 0, out.getvalue()
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def says(printed: str, expected: list[str], command: str) -> None:
    """Every expected line occurs after the one before it, white space aside; ``…`` is anything."""
    lines, at = [" ".join(line.split()) for line in printed.splitlines()], 0
    for line in expected:
        if line.strip() == "…":
            continue
        pattern = re.compile(".*".join(map(re.escape, " ".join(line.split()).split("…"))))
        place = next((i for i in range(at, len(lines)) if pattern.fullmatch(lines[i])), None)
        assert place is not None, f"{command}\ndid not print\n{line}\nbut\n{printed}"
        at = place + 1


def test_says_notices() -> None:
    says("a  b\nc", ["a b", "…", "c"], "")
    for wrong in (["b"], ["c", "a b"]):
        with pytest.raises(AssertionError):
            says("a b\nc", wrong, "")


def test_every_reason_is_a_reason() -> None:
    reasons = [why for page in PAGES for *_, why in blocks(page) if why]
    assert all(re.match(r"needs |installs|relaxes |takes ", why) for why in reasons), reasons


def test_pictures_of_the_language_are_the_languages() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "language.py"))["PICTURES"]
    for name, draw in made.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == draw(), f"{name}: run python docs/language.py"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built strictly: a broken link or an unknown name in the Python pages is an error."""
    pytest.importorskip("mkdocs")
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        str(ROOT / "mkdocs.yml"),
        "-d",
        str(out),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=out, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_site_needs_no_other_server(site) -> None:
    loads = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["'](https?:)?//[^"']+["'][^>]*>""")
    for page in site.rglob("*.html"):
        found = [
            m.group(0) for m in loads.finditer(page.read_text(encoding="utf-8")) if 'rel="canonical"' not in m.group(0)
        ]
        assert not found, f"{page.name}: {found[0]}"


def test_site_shows_cards_and_python(site) -> None:
    for path in (*ROOT.glob("models/*/README.md"), *ROOT.glob("data_cards/*.md")):
        kind, name = ("models", path.parent.name) if path.name == "README.md" else ("data", path.stem)
        assert (site / kind / name / "index.html").is_file(), name
    assert "genmat.data.handover.vasp_inputs" in (site / "api" / "index.html").read_text(encoding="utf-8")
