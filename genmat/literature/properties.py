"""Properties to look for, each a YAML file: name, synonyms, unit, plausible range, rivals, questions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from genmat.errors import GenmatError, did_you_mean
from genmat.literature.quantities import Quantity
from genmat.literature.units import conversion

FOLDER = Path(__file__).parent / "properties"
_KEYS = {"name", "unit", "range", "synonyms", "loose", "symbols", "context", "against", "rivals", "questions"}


@dataclass(frozen=True)
class Property:
    """What is looked for: `synonyms` and `rivals` are regular expressions matched at word boundaries without case,
    `symbols` with case; values are converted to `unit` and must lie in `range`. Rivals are other quantities of the same
    dimension, whose values must not be taken. `loose` names and symbols mean other things elsewhere: they count in
    passages that match `context` (where given) and not `against`. `questions` hold ``{material}`` and ``{value}``.
    """

    name: str
    unit: str
    range: tuple[float, float]
    synonyms: tuple[str, ...]
    loose: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    questions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def strict(self) -> re.Pattern[str]:
        """Finds the names that mean the property wherever they stand."""
        return re.compile(rf"(?<![A-Za-z0-9])(?i:{'|'.join(self.synonyms)})(?![A-Za-z])")

    @cached_property
    def trigger(self) -> re.Pattern[str]:
        """Finds all names and symbols."""
        names = rf"(?i:{'|'.join((*self.synonyms, *self.loose))})(?![A-Za-z])"
        symbols = rf"|(?:{'|'.join(self.symbols)})(?![A-Za-z0-9])" if self.symbols else ""
        return re.compile(rf"(?<![A-Za-z0-9])(?:{names}{symbols})")

    def names_in(self, passage: str) -> re.Pattern[str]:
        """The names that count in a passage: all of them, or the strict ones where others would mislead."""
        wanted = not self.context or any(re.search(word, passage, re.IGNORECASE) for word in self.context)
        misled = any(re.search(word, passage, re.IGNORECASE) for word in self.against)
        return self.trigger if wanted and not misled else self.strict

    @cached_property
    def rival(self) -> re.Pattern[str]:
        """Finds rival quantities."""
        return re.compile(rf"(?<![A-Za-z])(?i:{'|'.join(self.rivals) or '(?!)'})(?![A-Za-z])")

    def accepts(self, quantity: Quantity) -> Quantity | None:
        """The quantity in the property's unit if it can be a value of it, else None."""
        if not quantity.unit.factors or conversion(quantity.unit.name, self.unit) is None:
            return None
        converted = quantity.to(self.unit)
        if converted is None:
            return None
        low, high = self.range
        inside = low <= converted.value <= high and (converted.value_max is None or converted.value_max <= high)
        return converted if inside else None


@cache
def known_properties() -> dict[str, Path]:
    """Names of the shipped properties and their files."""
    return {path.stem.replace("_", " ").lower(): path for path in sorted(FOLDER.glob("*.yaml"))}


def load_property(name: str) -> Property:
    """A property by name ("band gap") or by the path of a YAML file.

    Raises:
        GenmatError: unknown, or a file with unknown or missing keys.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return _read(path)
    wanted = " ".join(re.sub(r"[_-]", " ", name).lower().split())
    known = known_properties()
    if wanted not in known:
        raise GenmatError(did_you_mean(name, known, "property") + "; or give a YAML file")
    return _read(known[wanted])


def _read(path: Path) -> Property:
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise GenmatError(f"{path}: not readable as YAML ({type(error).__name__}); see band_gap.yaml") from error
    if not isinstance(data, dict) or set(data) - _KEYS or not {"name", "unit", "range", "synonyms"} <= set(data):
        keys = set(data) if isinstance(data, dict) else set()
        wrong = ", ".join(sorted(map(str, keys - _KEYS))) or "missing keys"
        raise GenmatError(f"{path}: {wrong}; a property has name, unit, range, synonyms and perhaps {_optional()}")
    lists = {key: tuple(map(str, data.get(key) or ())) for key in _KEYS - {"name", "unit", "range", "questions"}}
    low, high = map(float, data["range"])
    found = Property(str(data["name"]), str(data["unit"]), (low, high), questions=data.get("questions") or {}, **lists)
    try:
        _ = found.trigger, found.strict, found.rival, conversion(found.unit, "K")
    except re.error as error:
        raise GenmatError(f"{path}: a synonym or rival is no regular expression ({error}); escape it") from error
    return found


def _optional() -> str:
    return ", ".join(sorted(_KEYS - {"name", "unit", "range", "synonyms"}))
