"""Cards of models and data as pages of the site: they live beside what they describe and are not copied by hand."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``models/NAME.md`` and ``data/NAME.md``; the table of them goes into cards.md."""
    for path in sorted(ROOT.glob("models/*/README.md")):
        files.append(File.generated(config, f"models/{path.parent.name}.md", content=_body(path)))
    for path in sorted(ROOT.glob("data_cards/*.md")):
        files.append(File.generated(config, f"data/{path.name}", content=_body(path)))
    return files


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """Lists of the cards in place of the two comments of cards.md."""
    for kind in ("models", "data"):
        names = sorted(Path(f.src_uri).stem for f in files if f.src_uri.startswith(f"{kind}/"))
        markdown = markdown.replace(f"<!-- {kind} -->", "\n".join(f"- [{n}]({kind}/{n}.md)" for n in names))
    return markdown


def _body(path: Path) -> str:
    """A card without its header, which is for the Hub."""
    return path.read_text(encoding="utf-8").split("---\n", 2)[2].lstrip()
