"""Text as papers carry it, made plain: LaTeX, Unicode variants and line breaks undone, every character's place kept."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
    "chi": "χ", "omega": "ω", "Omega": "Ω", "Delta": "Δ", "Gamma": "Γ", "Sigma": "Σ", "hbar": "ħ",
}  # fmt: skip
_COMMANDS = {
    "approx": "~", "sim": "~", "simeq": "~", "cong": "~", "pm": "±", "times": "×", "cdot": "·", "AA": "Å",
    "angstrom": "Å", "circ": "°", "degree": "°", "leq": "≤", "le": "≤", "lesssim": "<", "geq": "≥", "ge": "≥",
    "gtrsim": ">", "lt": "<", "gt": ">", "rightarrow": "→", "to": "→", "textendash": "–", "ohm": "Ω", "textmu": "μ",
    "celsius": "°C", "quad": " ", "percent": "%", "perp": "⊥", "parallel": "∥", "infty": "∞", "ll": "<", "gg": ">",
    "propto": "∝", "equiv": "=",
} | _GREEK  # fmt: skip
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t\r\x0b\x0c"
_NOTHING = "\u00ad\u200b\u200c\u200d\u2060\ufeff\u0000"
_CHARACTERS = (
    dict.fromkeys(_SPACES, " ")
    | dict.fromkeys(_NOTHING, "")
    | dict.fromkeys("\u2010\u2011\u2043", "-")
    | dict.fromkeys("\u2012\u2013\u2014\u2015", "–")
    | dict.fromkeys("\u2212\u02d7\uff0d", "−")
    | dict.fromkeys("\u223c\u02dc\u2243\u2245\u2248\u224a\uff5e\u2241\u223d", "~")
    | dict.fromkeys("\u22c5\u2219\u2022\u00b7\u2027\u30fb", "·")
    | dict.fromkeys("\u2a7d\u2266", "≤")
    | dict.fromkeys("\u2a7e\u2267", "≥")
    | dict.fromkeys("\u02da\u00ba\u2218", "°")
    | dict.fromkeys("\u2032\u2019\u2018", "'")
    | dict.fromkeys("\u201c\u201d", '"')
    | {"\u212b": "Å", "\u2126": "Ω", "\u00b5": "μ", "\u2272": "<", "\u2273": ">", "\u2103": "°C", "\u2715": "×"}
    | {"\u2a2f": "×", "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\u2044": "/"}
    | {"\u2215": "/", "\u2236": ":", "\ua789": ":", "\u00b1": "±"}
)
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+−", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₓₐₑ", "0123456789+−xae", strict=True))
_FONTS = (
    r"rm|text|textrm|mathrm|mathit|textit|mathbf|textbf|mbox|hbox|it|bf|em|emph|ensuremath|operatorname|left|right|ce"
)

_PATTERN = re.compile(
    rf"""
    (?P<break>(?<=[a-z]{{2}})-[ ]?\n[ ]*(?=[a-z]{{2}}) | (?<=[a-z]{{2}})-[ ]+(?!(?:and|or|to|and/or)\b)(?=[a-z]{{2}}))
  | (?P<ring>\u02da[ ]?A(?![A-Za-z]))
  | (?P<newline>\s*\n\s*)
  | (?P<font>\\(?:{_FONTS})(?![a-zA-Z])[ ]?)
  | (?P<space>\\[,;:! ]|(?<=[\d)}}$])~(?=\\?[a-zA-Zμ°%\\$]))
  | (?P<escaped>\\[%&#$_{{}}])
  | (?P<accent>\\["'`^~=.uvHc]
      (?:\{{(?P<under>[a-zA-Z])\}} | (?P<letter>[a-zA-Z])(?![a-zA-Z]) | (?P<bare>(?<=\\["'`^~=.])[a-zA-Z])))
  | (?P<command>\\(?P<name>[a-zA-Z]+)[ ]?(?:\{{\}})?)
  | (?P<index>_(?=\{{|\d|[a-zA-Z](?![a-zA-Z]{{3}})|\$)|</?(?:sub|i|b|em|italic|inf)\s*>)
  | (?P<power></?sup\s*>|\^)
  | (?P<entity>&(?:nbsp|thinsp|lt|gt|amp|minus|ndash|plusmn|deg|micro|times|\#160);)
  | (?P<markup>[$}}{{])
  | (?P<superscript>[{"".join(_SUPERSCRIPTS)}]+)
  | (?P<subscript>[{"".join(_SUBSCRIPTS)}])
  | (?P<mathematical>[\U0001D400-\U0001D7FF])
  | (?P<character>[{"".join(re.escape(c) for c in _CHARACTERS)}])
    """,
    re.VERBOSE,
)
_ENTITIES = {
    "nbsp": " ", "thinsp": " ", "#160": " ", "lt": "<", "gt": ">", "amp": "&", "minus": "−", "ndash": "–",
    "plusmn": "±", "deg": "°", "micro": "μ", "times": "×",
}  # fmt: skip


@dataclass(frozen=True)
class Plain:
    """Cleaned text, and where each run of it stands in the source.

    `runs` are (start in text, start in source, source characters per piece): inside a run both advance together;
    a replaced piece is a run of its own.
    """

    text: str
    source: str
    runs: tuple[tuple[int, int, bool], ...]

    @cached_property
    def _starts(self) -> list[int]:
        return [run[0] for run in self.runs]

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the source behind ``text[start:end]``."""
        return self._place(start, False), self._place(max(end - 1, start), True)

    def _place(self, position: int, after: bool) -> int:
        if not self.runs:
            return 0
        at = max(bisect_right(self._starts, position) - 1, 0)
        start, source, copied = self.runs[at]
        if copied:
            return source + position - start + after
        if not after:
            return source
        return self.runs[at + 1][1] if at + 1 < len(self.runs) else len(self.source)


def plain(source: str) -> Plain:
    """LaTeX marks, Unicode variants, ligatures and hyphenated line breaks of `source` made plain.

    Superscripts become ``^``, subscripts plain characters, the signs for "about" ``~``; the true minus sign stays
    apart from the hyphen, for "10−4" is a power and "10-4" may be a range.

    >>> plain("E$_g \\\\approx$ 1.5~eV").text
    'Eg ~ 1.5 eV'
    """
    pieces: list[str] = []
    runs: list[tuple[int, int, bool]] = []
    length = done = 0
    for match in _PATTERN.finditer(source):
        if match.start() > done:
            runs.append((length, done, True))
            pieces.append(source[done : match.start()])
            length += match.start() - done
        new = _replacement(match)
        if new and pieces and new[0] == " " and pieces[-1].endswith(" "):
            new = new[1:]
        if new:
            runs.append((length, match.start(), False))
            pieces.append(new)
            length += len(new)
        done = match.end()
    if done < len(source):
        runs.append((length, done, True))
        pieces.append(source[done:])
    return Plain("".join(pieces), source, tuple(runs))


def _replacement(match: re.Match[str]) -> str:
    found = match.group()
    if match["ring"]:
        return "Å"
    if match["character"]:
        return _CHARACTERS[found]
    if match["mathematical"]:
        return unicodedata.normalize("NFKC", found)
    if match["newline"]:
        return "\n\n" if found.count("\n") > 1 else " "
    if match["space"]:
        return " "
    if match["break"] or match["font"] or match["index"] or match["markup"]:
        return ""
    if match["escaped"]:
        return found[1]
    if match["accent"]:
        return match["under"] or match["letter"] or match["bare"] or ""
    if match["command"]:
        return _COMMANDS.get(match["name"], match["name"] if len(match["name"]) > 1 else "")
    if match["power"]:
        return "" if found.startswith("</") or _before_degree(match) else "^"
    if match["entity"]:
        return _ENTITIES[found[1:-1]]
    if match["superscript"]:
        return "^" + "".join(_SUPERSCRIPTS[c] for c in found)
    return _SUBSCRIPTS[found]


def _before_degree(match: re.Match[str]) -> bool:
    """The raised ring of "$^{\\circ}$C" is no power."""
    return re.match(r"[{\s$]*(\\circ|\\degree|°|o\}?\$?C|∘|\\text(?:rm)?\{?o)", match.string[match.end() :]) is not None


_ABBREVIATED = re.compile(
    r"(?:\b(?:Figs?|Refs?|Eqs?|Tabs?|Secs?|Nos?|Dr|Prof|Mr|St|vs|cf|ca|approx|resp|viz|etc|al|e\.g|i\.e|a\.k\.a|wt|at|"
    r"vol|temp|max|min|avg|Phys|Rev|Lett|Appl|Chem|Mater|Sci|Soc|Nat|Am|Commun|incl|eds?|pp|Suppl|Inc|Ltd|Co|[A-Z]))\.$"
)
_BOUNDARY = re.compile(
    r"(?<=[.!?])[)\]\"']?(?:\[[\d,\s–-]+\])?\s+(?=[\"'(\[]?[A-Z0-9α-ωΑ-Ω~])|\n\s*\n|(?<=[a-z0-9K)][.])(?=[A-Z][a-z]+[\s,])"
)


def sentences(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence of a cleaned text; abbreviations ("Fig. 2", "et al.") do not end one."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        before = text[max(start, match.start() - 12) : match.start()].rstrip("\"')]")
        after = text[match.end() : match.end() + 1]
        if _ABBREVIATED.search(before) and not (before.endswith("al.") and after.isupper()):
            continue
        if after.isdigit() and re.search(r"\b(?:no|figs?|refs?|eqs?|table)\.$", before, re.IGNORECASE):
            continue
        if text[start : match.start()].strip():
            spans.append((start, match.start()))
        start = match.end()
    if text[start:].strip():
        spans.append((start, len(text)))
    return spans
