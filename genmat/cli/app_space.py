"""The files of a Hugging Face Space that shows `genmat app`."""

from __future__ import annotations

from pathlib import Path

from genmat import __version__
from genmat.errors import GenmatError

README = """---
title: genmat
emoji: 💎
colorFrom: green
colorTo: gray
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
license: apache-2.0
short_description: New inorganic crystals from elements or a formula
---

# genmat

Ask for a chemical system or a formula. A language model spells crystals, CHGNet relaxes the promising ones, a convex
hull of the same potential ranks them, and a report shows them. Energies come from a machine-learned potential: confirm
a candidate with density functional theory before acting on it.
"""
APP = '''"""genmat as a Space: one page, one campaign at a time."""

from genmat.cli.app_page import serve

serve("campaigns", host="0.0.0.0", port=7860, most={most}, at_once=1)
'''


def write_space(folder: Path, most: int) -> list[Path]:
    """Write README.md (with the front matter the Hub reads), app.py and requirements.txt; returns their paths.

    Raises:
        GenmatError: `folder` cannot be written.
    """
    texts = {
        "README.md": README.format(gradio=_gradio()),
        "app.py": APP.format(most=most),
        "requirements.txt": f"genmat[app]=={__version__}\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise GenmatError(f"{folder}: cannot write the Space ({error.strerror}); choose another folder") from None
    return [folder / name for name in texts]


def _gradio() -> str:
    """Version of gradio the Hub should install: the one here, else the first the page is written for."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gradio")
    except PackageNotFoundError:
        return "6.0.0"
