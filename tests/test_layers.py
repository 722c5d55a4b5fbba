"""The architecture, enforced: who imports whom, how long files get, how fast the import is, what is documented."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "genmat"
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = [
    {"errors", "workers", "crystal", "candidate", "campaign"},
    {"tokenization", "modeling"},
    {"data"},
    {"training", "generation", "screening", "literature", "explore"},
    {"report", "testing"},
    {"cli"},
    {"__main__"},
]
MAX_LINES = 400


def level(room: str) -> int:
    return next(index for index, rooms in enumerate(LAYERS) if room in rooms)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Absolute dotted names of everything `path` imports, at module level or inside functions."""
    found: set[str] = set()
    package = ("genmat", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_downwards(path: Path) -> None:
    own = room_of(path)
    if own == "__init__":  # the front door names the verbs of cli, lazily: test_import_is_instant
        return
    for name in imports(path):
        parts = name.split(".")
        if (
            parts[0] != "genmat"
            or len(parts) < 2
            or (not (PACKAGE / parts[1]).exists() and not (PACKAGE / f"{parts[1]}.py").exists())
        ):
            continue
        other = parts[1]
        assert other == own or level(other) < level(own) or level(other) == level(own) == 0, f"{path}: imports {name}"


def test_every_room_has_a_layer() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms <= set().union(*LAYERS)


def test_modeling_stands_alone() -> None:
    """A checkpoint on the Hub runs without genmat: its code imports torch, transformers with what comes with it, and
    its own folder."""
    allowed = {"torch", "transformers", "huggingface_hub", "safetensors"} | sys.stdlib_module_names
    for path in sorted((PACKAGE / "modeling").rglob("*.py")):
        own = ".".join(("genmat", *path.relative_to(PACKAGE).parts[:-1]))
        for name in imports(path):
            if path.name in ("auto.py", "__init__.py") and name.startswith("genmat.modeling"):
                continue
            assert name.split(".")[0] in allowed or name.startswith(own), f"{path}: imports {name}"


@pytest.mark.parametrize(
    "path",
    [*FILES, *sorted(path for room in ("tests", "benchmarks", "examples") for path in (ROOT / room).rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_file_size(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def public(tree: ast.Module) -> list[ast.AST]:
    """Public functions and classes of a module, and public methods that are not one-line protocol hooks."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    top = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    methods = [
        node
        for owner in top
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")
    ]
    return [*top, *methods]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if path.read_text().strip():
        assert ast.get_docstring(tree), f"{path}: module without docstring"
    missing = [node.name for node in public(tree) if not ast.get_docstring(node)]
    assert not missing, f"{path}: no docstring on {missing}"


def test_import_is_instant() -> None:
    """`import genmat` loads no heavy library, and takes < 0.3 s (best of three: the machine may be busy)."""
    code = (
        "import time, sys; start = time.perf_counter(); import genmat; took = time.perf_counter() - start;"
        "print(took, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    loaded = set(runs[0].stdout.split()[1:])
    heavy = {"torch", "matgl", "pymatgen", "transformers", "chgnet", "pandas", "numpy", "ase", "plotly", "typer"}
    assert not loaded & heavy
    assert min(float(run.stdout.split()[0]) for run in runs) < 0.3
