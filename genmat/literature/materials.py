"""Materials in running text: formulas, names, abbreviations (general or defined in the paper), dopants, composites."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from genmat.crystal.composition import ELEMENTS
from genmat.literature.formulas import AMOUNT, Formula, parse_formula
from genmat.literature.units import UNIT
from genmat.literature.vocabulary import ELEMENT_NAMES, NAME, formula_of_name, listed, vocabulary


@dataclass(frozen=True)
class Material:
    """A substance: its name as written, its formula where that is known, what it is doped with.

    `kind` says how it was recognised: "formula", "name", "abbreviation", "composite", "label" (a capital word that
    might be a sample's name) or "reagent" (a gas, solvent or salt that is hardly the subject).
    """

    name: str
    formula: Formula | None = None
    dopants: tuple[str, ...] = ()
    kind: str = "formula"
    series: str = ""
    """Name of the series this is a member of, where a variable was put in."""

    @property
    def key(self) -> str:
        """Equal for the same substance: composition, or lower-case name where there is none, and dopants."""
        base = self.formula.key if self.formula and self.kind != "composite" else _squash(self.name)
        return base + "".join(f":{element}" for element in sorted(self.dopants))

    def at(self, **values: float) -> Material:
        """A member of a series, its variables replaced."""
        if self.formula is None or not set(values) & self.formula.variables:
            return self
        formula = self.formula.at(**values)
        return replace(self, name=formula.text, formula=formula, series=self.name)


@dataclass(frozen=True)
class Mention:
    """A material at ``text[start:end]``."""

    start: int
    end: int
    material: Material

    @property
    def weak(self) -> bool:
        """Perhaps no material of interest: a sample label or a reagent."""
        return self.material.kind in ("label", "reagent")


def _squash(name: str) -> str:
    return re.sub(r"[\s\-–−_]+", "", name).lower()


_EL = "|".join(sorted(ELEMENTS, key=len, reverse=True))
_ION = "|".join(sorted(map(re.escape, vocabulary()["ions"]), key=len, reverse=True))
_PIECE = rf"(?:{_ION}|{_EL}|[(\[])(?:{AMOUNT})?(?:[)\]](?:{AMOUNT})?)*[,/]?"
FORMULA = re.compile(rf"(?<![A-Za-z0-9])(?:{_PIECE})+(?:[·•]\d?(?:{_PIECE})+)?(?![a-z])")
_SPACED = re.compile(
    rf"(?<![A-Za-z0-9])(?:\(?(?:(?:{_EL})\)?)+\s?(?:{AMOUNT})\s?(?={_EL}|\(|[^\w]"
    rf"|$))+(?:(?:{_EL})(?:\s?{AMOUNT})?)*(?![A-Za-z0-9])"
)
_LABEL = re.compile(
    r"(?<![A-Za-z0-9.])[A-Z][A-Za-z0-9]{0,8}(?:[-–:][A-Za-z0-9]{1,8}){0,2}(?:\s?nanotubes)?(?![A-Za-z0-9])"
)
_CHARGE = re.compile(
    r"\^?\(?\d?[+−](?![A-Za-z0-9])|\^\d*[-−+]|[-–](?:edge|site|vacanc|atom|ion|rich|poor|deficien|terminat|bond|face)"
)
_ROLE = re.compile(
    r"[- ](?:atoms?|ions?|cations?|anions?|sites?|vacanc\w+|content|concentrations?|dop\w+|impurit\w+"
    r"|substitut\w+|states?|orbitals?"
    r"|[1-6][spdf]\b|K\b|L\b|M\b|edges?|bonds?|layers? of|sublattices?|planes?|spins?|moments?|rich|poor"
    r"|based|free|source|lines?"
    r"|\(?[IVX]+\)|interstitials?|intercalat\w+|deficien\w+|codop\w+|alloying|additions?|contacts?"
    r"|electrodes?|foils?|substrates?)"
)
_DOPED = re.compile(
    rf"((?:(?:{_EL})(?:[\d.]+)?(?:\s?%)?(?:\s?[,/&+]\s?|\s?and\s|-)?){{1,3}}"
    rf"|[A-Za-z]+)[- ](?:co-?)?(?:doped|substituted|alloyed|implanted)[- ]"
    r"(?:(?:rutile|anatase|bulk|monolayer|nanocrystalline)\s)?$"
)
_PREFIX = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:[αβγδεκθηλ]'?|[acghmnoprtwikzlsd]|[1-9]{1,2}[HTRCM]'?|[HTR]|ZT|SO|Td|1T|2H|T'"
    r"|nano|poly|bulk|meso|fcc|bcc|hcp|zb|wz|nc|μc)[-–]"
    r"|(?:anatase|rutile|brookite|monolayer|bilayer|trilayer|few-layer|multilayer|bulk|wurtzite"
    r"|zincblende|zinc-blende|cubic|tetragonal"
    r"|orthorhombic|hexagonal|monoclinic|rhombohedral|amorphous|pristine|pure|undoped|strained"
    r"|nanocrystalline|single-layer)\s)$",
    re.IGNORECASE,
)
_HOST_DOPANT = re.compile(rf"\s?:\s?((?:{_EL}))(?:\d?[+−]|\^\d?[+−]?)?(?![A-Za-z0-9])")
_JOINT = re.compile(r"\s?[/@]\s?|[–-]|\s–\s")


def find_materials(text: str, defined: Mapping[str, Material] | None = None) -> list[Mention]:
    """All materials of a cleaned text in reading order, none overlapping.

    `defined` are abbreviations the paper itself introduces (`find_definitions`); they go before the general ones.

    >>> [m.material.name for m in find_materials("Mn-doped GaAs and MAPI, not TiO2/ZnO")]
    ['Mn-doped GaAs', 'MAPI', 'TiO2/ZnO']
    """
    defined = defined or {}
    found = [*_defined(text, defined), *_formulas(text), *_names(text), *_labels(text, defined)]
    taken: list[Mention] = []
    occupied = bytearray(len(text))
    rank = {"formula": 0, "name": 0, "abbreviation": 0, "reagent": 1, "label": 2}
    for mention in sorted(found, key=lambda m: (rank.get(m.material.kind, 1), m.start - m.end, m.start)):
        if not any(occupied[mention.start : mention.end]):
            occupied[mention.start : mention.end] = b"\1" * (mention.end - mention.start)
            taken.append(mention)
    dressed: list[Mention] = []
    for mention in (_dressed(text, mention) for mention in sorted(taken, key=lambda m: m.start)):
        if dressed and mention.start < dressed[-1].end:
            dressed.pop()  # "rutile" before "TiO2" is part of the name
        dressed.append(mention)
    return _joined(text, dressed)


def _formulas(text: str) -> list[Mention]:
    found = []
    for pattern in (FORMULA, _SPACED):
        for match in pattern.finditer(text):
            found += _formula(text, match.start(), match.group(), spaced=pattern is _SPACED)
    return found


def _formula(text: str, start: int, written: str, spaced: bool) -> list[Mention]:
    """The formula at `start`, or the formulas: "TiO2/ZnO" and "GaAs,InAs" are two."""
    written = written.rstrip(",/([ ")
    while written.count("(") < written.count(")"):
        written = written[: written.rindex(")")].rstrip(",/")
    if written.count("(") > written.count(")"):
        if written.startswith("("):
            start, written = start + 1, written[1:]
        elif ")" not in written[written.rindex("(") :]:
            written = written[: written.rindex("(")].rstrip()
    mention = _formula_at(text, start, written, spaced)
    if mention is not None:
        return [mention]
    cut = re.search(r"[,/](?![^(]*\))", written)
    if cut is None:
        return []
    left, right = written[: cut.start()], written[cut.end() :]
    return [*_formula(text, start, left, spaced), *_formula(text, start + cut.end(), right, spaced)]


def _formula_at(text: str, start: int, written: str, spaced: bool) -> Mention | None:
    if written.startswith("(") and written.endswith(")") and parse_formula(written[1:-1]):
        start, written = start + 1, written[1:-1]  # a formula in brackets, not a bracketed group
    end = start + len(written)
    if spaced and (UNIT.match(text, len(text[:end].rstrip("0123456789. ")) + 0) or UNIT.match(text[end:].lstrip())):
        return None
    formula = parse_formula(written)
    if formula is None or not _is_material(formula, written) or _CHARGE.match(text, end):
        return None
    if len(formula.elements) == 1 and (_ROLE.match(text, end) or re.search(r"[A-Za-z]-$|\d$", text[:start][-2:])):
        return None
    kind = "reagent" if formula.text in listed("reagents") else "formula"
    return Mention(start, end, Material(re.sub(r"\s", "", written), formula, kind=kind))


_SOLID_ELEMENTS = """
Li Na Mg Al Si Ca Sc Ti Cr Mn Fe Co Ni Cu Zn Ga Ge Se Rb Sr Zr Nb Mo Ru Rh Pd Ag Cd Sn Sb Te Cs Ba La Ce Pr Nd Sm Eu
Gd Tb Dy Er Tm Yb Lu Hf Ta Re Ir Pt Au Hg Tl Pb Bi Th Pu
"""
_SOLIDS = frozenset(_SOLID_ELEMENTS.split())


def _is_material(formula: Formula, written: str) -> bool:
    """Whether a parsed formula is meant as one: words and abbreviations such as "In", "SOC" or "CV" parse too."""
    if formula.text in listed("stop"):
        return False
    if len(formula.elements) == 1:
        if formula.text in _SOLIDS:
            return True
        return formula.text in ("C60", "C70")
    letters = re.sub(r"[^A-Za-z]", "", formula.text)
    if formula.text.isalpha() and letters.isupper():
        return formula.text in listed("capitals")
    if letters.isupper() and not re.search(r"[)\]]", written):  # capitals with numbers: "VO2", "H2O" are, "CB1" is not
        return len(formula.elements) > 1 and re.search(r"\d", written) is not None and formula.text[-1] != "1"
    return True


@cache
def _name_pattern() -> re.Pattern[str]:
    words = [*vocabulary()["names"], *(n for n, s in ELEMENT_NAMES.items() if s in _SOLIDS and n != "lead")]
    spelled = "|".join(re.escape(word).replace(r"\ ", r"[\s-]") for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z])(?:{spelled})(?![A-Za-z])", re.IGNORECASE)


def _names(text: str) -> list[Mention]:
    found = []
    for pattern in (NAME, _name_pattern()):
        for match in pattern.finditer(text):
            if pattern is not NAME and match.group().lower() in ELEMENT_NAMES and _ROLE.match(text, match.end()):
                continue
            if re.match(r"\s?-\s?(?:based|like|type|free|rich)\b|\s(?:crystal )?structure\b", text[match.end() :]):
                continue
            formula = formula_of_name(match.group())
            parsed = parse_formula(formula) if formula else None
            found.append(Mention(match.start(), match.end(), Material(match.group(), parsed, kind="name")))
    return found


def _defined(text: str, defined: Mapping[str, Material]) -> list[Mention]:
    """Abbreviations: the paper's own, then general ones."""
    known = {word: _general(word, formula) for word, formula in vocabulary()["abbreviations"].items()} | dict(defined)
    found = []
    for match in _abbreviation_pattern(tuple(known)).finditer(text):
        if not re.match(r"\s?-\s?(?:based|like|type|free)\b", text[match.end() :]):
            found.append(
                Mention(
                    match.start(), match.end(), replace(known[match.group()], name=match.group(), kind="abbreviation")
                )
            )
    return found


def _general(word: str, formula: str | None) -> Material:
    return Material(word, parse_formula(formula) if formula else None, kind="abbreviation")


@cache
def _abbreviation_pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    spelled = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{spelled})(?![A-Za-z0-9])")


def _labels(text: str, defined: Mapping[str, Material]) -> list[Mention]:
    """Capital words that might name a sample or a compound; weak evidence, used where nothing better stands."""
    found = []
    for match in _LABEL.finditer(text):
        word = match.group()
        capitals = sum(c.isupper() for c in word)
        parts = re.split(r"[-–:]", word)
        if capitals < 2 and not re.fullmatch(r"[A-Z]\d{1,2}", word) and not re.search(r"[a-z]\d", word):
            continue
        if word in listed("stop") or all(part in listed("stop") or part.isdigit() for part in parts) or word in defined:
            continue
        if parts[0] in listed("stop") or re.search(
            r"[-–](?:doped|based|type|like|ray|free|rich|site|axis|point|band)$", word
        ):
            continue
        if _CHARGE.match(text, match.end()) or (word in ELEMENTS) or _reference(text, match):
            continue
        found.append(Mention(match.start(), match.end(), Material(word, None, kind="label")))
    return found


def _reference(text: str, match: re.Match[str]) -> bool:
    """Figure and table numbers, journal initials: "Fig. S1", "Phys. Rev. B"."""
    return (
        re.search(
            r"(?:Figs?\.?|Figure|Table|Ref\.?|Eq\.?|Section|Rev\.?|Lett\.?|group|phase|point)\s?$",
            text[: match.start()][-9:],
        )
        is not None
    )


def _dressed(text: str, mention: Mention) -> Mention:
    """With what belongs to the name: a polymorph before it, a dopant before or behind it."""
    start, end, material = mention.start, mention.end, mention.material
    prefix = _PREFIX.search(text[max(start - 20, 0) : start])
    if prefix and not mention.weak:
        start -= len(prefix.group())
    doped = _DOPED.search(text[max(start - 40, 0) : start])
    dopants: tuple[str, ...] = ()
    if doped:
        dopants = tuple(re.findall(rf"(?:{_EL})(?![a-z])", doped.group(1))) or _named(doped.group(1))
        if dopants:
            start -= len(doped.group())
            start += len(doped.group()) - len(doped.group().lstrip())
    behind = _HOST_DOPANT.match(text, end)
    if behind and not dopants and material.formula and behind.group(1) not in material.formula.elements:
        dopants, end = (behind.group(1),), behind.end()
    if start == mention.start and end == mention.end:
        return mention
    name = re.sub(r"\s", " ", text[start : mention.start]) + material.name + re.sub(r"\s", "", text[mention.end : end])
    return Mention(start, end, replace(material, name=name.strip(), dopants=dopants))


def _named(word: str) -> tuple[str, ...]:
    symbol = ELEMENT_NAMES.get(word.lower())
    return (symbol,) if symbol else ()


def _joined(text: str, mentions: list[Mention]) -> list[Mention]:
    """Composites and heterostructures: materials joined by a slash or a dash are one."""
    joined: list[Mention] = []
    for mention in mentions:
        last = joined[-1] if joined else None
        slash = last and re.fullmatch(r"\s?[/@]\s?", text[last.end : mention.start])
        pair = last and ((not mention.weak and not last.weak) or (slash and not (mention.weak and last.weak)))
        if last and pair and _JOINT.fullmatch(text[last.end : mention.start] or "."):
            name = re.sub(r"\s", "", text[last.start : mention.end])
            joined[-1] = Mention(last.start, mention.end, Material(name, None, kind="composite"))
        else:
            joined.append(mention)
    return joined


_SHORT = r"[A-Z][A-Za-z0-9]*[A-Z0-9][A-Za-z0-9-]{0,8}"
_IN_BRACKETS = re.compile(
    rf"(?P<between>(?:\s(?:thin|single|films?|crystals?|perovskites?|nano\w+|monolayers?|quantum|dots?"
    rf"|layers?|alloys?|compounds?)){{0,3}})"
    rf"\s?[(\[](?:hereafter|denoted(?: as)?|abbreviated(?: as)?|called|labell?ed(?: as)?|referred to as"
    rf"|or)?,?\s?[\"']?(?P<short>{_SHORT})[\"']?(?:[)\],;])"
)
_OPENING = re.compile(rf"(?P<short>{_SHORT})s?\s?[(\[]\s?(?:i\.e\.,?\s)?$")


def find_definitions(text: str) -> dict[str, Material]:
    """Abbreviations a paper introduces: "BaSnO3 (BSO)", "BSO (BaSnO3)", each with the material it stands for.

    >>> find_definitions("modulation doping of BaSnO3 (BSO)")["BSO"].name
    'BaSnO3'
    """
    definitions: dict[str, Material] = {}
    for mention in find_materials(text):
        if mention.weak:
            continue
        behind = _IN_BRACKETS.match(text, mention.end)
        before = _OPENING.search(text[max(mention.start - 16, 0) : mention.start])
        short = behind["short"] if behind else None
        if short is None and before and re.match(r"\s?(?:[)\]]|[,;])", text[mention.end :]):
            short = before["short"]
        if short and _may_abbreviate(short, mention.material):
            definitions.setdefault(short, mention.material)
    return definitions


def _may_abbreviate(short: str, material: Material) -> bool:
    if short in listed("stop") or sum(c.isupper() for c in short) < 2 or len(short) > 9:
        return False
    formula = parse_formula(short)
    if formula is not None and _is_material(formula, short):
        return False
    letters = re.sub(r"[^a-z]", "", material.name.lower())
    return all(c in letters or c.isdigit() for c in short.lower()[:2] if c.isalnum())


ANAPHOR = re.compile(
    r"\b(?:(?:this|these|the|our|both|such)\s(?:new\s|studied\s|investigated\s|title\s|present\s"
    r"|as-grown\s|resulting\s)?"
    r"(?:compounds?|materials?|systems?|films?|crystals?|samples?|phases?|alloys?|oxides?|perovskites?"
    r"|monolayers?|semiconductors?"
    r"|superconductors?|ferromagnets?|insulators?|structures?|nanoribbons?|nanowires?|nanotubes?"
    r"|nanoparticles?|heterostructures?|layers?)"
    r"|[Ii]t|[Ii]ts|[Tt]heir|the former|the latter)\b"
)
"""Words that stand for a material named before."""
