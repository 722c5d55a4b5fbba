"""What tables say: a column (or row) that names the property and its unit, and the material of each row.

A column counts when its header names the property, or when the caption begins with it and no header names anything
with a unit. Values take the unit of their header, else the caption's, else their own. Rows without a material of
their own (methods, values of x) belong to the only material the caption names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from genmat.literature.documents import Document
from genmat.literature.materials import Material, find_materials
from genmat.literature.pairing import Pair, abbreviations
from genmat.literature.properties import Property
from genmat.literature.quantities import Condition, Quantity, find_conditions, find_quantities
from genmat.literature.rules import Points
from genmat.literature.tables import Cell, Table, carries_unit, find_tables, is_material, is_number, table_texts
from genmat.literature.text import plain
from genmat.literature.units import NONE, UNIT, Unit, conversion, parse_unit

_CHANGE = re.compile(
    r"Δ|δ(?=\s?E)|\b(?:difference|change|shift|error|deviation|offset|reduction|ratio|MAE|MAPE)s?\b", re.I
)


def find_table_pairs(document: Document, prop: Property) -> list[Pair]:
    """All (material, value) pairs of a property in the tables of a document."""
    if not any(prop.trigger.search(plain(text).text) for text in table_texts(document)):
        return []
    defined = abbreviations(document)
    pairs: dict[tuple[str, float, float | None, int], Pair] = {}
    for table in find_tables(document, defined):
        for pair in _in_table(table, prop, defined):
            pairs.setdefault((pair.material.key, pair.value.value, pair.value.value_max, pair.start), pair)
    return sorted(pairs.values(), key=lambda pair: (pair.page, pair.start))


def _in_table(table: Table, prop: Property, defined: Mapping[str, Material]) -> Iterator[Pair]:
    owner = _material_column(table, defined)
    subject = _subject(table, defined)
    temperature = next((j for j, name in enumerate(table.columns) if re.match(r"T\b[^a-z]*\bK\b", name)), None)
    for j, unit, points in _value_columns(table, prop):
        last: Material | None = None
        for row in table.rows:
            material, standing = _owner(row, owner, subject, last, table, defined)
            last = material if owner is not None else None
            if material is None or j == owner:
                continue
            for value in _values(row[j], unit, prop):
                condition = _condition(table, j, row, temperature)
                yield _pair(table, row, j, material, value, condition, (*points, standing))


def _value_columns(table: Table, prop: Property) -> Iterator[tuple[int, Unit, Points]]:
    """Columns of the property: (place, unit, points)."""
    general = _unit(table.caption, prop)
    named = []
    for j, name in enumerate(table.columns):
        words = prop.names_in(f"{table.caption} {' '.join(table.columns)}").search(name)
        if words is None or _CHANGE.search(name) or _rival(name, prop):
            continue
        unit = _unit(name, prop)
        if unit is NONE and carries_unit(name):
            continue
        named.append((j, unit if unit is not NONE else general, (("column named", 3.2),)))
    if named:
        yield from named
        return
    begins = prop.strict.search(table.caption[:90])
    if begins and general is not NONE and not _rival(table.caption, prop) and not _CHANGE.search(table.caption):
        for j, name in enumerate(table.columns):
            numbers = sum(is_number(row[j].text) for row in table.rows)
            if j and not carries_unit(name) and numbers >= max(2, 0.6 * len(table.rows)):
                yield j, general, (("caption names the column", 2.2),)


def _rival(text: str, prop: Property) -> bool:
    """Whether a text names a rival quantity outside the property's own name."""
    own = [(m.start(), m.end()) for m in prop.trigger.finditer(text)]
    return any(not any(a < m.end() and m.start() < b for a, b in own) for m in prop.rival.finditer(text))


def _unit(text: str, prop: Property) -> Unit:
    """The unit of the property's dimension written in a header or caption: "(eV)", "/ eV", ", in eV"."""
    for match in re.finditer(r"(?:[(\[,/]|\bin|[(\[]in)\s?", text):
        unit = UNIT.match(text, match.end())
        if unit and re.match(r"\s?(?:[)\],;.]|$|for\b|of\b|and\b|calculated\b|at\b|are\b)", text[unit.end() :]):
            found = parse_unit(unit.group())
            if conversion(found.name, prop.unit) is not None:
                return found
    return NONE


def _values(cell: Cell, unit: Unit, prop: Property) -> Iterator[Quantity]:
    """The values of a cell in the property's unit."""
    if not is_number(cell.text):
        return
    found = find_quantities(cell.text)
    for quantity in found if found[0].parts > 1 else found[:1]:
        if not quantity.unit.factors:
            quantity = replace(quantity, unit=unit)
        accepted = prop.accepts(quantity) if quantity.unit.factors else None
        if accepted is not None:
            yield accepted


def _material_column(table: Table, defined: Mapping[str, Material]) -> int | None:
    """The column that names materials: the first in which most filled cells do."""
    for j in range(len(table.columns)):
        filled = [row[j].text for row in table.rows if row[j].text]
        if filled and sum(is_material(text, defined) for text in filled) >= 0.6 * len(filled):
            return j
    return None


def _subject(table: Table, defined: Mapping[str, Material]) -> Material | None:
    """The only material of the caption and the headers."""
    found = [
        m.material for m in find_materials(f"{table.caption} ; {' ; '.join(table.columns)}", defined) if not m.weak
    ]
    return found[0] if found and len({material.key for material in found}) == 1 else None


def _owner(
    row: tuple[Cell, ...],
    column: int | None,
    subject: Material | None,
    last: Material | None,
    table: Table,
    defined: Mapping[str, Material],
) -> tuple[Material | None, tuple[str, float]]:
    """The material of a row and what speaks for it."""
    if column is not None:
        if not row[column].text:
            return last, ("the row above's material", 0.5)
        found = find_materials(row[column].text, defined) if is_material(row[column].text, defined) else []
        return (found[0].material if found else None), ("the row's material", 0.3 if found and found[0].weak else 1.0)
    if subject is None:
        return None, ("", 0.0)
    variable = re.fullmatch(r"([xyz])(?:\s?\(.*\))?", table.columns[0])
    number = find_quantities(row[0].text)
    if variable and number and is_number(row[0].text):
        return subject.at(**{variable.group(1): number[0].value}), ("the series of the caption", 0.6)
    if subject.formula is not None and subject.formula.variables:
        return None, ("", 0.0)
    return subject, ("the caption's material", 0.4)


def _condition(table: Table, j: int, row: tuple[Cell, ...], temperature: int | None) -> Condition | None:
    """The temperature of a column of temperatures, of the header or of the caption."""
    if temperature is not None and temperature != j:
        found = [q for q in find_quantities(row[temperature].text) if not q.unit.factors or q.to("K")]
        if found:
            return Condition("temperature", replace(found[0], unit=parse_unit("K")))
    stated = [c for text in (table.columns[j], table.caption) for c in find_conditions(text) if c.kind == "temperature"]
    return stated[0] if len(stated) == 1 else None


def _pair(
    table: Table, row: tuple[Cell, ...], j: int, material: Material, value: Quantity, condition: Condition | None,
    points: Points,
) -> Pair:  # fmt: skip
    """With its row, under the header, as the sentence."""
    cell = row[j]
    sentence = f"{' | '.join(table.columns)} ; {' | '.join(c.text for c in row)}"
    start, end = min(c.start for c in row), max(c.end for c in row)
    placed = replace(value, start=cell.start, end=cell.end)
    return Pair(
        material, placed, condition, sentence, table.page, cell.start, cell.end, start, end, points, "table"
    )  # fmt: skip
