"""The figures a reader of a model card can reproduce at once: its section "Check" prints them, without genmat.

python -m genmat.training.check models/*    # runs every snippet again and renders every card anew
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import yaml

from genmat.errors import GenmatError

SECTION = re.compile(r"## Check\n.*?```python\n(?P<code>.*?)```.*?```text\n(?P<printed>.*?)```", re.S)
UNKNOWN = "(not run yet)"


def write_checked(folder: Path, figures: dict[str, Any], render: Callable[[dict[str, Any]], str]) -> Path:
    """Render a card, run its snippet, and write `README.md` with what it printed, `figures.json` with the same.

    Args:
        render: figures to the card's text; puts ``figures["check"]`` into the section "Check".

    Raises:
        GenmatError: a card without that section, or a snippet that fails: the folder does not run alone.
    """
    code, _ = section(render(figures))
    figures = {**figures, "check": printed(code, folder)}
    (folder / "figures.json").write_text(json.dumps(figures, indent=1, default=float))
    path = folder / "README.md"
    path.write_text(render(figures))
    return path


def section(card: str) -> tuple[str, str]:
    """Snippet and printed text of the section "Check" of a card.

    Raises:
        GenmatError: there is none.
    """
    found = SECTION.search(card)
    if found is None:
        raise GenmatError("card: no section Check with a python and a text block; add it to the template")
    return found["code"], found["printed"]


def printed(code: str, folder: Path) -> str:
    """What a snippet of a card prints, with FOLDER replaced by the folder.

    Raises:
        GenmatError: it fails.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    out = io.StringIO()
    try:
        with redirect_stdout(out):
            exec(compile(alone(code, folder), f"{folder}/README.md", "exec"), {"__name__": "card"})
    except Exception as error:
        raise GenmatError(f"{folder}: the card's check fails ({error}); mend model or card") from error
    return out.getvalue()


def alone(code: str, folder: Path) -> str:
    """The snippet as a program: FOLDER is the folder's path."""
    return re.sub(r"\bFOLDER\b", repr(str(folder.resolve())), code)


def header(tags: Sequence[str], task: str, name: str, results: Sequence[dict[str, Any]] = ()) -> str:
    """YAML header of a card as the Hub reads it: licence, library, task, tags and, where measured, a model index.

    Args:
        results: one per data set: ``dataset`` (name), ``split`` and ``metrics`` (name to value).
    """
    data: dict[str, Any] = {"license": "apache-2.0", "library_name": "transformers", "pipeline_tag": task}
    data["tags"] = ["genmat", "materials-science", *tags]
    if results:
        index = [
            {
                "task": {"type": task},
                "dataset": {"name": r["dataset"], "type": "tabular", "split": r["split"]},
                "metrics": [{"type": key, "value": round(float(x), 4)} for key, x in r["metrics"].items()],
            }
            for r in results
        ]
        data["model-index"] = [{"name": name, "results": index}]
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def main(folders: Sequence[str]) -> None:
    """Render the cards of these folders anew, each with its check measured again."""
    from genmat.training.card import write_card
    from genmat.training.cgat_card import write_cgat_card
    from genmat.training.composition_card import write_composition_card
    from genmat.training.reader_card import write_reader_card

    writers = {"cgat": write_cgat_card, "reader": write_reader_card}
    writers |= dict.fromkeys(("crystal_gpt", "crystal_rnn"), write_card)
    writers |= dict.fromkeys(("composition", "disorder"), write_composition_card)
    for folder in map(Path, folders):
        if (folder / "config.json").is_file():
            kind = json.loads((folder / "config.json").read_text())["model_type"]
            print(writers[kind](folder) if kind in writers else f"{folder}: its card is not made here")


if __name__ == "__main__":
    main(sys.argv[1:])
