"""The words of `data/vocabulary.yaml`, and names of binary compounds worked out from valences."""

from __future__ import annotations

import re
from functools import cache
from math import gcd
from pathlib import Path
from typing import Any

import yaml

from genmat.crystal.composition import ELEMENTS

DATA = Path(__file__).parent / "data"

_NAMES = """
hydrogen helium lithium beryllium boron carbon nitrogen oxygen fluorine neon sodium magnesium aluminium silicon
phosphorus sulfur chlorine argon potassium calcium scandium titanium vanadium chromium manganese iron cobalt nickel
copper zinc gallium germanium arsenic selenium bromine krypton rubidium strontium yttrium zirconium niobium
molybdenum technetium ruthenium rhodium palladium silver cadmium indium tin antimony tellurium iodine xenon cesium
barium lanthanum cerium praseodymium neodymium promethium samarium europium gadolinium terbium dysprosium holmium
erbium thulium ytterbium lutetium hafnium tantalum tungsten rhenium osmium iridium platinum gold mercury thallium
lead bismuth polonium astatine radon francium radium actinium thorium protactinium uranium neptunium plutonium
americium curium
"""
ELEMENT_NAMES = dict(zip(_NAMES.split(), ELEMENTS, strict=False)) | {"aluminum": "Al", "caesium": "Cs", "sulphur": "S"}
"""English names of the elements, hydrogen to curium, with the British and American spellings."""
VALENCE = {
    "Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1, "Ag": 1, "Be": 2, "Mg": 2, "Ca": 2, "Sr": 2, "Ba": 2, "Zn": 2, "Cd":
    2, "Hg": 2, "B": 3, "Al": 3, "Ga": 3, "In": 3, "Sc": 3, "Y": 3, "La": 3, "Bi": 3, "Sb": 3, "Nd": 3, "Gd": 3, "Si":
    4, "Ge": 4, "Ti": 4, "Zr": 4, "Hf": 4, "Sn": 2, "Pb": 2, "Eu": 2, "Cu": 1, "Mn": 2, "Fe": 2, "Co": 2, "Ni": 2,
    "Ta": 5, "Nb": 5,
}  # fmt: skip
"""The valence a binary compound's name implies where it gives none; others stay without a formula."""
ANIONS = {
    "oxide": ("O", 2), "sulfide": ("S", 2), "sulphide": ("S", 2), "selenide": ("Se", 2), "telluride": ("Te", 2),
    "nitride": ("N", 3), "phosphide": ("P", 3), "arsenide": ("As", 3), "antimonide": ("Sb", 3), "fluoride": ("F", 1),
    "chloride": ("Cl", 1), "bromide": ("Br", 1), "iodide": ("I", 1), "carbide": ("C", 4), "hydride": ("H", 1),
    "boride": ("B", 3), "silicide": ("Si", 4), "germanide": ("Ge", 4),
}  # fmt: skip
_COUNTS = {"": 0, "mono": 1, "di": 2, "tri": 3, "tetra": 4, "penta": 5, "pent": 5, "hexa": 6, "sesqui": 0}
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7}
_OXYANIONS = (
    "titanate|zirconate|stannate|niobate|tantalate|tungstate|molybdate|vanadate|ferrite|manganite"
    "|manganate|cobaltite|nickelate"
    "|cuprate|ruthenate|iridate|aluminate|gallate|chromite|phosphate|silicate|borate|hafnate|bismuthate"
    "|plumbate|antimonate"
    "|thiophosphate|chalcogenide|halide|perovskite|garnet|spinel"
)
_ELEMENT_WORD = "|".join(sorted(ELEMENT_NAMES, key=len, reverse=True))
NAME = re.compile(
    rf"(?<![A-Za-z])(?:(?:methylammonium|formamidinium|{_ELEMENT_WORD})(?:\s?\((?:i{{1,3}}|iv|vi{{0,2}})\))?[\s-])+"
    rf"(?:(?:{'|'.join(k for k in _COUNTS if k)})?(?:{'|'.join(ANIONS)})|{_OXYANIONS})s?(?![A-Za-z])",
    re.IGNORECASE,
)
"""Systematic names: "gallium arsenide", "titanium (IV) oxide", "lanthanum strontium manganite"."""


@cache
def vocabulary() -> dict[str, Any]:
    """The sections of `data/vocabulary.yaml`: ions, abbreviations, names, capitals, reagents, stop."""
    return yaml.safe_load((DATA / "vocabulary.yaml").read_text(encoding="utf-8"))


@cache
def listed(section: str) -> frozenset[str]:
    """A list section as a set."""
    return frozenset(str(word) for word in vocabulary()[section])


def formula_of_name(name: str) -> str | None:
    """The formula a systematic or listed name stands for; None where the name leaves it open.

    >>> formula_of_name("gallium arsenide"), formula_of_name("titanium(IV) oxide"), formula_of_name("Vanadium oxide")
    ('GaAs', 'TiO2', None)
    """
    words = " ".join(name.lower().replace("-", " ").split())
    names = vocabulary()["names"]
    for spelling in (words, words.removesuffix("s")):
        if spelling in names:
            return names[spelling]
    pattern = rf"({_ELEMENT_WORD})\s?(?:\((\w+)\))? ({'|'.join(k for k in _COUNTS if k)})?({'|'.join(ANIONS)})"
    match = re.fullmatch(pattern, words.removesuffix("s"))
    if match is None:
        return ELEMENT_NAMES.get(words)
    metal, (anion, charge) = ELEMENT_NAMES[match[1]], ANIONS[match[4]]
    if match[3]:
        count = _COUNTS[match[3]]
        return f"{metal}{anion}{count if count > 1 else ''}" if count else None
    valence = _ROMAN.get((match[2] or "").lower()) or VALENCE.get(metal)
    if valence is None:
        return None
    shared = gcd(valence, charge)
    left, right = charge // shared, valence // shared
    return f"{metal}{left if left > 1 else ''}{anion}{right if right > 1 else ''}"
