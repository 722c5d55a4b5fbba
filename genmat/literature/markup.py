"""JATS, Elsevier XML and HTML: text of the parts of a paper, without expanding entities and without the network."""

from __future__ import annotations

import re
from typing import Any

from genmat.errors import GenmatError
from genmat.literature.documents import Block

_SKIPPED_TAGS = """
script style noscript nav footer svg iframe button form template object-id journal-meta contrib-group aff
permissions author-notes kwd-group tex-math annotation annotation-xml graphic media objects cross-refs coredata
"""
_SKIPPED = frozenset(_SKIPPED_TAGS.split())
_REFERENCES = frozenset("ref-list bibliography tail-references bib-reference ref references reference-list".split())  # noqa: SIM905
_CAPTIONS = frozenset("caption figcaption fig figure table-wrap-foot".split())  # noqa: SIM905
_TITLES = frozenset("article-title title h1".split())  # noqa: SIM905
_HEADINGS = frozenset("title section-title h2 h3 h4 h5 h6 label".split())  # noqa: SIM905
_PARAGRAPHS = frozenset("p para simple-para li abstract-sec".split())  # noqa: SIM905
_TABLES = frozenset("table tgroup".split())  # noqa: SIM905
_DEEPEST = 200


def parse_markup(data: bytes, html: bool) -> tuple[str, tuple[Block, ...]]:
    """(text, blocks) of an XML or HTML document.

    Raises:
        GenmatError: no element could be read.
    """
    from lxml import etree

    kind = etree.HTMLParser if html else etree.XMLParser
    options: dict[str, Any] = {"recover": True, "no_network": True, "remove_comments": True, "remove_pis": True}
    if not html:
        options |= {"resolve_entities": False, "load_dtd": False, "dtd_validation": False, "huge_tree": False}
    try:
        root = etree.fromstring(data, kind(**options))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise GenmatError(f"not readable as {'HTML' if html else 'XML'}: {error}") from error
    if root is None:
        raise GenmatError(f"no element of {'HTML' if html else 'XML'} in it")
    writer = _Writer()
    writer.walk(root, "body", "", 0)
    if not any(block.kind in ("body", "abstract", "title") for block in writer.blocks):
        writer.whole(root)
    return writer.text, tuple(writer.blocks)


class _Writer:
    """Collects paragraphs in document order; `text` grows, blocks point into it."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.blocks: list[Block] = []

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def walk(self, element: Any, kind: str, section: str, depth: int) -> None:
        name = _name(element)
        if name in _SKIPPED or not name or depth > _DEEPEST:
            return
        kind = _inner(element, name, kind)
        if name in _TITLES and depth < 12 and (name != "title" or not self.blocks) and kind != "references":
            self._add(
                "title" if not any(b.kind == "title" for b in self.blocks) else "heading", _words(element), section
            )
            return
        if name in _TABLES:
            for caption in (child for child in element if _name(child) == "caption"):
                self._add(kind if kind == "references" else "caption", _words(caption), section)
            self._add("references" if kind == "references" else "table", _rows(element), section)
            return
        if name in _PARAGRAPHS or (
            kind == "references" and name in ("mixed-citation", "element-citation", "reference")
        ):
            self._add(kind, _words(element), section)
            return
        self._children(element, kind, section, depth)

    def _children(self, element: Any, kind: str, section: str, depth: int) -> None:
        """Descend; loose text among block children is a paragraph of its own."""
        if kind == "caption" and not any(
            _name(child) in _PARAGRAPHS | _TABLES | _CAPTIONS for child in element.iter() if child is not element
        ):
            self._add(kind, _words(element), section)
            return
        loose = [element.text or ""]
        for child in element:
            name = _name(child)
            if name in _HEADINGS and depth:
                section = _words(child)[:120] or section
                kind = "references" if re.match(r"(?:references|bibliography)\b", section, re.IGNORECASE) else kind
            elif name in _INLINE:
                loose.append(_words(child))
            else:
                self._add(kind, " ".join(loose), section)
                loose = []
                self.walk(child, kind, section, depth + 1)
            loose.append(child.tail or "")
        self._add(kind, " ".join(loose), section)

    def whole(self, root: Any) -> None:
        """All text of a document whose structure says nothing."""
        self._add("body", _words(root), "")

    def _add(self, kind: str, text: str, section: str) -> None:
        text = re.sub(r"\s+", " ", text).strip()
        if len(text) < 2 or kind == "heading":
            return
        self.blocks.append(Block(kind, 1, self._length, self._length + len(text), section))
        self._parts += [text, "\n\n"]
        self._length += len(text) + 2


_INLINE_TAGS = """
a b i em strong span sub sup italic bold sc xref ext-link inf hsp small cross-ref cross-out u tt font math inline-
formula named-content styled-content
"""
_INLINE = frozenset(_INLINE_TAGS.split())


def _name(element: Any) -> str:
    """Local tag name; empty for comments, entities and processing instructions."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def _inner(element: Any, name: str, kind: str) -> str:
    label = f"{element.get('class') or ''} {element.get('id') or ''} {element.get('sec-type') or ''}".lower()
    if name in _REFERENCES or re.search(r"\b(?:references?|bibliography|ref-list|reflist)\b", label):
        return "references"
    if name == "abstract" or re.search(r"\babstract\b", label):
        return "abstract"
    return "caption" if name in _CAPTIONS and kind != "references" else kind


def _words(element: Any, depth: int = 0) -> str:
    """Text of an element; subscripts are joined, superscripts of numbers become powers (``^``)."""
    name = _name(element)
    if name in _SKIPPED or depth > _DEEPEST:
        return ""
    parts = [element.text or ""] if name else []
    for child in element:
        inner = _words(child, depth + 1)
        if _name(child) in ("sup", "superscript") and re.fullmatch(r"\s*[-−–+]?\s*\d+\s*", inner):
            inner = "^" + inner.strip()
        elif _name(child) in ("sub", "inf"):
            inner = inner.strip()
        elif _name(child) in ("p", "br", "td", "th", "tr", "li", "div", "title"):
            inner = f" {inner} "
        parts += [inner, child.tail or ""]
    return "".join(parts)


_WIDEST = 60
"""Cells of the widest row, and the longest span followed."""


def _rows(element: Any) -> str:
    """A table, its rows set apart by semicolons and cells by bars; a cell that spans others is repeated in each."""
    rows: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}
    for row in element.iter():
        if _name(row) not in ("tr", "row"):
            continue
        cells: list[str] = []
        for cell in (child for child in row if _name(child) in ("td", "th", "entry")):
            _hang(cells, below)
            text = re.sub(r"\s+", " ", _words(cell)).strip().replace("|", "¦").replace(" ; ", "; ")
            for _ in range(_across(cell)):
                if _down(cell) > 1:
                    below[len(cells)] = (_down(cell) - 1, text)
                cells.append(text)
        _hang(cells, below)
        rows.append(cells[:_WIDEST])
    return " ; ".join(" | ".join(cells) for cells in rows)


def _hang(cells: list[str], below: dict[int, tuple[int, str]]) -> None:
    """Fill the places of cells that hang down from earlier rows."""
    while len(cells) in below and len(cells) < _WIDEST:
        left, text = below.pop(len(cells))
        if left > 1:
            below[len(cells)] = (left - 1, text)
        cells.append(text)


def _across(cell: Any) -> int:
    """Columns a cell spans: HTML's colspan, or CALS' names "col2" to "col4"."""
    first, last = (re.search(r"\d{1,2}$", cell.get(name) or "") for name in ("namest", "nameend"))
    if first and last:
        return min(max(int(last.group()) - int(first.group()) + 1, 1), _WIDEST)
    return _number(cell.get("colspan"), 1)


def _down(cell: Any) -> int:
    """Rows a cell spans: HTML's rowspan, or one more than CALS' morerows."""
    return _number(cell.get("rowspan"), 1) if cell.get("rowspan") else _number(cell.get("morerows"), 0) + 1


def _number(text: str | None, default: int) -> int:
    return min(max(int(text), 1), _WIDEST) if text and re.fullmatch(r"\d{1,4}", text) else default
