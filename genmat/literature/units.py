"""Units as papers write them: a grammar that reads "kJ mol−1", "W/(m K)" or "meV per atom"; pint only converts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from genmat.errors import GenmatError

PREFIXES = {
    "T": 12,
    "G": 9,
    "M": 6,
    "k": 3,
    "h": 2,
    "d": -1,
    "c": -2,
    "m": -3,
    "μ": -6,
    "u": -6,
    "n": -9,
    "p": -12,
    "f": -15,
}
_SYMBOLS = {
    "eV": "eV", "J": "J", "m": "m", "s": "s", "g": "g", "K": "K", "Pa": "Pa", "A": "A", "V": "V", "W": "W",
    "Hz": "Hz", "F": "F", "S": "S", "T": "T", "N": "N", "Ω": "ohm", "Ohm": "ohm", "ohm": "ohm", "mol": "mol",
    "L": "L", "l": "L", "cal": "cal", "Oe": "oersted", "G": "gauss", "bar": "bar", "Wh": "Wh", "Ah": "Ah", "sec": "s",
    "emu": "emu", "M": "M",
}  # fmt: skip
"""Symbols that take a prefix, and the name pint knows them by."""
_WHOLE = {
    "Å": "angstrom", "Angstroms": "angstrom", "Angstrom": "angstrom", "angstroms": "angstrom", "angstrom": "angstrom",
    "ångström": "angstrom", "Ångström": "angstrom", "°C": "degC", "° C": "degC", "oC": "degC", "degC": "degC",
    "deg C": "degC", "degrees Celsius": "degC", "degree Celsius": "degC", "degrees C": "degC", "Celsius": "degC",
    "°F": "degF", "°K": "K", "° K": "K", "kelvins": "K", "kelvin": "K", "Kelvins": "K", "Kelvin": "K", "C": "degC",
    "mC": "mC", "μC": "uC", "nC": "nC", "pC": "pC", "electron volts": "eV", "electron volt": "eV",
    "electronvolts": "eV", "electronvolt": "eV", "electron-volts": "eV", "electron-volt": "eV", "ev": "eV",
    "EV": "eV", "hours": "h", "hour": "h", "hrs": "h", "hr": "h", "h": "h", "minutes": "min", "minute": "min",
    "mins": "min", "min": "min", "days": "day", "day": "day", "seconds": "s", "second": "s", "weeks": "week",
    "week": "week", "°": "degree", "degrees": "degree", "deg": "degree", "%": "percent", "percent": "percent",
    "wt%": "wt_percent", "wt %": "wt_percent", "wt.%": "wt_percent", "wt. %": "wt_percent", "at%": "at_percent",
    "at.%": "at_percent", "at. %": "at_percent", "at %": "at_percent", "mol%": "mol_percent", "mol %": "mol_percent",
    "mol.%": "mol_percent", "vol%": "vol_percent", "vol.%": "vol_percent", "vol %": "vol_percent", "atoms": "atom",
    "atom": "atom", "at.": "atom", "f.u.": "formula_unit", "fu": "formula_unit", "f.u": "formula_unit",
    "formula unit": "formula_unit", "μB": "bohr_magneton", "Bohr magnetons": "bohr_magneton", "Ry": "Ry",
    "mRy": "mRy", "Ha": "hartree", "Hartree": "hartree", "ppm": "ppm", "rpm": "rpm", "atm": "atm", "Torr": "torr",
    "torr": "torr", "mTorr": "mtorr", "mbar": "mbar", "kbar": "kbar", "microns": "um", "micron": "um", "joules": "J",
    "siemens": "S", "Siemens": "S", "grams": "g", "gram": "g", "cc": "cm**3", "ML": "monolayer", "ions": "ion",
    "ion": "ion", "cell": "cell", "unit cell": "cell", "Vs": "V*s",
}  # fmt: skip
_DEFINITIONS = (
    "atom = [atom]", "formula_unit = [formula_unit]", "cell = [cell]", "ion = [ion]", "wt_percent = [mass_share]",
    "at_percent = [atom_share]", "mol_percent = [mole_share]", "vol_percent = [volume_share]", "monolayer = [layers]",
    "emu = [magnetic_moment_cgs]",
)  # fmt: skip
"""Counts and shares are dimensions of their own: eV/atom is no eV, and weight per cent no mole per cent."""

_PREFIXED = rf"[{''.join(PREFIXES)}]?(?:{'|'.join(sorted(map(re.escape, _SYMBOLS), key=len, reverse=True))})"
_ATOM = rf"(?:{'|'.join(sorted(map(re.escape, _WHOLE), key=len, reverse=True))}|{_PREFIXED})"
_DASH = rf"–\s?[1-6](?!\s?{_ATOM}(?![-−–^\d]))"  # "cm–1" is a power, "1 kHz–1 MHz" a range
_POWER = rf"(?:\^?\(?(?:[-−]?\s?[1-6]|{_DASH})\)?|\*\*-?[1-6])"
_NEGATIVE = rf"(?:\s?\^?\(?(?:[-−]\s?[1-6]|{_DASH})\)?|\*\*-[1-6])"
_FACTOR = rf"{_ATOM}{_POWER}?"
_INVERSE = rf"(?:1?/\s?|per\s){_FACTOR}"
_SEPARATED = (
    rf"\s?/\s?\(\s?{_FACTOR}(?:[\s·*]{{1,2}}{_FACTOR})+\s?\)|\s?/\s?{_FACTOR}|\s?[·*]\s?{_FACTOR}"
    rf"|\s?\.\s?{_ATOM}{_NEGATIVE}"
    rf"|\s(?:per\s|{_ATOM}{_NEGATIVE})(?:(?<=per\s){_FACTOR})?|\s?{_ATOM}{_NEGATIVE}"
    r"|(?:(?<=Ω)|(?<=hm))[\s·]?c?m"
)
UNIT = re.compile(rf"(?:{_FACTOR}(?:{_SEPARATED})*|{_INVERSE})(?![A-Za-z0-9]|\.\d)(?![-−]\d(?!\.))")
"""A unit expression in cleaned text (`genmat.literature.text.plain`)."""
_STEP = re.compile(rf"(?P<separator>\s?/\s?\(?|\s?per\s|[\s·*.]*)(?P<atom>{_ATOM})(?P<power>\s?{_POWER})?\)?")


@dataclass(frozen=True)
class Unit:
    """A unit: its factors as (name, power), in the order written; `name` is what pint reads."""

    factors: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        """Spelled for pint and for people: ``W/m/K``, ``eV``, ``1/cm``; empty for a bare number."""
        above = [_powered(name, power) for name, power in self.factors if power > 0]
        below = [_powered(name, -power) for name, power in self.factors if power < 0]
        return "/".join([*(["*".join(above)] if above else ["1"]), *below]) if self.factors else ""


NONE = Unit(())


def _powered(name: str, power: int) -> str:
    return name if power == 1 else f"{name}**{power}"


def parse_unit(text: str) -> Unit:
    """The unit spelled in `text`.

    >>> parse_unit("kJ mol−1").name
    'kJ/mol'

    Raises:
        GenmatError: not a unit.
    """
    cleaned = text.strip()
    if not UNIT.fullmatch(cleaned):
        raise GenmatError(f"{text!r}: not a unit that is known; write one such as eV, kJ/mol or S cm-1")
    return _factors(cleaned)


@cache
def _factors(text: str) -> Unit:
    powers: dict[str, int] = {}
    position, bracket = 0, False
    text = text[1:] if text.startswith("1/") else text
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            break
        separator = match["separator"]
        inverse = bracket or "/" in separator or "per" in separator
        if "(" in separator:
            bracket = True
        power = int(re.sub(r"[−–]", "-", re.sub(r"[\s^()*]", "", match["power"] or "1")))
        name = _name(match["atom"])
        powers[name] = powers.get(name, 0) + (-power if inverse and power > 0 else power)
        bracket = bracket and not match.group().endswith(")")
        position = match.end()
    return Unit(tuple((name, power) for name, power in powers.items() if power))


def _name(atom: str) -> str:
    if atom in _WHOLE:
        return _WHOLE[atom]
    if atom in _SYMBOLS:
        return _SYMBOLS[atom]
    prefix, symbol = atom[0].replace("μ", "u"), _SYMBOLS[atom[1:]]
    return (
        {"oersted": "kilooersted", "gauss": "kilogauss"}.get(symbol, prefix + symbol)
        if prefix == "k"
        else prefix + symbol
    )


@cache
def _registry() -> Any:
    import pint

    registry = pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=None)
    for line in _DEFINITIONS:
        registry.define(line)
    return registry


@cache
def conversion(source: str, target: str) -> tuple[float, float] | None:
    """(factor, offset) with target = factor · source + offset; None for units of different dimensions."""
    if source == target:
        return 1.0, 0.0
    import pint

    registry = _registry()
    try:
        zero = registry.Quantity(0.0, source).to(target).magnitude
        hundred = registry.Quantity(100.0, source).to(target).magnitude
    except (pint.DimensionalityError, pint.UndefinedUnitError):
        return None
    return (hundred - zero) / 100.0, zero


def convert(value: float, source: Unit | str, target: str) -> float | None:
    """`value` in the unit `target`, to 10 significant digits; None if the dimensions differ.

    >>> convert(300, "meV", "eV")
    0.3
    """
    found = conversion(source.name if isinstance(source, Unit) else source, target)
    return None if found is None else float(f"{found[0] * value + found[1]:.10g}")
