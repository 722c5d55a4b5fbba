"""Tables of a paper as grids of cells: those of XML and HTML, and those a PDF or text file has as lines.

A text layer keeps a table in one of two ways: a line per row, its cells apart by wide gaps, or a line per cell. The
second is cut into rows where a material stands, and kept only where rows of one length repeat under a header of that
length: a table that lost cells on the way is left out rather than read askew.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from genmat.literature.documents import Document
from genmat.literature.materials import Material, find_materials
from genmat.literature.quantities import find_quantities
from genmat.literature.text import plain
from genmat.literature.units import UNIT

LONGEST = 160
"""Lines read behind the caption of a table in a text."""


@dataclass(frozen=True)
class Cell:
    """The characters ``[start:end]`` of a page, made plain."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Table:
    """A grid on one page: `columns` are the headers' words, one per column; every row has as many cells."""

    page: int
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def find_tables(document: Document, defined: Mapping[str, Material] | None = None) -> Iterator[Table]:
    """All tables of a document that could be made into grids; `defined` are the paper's own abbreviations."""
    for place, block in enumerate(document.blocks):
        if block.kind == "table":
            before = document.blocks[place - 1] if place else None
            caption = document.text(before) if before is not None and before.kind == "caption" else ""
            grid = _of_markup(document.text(block), block.start)
            yield from _tables(block.page, plain(caption).text, grid, defined)
    for page, text in enumerate(document.pages, start=1):
        for match in _TITLE.finditer(text):
            yield from _of_lines(page, text, match.start(), defined)


def table_texts(document: Document) -> Iterator[str]:
    """What stands in the tables of a document and their captions, unread: to see whether reading them is worth it."""
    for place, block in enumerate(document.blocks):
        if block.kind == "table":
            yield " ".join(document.text(b) for b in document.blocks[max(place - 1, 0) : place + 1])
    for text in document.pages:
        for match in _TITLE.finditer(text):
            yield text[match.start() : match.start() + 4000]


def _of_markup(text: str, start: int) -> list[list[Cell]]:
    """The grid of a table as `genmat.literature.markup` writes it."""
    grid, at = [], start
    for row in text.split(" ; "):
        cells, place = [], at
        for part in row.split("|"):
            cells.append(_cell(part, place))
            place += len(part) + 1
        grid.append(cells)
        at += len(row) + 3
    return grid


def _cell(text: str, start: int) -> Cell:
    stripped = text.strip()
    start += text.index(stripped) if stripped else 0
    return Cell(" ".join(plain(stripped).text.split()), start, start + len(stripped))


def _tables(
    page: int, caption: str, grid: Sequence[Sequence[Cell]], defined: Mapping[str, Material] | None
) -> Iterator[Table]:
    """The table of a grid: rows before the first with a number behind its first cell are the header."""
    rows = [row for row in grid if any(cell.text for cell in row)]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    rows = [row for row in rows if len(row) == width]
    first = next((i for i, row in enumerate(rows) if any(is_number(cell.text) for cell in row[1:])), len(rows))
    if width < 2 or not first < len(rows):
        return
    header, body = rows[:first] or [rows[0]], rows[max(first, 1) :]
    columns = tuple(" ".join(dict.fromkeys(row[j].text for row in header if row[j].text)) for j in range(width))
    table = Table(page, caption, columns, tuple(map(tuple, body)))
    materials = [is_material(name, defined) for name in columns[1:]]
    if sum(materials) > len(materials) / 2 and not any(is_material(row[0].text, defined) for row in body):
        yield _transposed(table, [row for row in header if is_material(row[-1].text, defined)] or header)
    else:
        yield table


def _transposed(table: Table, header: Sequence[Sequence[Cell]]) -> Table:
    """A table with materials along its top, turned so that each has a row."""
    columns = ("", *(row[0].text for row in table.rows))
    rows = [(header[0][j], *(row[j] for row in table.rows)) for j in range(1, len(table.columns))]
    return Table(table.page, table.caption, columns, tuple(rows))


_TITLE = re.compile(
    r"^[ \t]*(?:TABLE|Table|TAB\.|Tab\.)[ \t]*S?(?:\d{1,2}|[IVX]{1,5})\b(?:[ \t]*[.:|–—-]|[ \t]*$|[ \t]+(?=[A-Z]))",
    re.MULTILINE,
)
_NEXT = re.compile(r"\s*(?:TABLE|Table|FIG|Fig|Scheme)\w*\.?\s*S?(?:\d{1,2}|[IVX]{1,5})\b")
_GAP = re.compile(r"[ ]{2,}|\t|\s\|\s")


def _of_lines(page: int, text: str, start: int, defined: Mapping[str, Material] | None) -> Iterator[Table]:
    """The table under a caption in running text."""
    lines = [_cell(m.group(), m.start()) for m in re.finditer(r"[^\n]+", text[start : start + 12000])]
    lines = [Cell(line.text, start + line.start, start + line.end) for line in lines if line.text][:LONGEST]
    body = next((i for i in range(1, len(lines)) if _begins(lines, i)), len(lines))
    caption = " ".join(line.text for line in lines[:body])
    kept = lines[body : _ends(lines, body)]
    split = [[_cell(part, line.start + at) for part, at in _parts(text, line)] for line in kept]
    if sum(len(row) > 1 for row in split) > len(split) / 2:
        yield from _tables(page, caption, split, defined)
    elif sum(_row(line, defined) is not None for line in kept) > 1:
        yield from _of_rows(page, caption, kept, text, defined)
    elif sum(len(line.text) <= 30 for line in kept) > 0.8 * len(kept):
        yield from _of_cells(page, caption, kept, defined)


def _begins(lines: Sequence[Cell], place: int) -> bool:
    """Whether the caption has ended before a line: neither it nor one of the next few lines is prose."""
    return not any(_is_prose(line.text) for line in lines[place : place + 4])


def _ends(lines: Sequence[Cell], body: int) -> int:
    """The first line behind a table: prose, another caption, or long lines in a row where the table has short ones."""
    cells = sum(len(line.text) <= 30 for line in lines[body : body + 10]) > 8
    for place in range(body, len(lines)):
        following = lines[place : place + 2]
        if _NEXT.match(lines[place].text) or _is_prose(lines[place].text):
            return place
        if cells and all(len(line.text) > 40 for line in following):
            return place
    return len(lines)


def _is_prose(line: str) -> bool:
    return len(line) > 45 and len(re.findall(r"(?<![A-Za-z])[a-z]{2,}(?![A-Za-z])", line)) > 5


def _parts(text: str, line: Cell) -> Iterator[tuple[str, int]]:
    """Cells of a line with wide gaps, and where in it they begin."""
    source = text[line.start : line.end]
    done = 0
    for gap in _GAP.finditer(source):
        yield source[done : gap.start()], done
        done = gap.end()
    yield source[done:], done


def _of_cells(
    page: int, caption: str, cells: Sequence[Cell], defined: Mapping[str, Material] | None
) -> Iterator[Table]:
    """A table that lost its lines: one cell after the other."""
    starts = {i for i, cell in enumerate(cells) if is_material(cell.text, defined)}
    if len(starts) < 2:
        return
    if min(starts) + 1 in starts:
        turned = list(_of_columns(page, caption, cells, starts))
        yield from turned
        starts = {i for i in starts if i > _run(starts)[-1]}  # else labels over the columns
        if turned or len(starts) < 2:
            return
    top = cells[: min(starts)]
    for width in sorted(range(2, 13), key=lambda width: -len(_cut(cells, starts, width))):
        rows = _cut(cells, starts, width)
        header = _headers(top, width) if len(rows) > 1 else None
        if header is not None and len(rows) * sum(is_material(c.text, defined) for c in rows[0]) >= len(starts) / 2:
            yield Table(page, caption, header, tuple(rows))
            return
    yield from _of_groups(page, caption, cells, sorted(starts))


def _of_groups(page: int, caption: str, cells: Sequence[Cell], starts: Sequence[int]) -> Iterator[Table]:
    """Several rows of numbers under each material."""
    for width in range(3, 10):
        header = _headers(cells[: starts[0]], width)
        if header is None:
            continue
        rows = []
        for start, end in zip(starts, [*starts[1:], len(cells)], strict=True):
            for place in range(start + 1, end - width + 2, width - 1):
                rows.append((cells[start], *cells[place : place + width - 1]))
        kept = [row for row in rows if all(_fits(cell.text) for cell in row[1:])]
        if len(kept) > max(len(starts), 0.7 * len(rows)):
            yield Table(page, caption, header, tuple(kept))
            return


def _cut(cells: Sequence[Cell], starts: set[int], width: int) -> list[tuple[Cell, ...]]:
    """The rows of `width` cells that begin at a material and end where the next does, alike column by column."""
    rows, place = [], min(starts)
    pattern = [place + j in starts for j in range(width)]  # which columns hold materials
    while place + width <= len(cells):
        behind = place + width
        alike = pattern == [place + j in starts for j in range(width)]
        if alike and (behind in starts or behind > max(starts)):
            rows.append(tuple(cells[place:behind]))
            place = behind
        else:
            place += 1
    numbers = [sum(is_number(row[j].text) for row in rows) > len(rows) / 2 for j in range(width)]
    if not any(numbers):
        return []
    return [
        row for row in rows
        if all(is_number(c.text) == number or _EMPTY.fullmatch(c.text) for c, number in zip(row, numbers, strict=True))
    ]  # fmt: skip


def _headers(cells: Sequence[Cell], width: int) -> tuple[str, ...] | None:
    """The headers of `width` columns: units on lines of their own go to what they belong to, the corner may be empty.

    What stands before them is the caption's last words, if it ends a sentence; any other number of cells is refused.
    """
    ends = next((i for i in (1, 0) if len(cells) > i + 1 and re.search(r"[a-z]{4}\S?\.$", cells[i].text)), -1)
    names: list[str] = []
    units: list[str] = []
    for cell in cells[ends + 1 :]:
        if re.fullmatch(r"[(\[][^()]*[)\]]", cell.text):
            units.append(cell.text)
            continue
        names = _with_units(names, units)
        units = []
        if names and re.match(r"[a-z]{3}", cell.text) and not names[-1].endswith(")"):
            names[-1] += f" {cell.text}"  # "Band" over "gap"
        else:
            names.append(cell.text)
    names = _with_units(names, units)
    names = ["", *names] if len(names) == width - 1 else names
    return tuple(names) if len(names) == width else None


def _with_units(names: list[str], units: list[str]) -> list[str]:
    """The last names, each with its unit."""
    if len(units) > len(names):
        return names
    bare = len(names) - len(units)
    return names[:bare] + [f"{name} {unit}" for name, unit in zip(names[bare:], units, strict=True)]


def _run(starts: set[int]) -> list[int]:
    """The places that follow on the first without a gap."""
    run = [min(starts)]
    while run[-1] + 1 in starts:
        run.append(run[-1] + 1)
    return run


def _of_columns(page: int, caption: str, cells: Sequence[Cell], starts: set[int]) -> Iterator[Table]:
    """Materials one after the other, then each quantity's name and as many values."""
    run = _run(starts)
    columns, values = [""], []
    for place in range(run[-1] + 1, len(cells) - len(run)):
        behind = cells[place + 1 : place + 1 + len(run)]
        ended = place + 1 + len(run) == len(cells) or not is_number(cells[place + 1 + len(run)].text)
        if (
            re.search(r"[A-Za-zα-ω]", cells[place].text)
            and not is_number(cells[place].text)
            and ended
            and all(_fits(cell.text) for cell in behind)
        ):
            columns.append(cells[place].text)
            values.append(behind)
    if len(run) > 1 and values:
        rows = tuple((cells[at], *(row[j] for row in values)) for j, at in enumerate(run))
        yield Table(page, caption, tuple(columns), rows)


def _row(line: Cell, defined: Mapping[str, Material] | None) -> tuple[str, list[str]] | None:
    """(material, numbers) of a line that begins with a material and ends with numbers."""
    words = line.text.split(" ")
    first = next((i for i, word in enumerate(words) if is_number(word)), 0)
    name = " ".join(words[:first])
    if not name or carries_unit(line.text) or not is_material(name, defined):
        return None
    return name, [q.raw for q in find_quantities(" ".join(words[first:]))]


def _of_rows(
    page: int, caption: str, lines: Sequence[Cell], text: str, defined: Mapping[str, Material] | None
) -> Iterator[Table]:
    """A table with a line per row and no gaps: a material, then as many numbers as headers carry units."""
    rows: list[tuple[Cell, ...]] = []
    header = ""
    for line in lines:
        found = _row(line, defined)
        if found is None:
            header += "" if rows else f" {line.text}"
            continue
        rows.append((_place(text, line, found[0]), *(_place(text, line, raw) for raw in found[1])))
    names = [" ".join(m.group().split()) for m in re.finditer(r"[^()\[\]]*[(\[][^()\[\]]*[)\]]", header)]
    kept = tuple(row for row in rows if len(row) == len(names) + 1)
    if names and len(kept) > len(rows) / 2:
        yield Table(page, caption, ("", *names), kept)


def _place(text: str, line: Cell, part: str) -> Cell:
    """A part of a line as a cell; the whole line where the part is spelled differently in the source."""
    at = text.find(part, line.start, line.end)
    return Cell(part, at, at + len(part)) if at >= 0 else Cell(part, line.start, line.end)


_EMPTY = re.compile(r"[-–−—.…/*\s]*|n\.?/?a\.?|none|not (?:measured|reported)|metal(?:lic)?", re.IGNORECASE)
_REMARK = r"(?:\s?[(\[][^()\[\]]{0,24}[)\]])*"
_TRAIL = re.compile(rf"{_REMARK}\s?(?:[a-z]{{1,2}}(?:,[a-z])*|[*†‡§]+|%)?{_REMARK}\s?", re.IGNORECASE)


def is_number(text: str) -> bool:
    """Whether a cell is a value: a number (with error, range, unit), perhaps with a remark or the mark of a note."""
    found = find_quantities(text[:80])
    if not found or found[0].start > 2 + len(found[0].qualifier):
        return False
    return _TRAIL.fullmatch(text, found[-1].end if found[-1].parts > 1 else found[0].end) is not None


def _fits(text: str) -> bool:
    return is_number(text) or _EMPTY.fullmatch(text) is not None


def carries_unit(text: str) -> bool:
    """Whether a header has a unit in brackets."""
    return any(UNIT.fullmatch(match.group(1).strip()) for match in re.finditer(r"[(\[]([^()\[\]]+)[)\]]", text))


def is_material(text: str, defined: Mapping[str, Material] | None = None) -> bool:
    """Whether a cell names a material and little else."""
    if len(text) > 60 or is_number(text) or carries_unit(text):
        return False
    found = find_materials(text, defined)
    if not found or found[0].start > 1:
        return False
    letters = len(re.sub(r"[^A-Za-z]", "", re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", text)))
    named = sum(len(re.sub(r"[^A-Za-z]", "", text[m.start : m.end])) for m in found)
    return named >= 0.6 * letters and (not found[0].weak or named == letters)
