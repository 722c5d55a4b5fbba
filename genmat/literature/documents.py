"""A paper as text: pages of characters, and blocks on them that know what part of the paper they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = ("title", "abstract", "body", "caption", "table", "references")


@dataclass(frozen=True)
class Block:
    """A stretch of one page: ``pages[page - 1][start:end]``; `section` is the heading it stands under."""

    kind: str
    page: int
    start: int
    end: int
    section: str = ""


@dataclass(frozen=True)
class Document:
    """A paper that was read, or the reason why not (`failure`); files without pages have one."""

    name: str
    pages: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    failure: str | None = None

    def text(self, block: Block) -> str:
        """The characters of a block, as the file has them."""
        return self.pages[block.page - 1][block.start : block.end]


_HEADINGS = (
    r"abstract|summary|introduction|background|theory|(?:materials? and )?methods?|methodology"
    r"|computational (?:details|methods?)|experimental(?: (?:section|details|methods?|procedures?))?"
    r"|results?(?: and discussions?)?|discussions?|conclusions?|concluding remarks|outlook|acknowledge?ments?"
    r"|author contributions|references(?: and notes)?|bibliography|literature cited"
    r"|supplementary (?:information|materials?)|supporting information|appendix(?: [A-Z0-9])?|figure captions?"
    r"|list of figures|tables"
)
_HEADING = re.compile(
    r"^[ \t]*(?:(?:\d{1,2}|[IVX]{1,4}|[A-H])(?:\.\d{0,2}){0,2}[.)]?[ \t]+)?"
    rf"(?P<name>{_HEADINGS})[ \t]*:?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_RUN_IN = re.compile(
    r"^[ \t]*(?P<name>abstract|introduction)[ \t]*[:.—–-]+[ \t]*(?=[A-Z])", re.IGNORECASE | re.MULTILINE
)
_CAPTION = re.compile(
    r"^[ \t]*(?:FIG\.?|Fig\.?|Figure|FIGURE|Scheme|SCHEME|TABLE|Table|TAB\.?)[ \t]*S?"
    r"(?:\d{1,3}|[IVX]{1,5})[a-z]?[ \t]*[.:|(–—-]",
    re.MULTILINE,
)
_BLANK = re.compile(r"\n[ \t\r]*\n")
_ENTRY = re.compile(r"^[ \t]*(?:\[(\d{1,3})\]|(\d{1,3})[.)]?)[ \t]*(?=[A-Z(])", re.MULTILINE)
_LONGEST_CAPTION = 1500
_LONGEST_ABSTRACT = 2500


def outline(pages: tuple[str, ...]) -> tuple[Block, ...]:
    """Blocks of plain pages (text files, PDF): paragraphs, captions and the reference list apart, headings followed."""
    blocks: list[Block] = []
    section, kind = "", "body"
    listed = _unheaded_references(pages)
    for number, text in enumerate(pages, start=1):
        for start, end, name in _cuts(text):
            if name is not None:
                section = name
                kind = _kind_of(name)
                continue
            for first, last in _paragraphs(text, start, end):
                if listed is not None and (number, last) > listed and kind != "references":
                    section, kind = "references", "references"
                if kind == "abstract" and first - start > _LONGEST_ABSTRACT:
                    kind, section = "body", ""
                blocks.append(Block(_finer(text, first, last, kind), number, first, last, section))
    return tuple(blocks)


def _kind_of(heading: str) -> str:
    name = heading.lower()
    if name in ("abstract", "summary"):
        return "abstract"
    return "references" if name.startswith(("reference", "bibliography", "literature cited")) else "body"


def _cuts(text: str) -> Iterator[tuple[int, int, str | None]]:
    """Stretches between headings, and the headings' names."""
    position = 0
    matches = sorted([*_HEADING.finditer(text), *_RUN_IN.finditer(text)], key=lambda m: m.start())
    for match in matches:
        if match.start() < position:
            continue
        yield position, match.start(), None
        yield match.start(), match.end(), match["name"]
        position = match.end()
    yield position, len(text), None


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs of a stretch: at blank lines, and where a caption begins."""
    marks = [m.end() for m in _BLANK.finditer(text, start, end)] + [
        m.start() for m in _CAPTION.finditer(text, start, end)
    ]
    for first, last in zip([start, *sorted(set(marks))], [*sorted(set(marks)), end], strict=True):
        stripped = text[first:last].strip()
        if stripped:
            begin = first + text[first:last].index(stripped[0])
            yield begin, begin + len(stripped)


def _finer(text: str, start: int, end: int, kind: str) -> str:
    if kind == "references":
        return kind
    caption = _CAPTION.match(text, start)
    if caption and end - start <= _LONGEST_CAPTION:
        return "caption"
    return kind


def _unheaded_references(pages: tuple[str, ...]) -> tuple[int, int] | None:
    """Where a numbered reference list without a heading begins: entries 1, 2, 3, 4 … in the second half."""
    total = sum(map(len, pages))
    passed, wanted = 0, 1
    first: tuple[int, int] | None = None
    for number, text in enumerate(pages, start=1):
        for match in _ENTRY.finditer(text):
            if passed + match.start() < 0.4 * total:
                continue
            entry = int(match[1] or match[2])
            if entry == 1:
                first, wanted = (number, match.start()), 2
            elif entry == wanted:
                wanted += 1
                if wanted > 8:
                    return first
        passed += len(text)
    return None
