"""Draw the pictures of docs/language.md from the real vocabulary and grammar.

    python docs/language.py

writes docs/language-sentence.svg (a sentence, word by word) and docs/language-grammar.svg (how many words may follow).
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from genmat.crystal.prototype import from_structure
from genmat.generation.constraints import Grammar
from genmat.tokenization.sentence import spell
from genmat.tokenization.vocabulary import vocabulary

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
COLOURS = {  # of the boxes by kind of word; text stays dark on each
    "special": "#e5e7eb",
    "element": "#cfe8fa",
    "amount": "#cfe8fa",
    "spacegroup": "#ffe2a8",
    "wyckoff": "#c9efdd",
    "length": "#f6d5e6",
    "angle": "#f6d5e6",
    "coord": "#f6d5e6",
}
FONT = 'font-family="sans-serif" fill="#1f2937"'


def words() -> list[tuple[str, str]]:
    """The words of rutile's sentence with their kinds."""
    vocab = vocabulary()
    kinds = list(vocab.slices)
    return [(vocab.words[i], kinds[vocab.kinds[i]]) for i in spell(from_structure(RUTILE), 0.0)]


def sentence() -> str:
    """Boxes of words in rows of meaning: composition, symmetry, sites, geometry."""
    x, boxes = 10.0, []
    for word, kind in words():
        width = 14 + 8.2 * len(word)
        boxes.append(
            f'<rect x="{x:.0f}" y="30" width="{width:.0f}" height="30" rx="5" fill="{COLOURS[kind]}" stroke="#9ca3af"/>'
            f'<text x="{x + width / 2:.0f}" y="50" text-anchor="middle" font-size="13" '
            f'font-family="monospace">{escape(word)}</text>'
        )
        x += width + 5
    spans = {"composition": (2, 6), "symmetry": (6, 7), "occupied positions": (7, 11), "what is left free": (12, 16)}
    starts, at = [], 10.0
    for word, _ in words():
        starts.append(at)
        at += 19 + 8.2 * len(word)
    for title, (a, b) in spans.items():
        left, right = starts[a], (starts[b] if b < len(starts) else x) - 5
        boxes.append(
            f'<path d="M{left:.0f} 68v6H{right:.0f}v-6" fill="none" stroke="#6b7280"/>'
            f'<text x="{(left + right) / 2:.0f}" y="92" text-anchor="middle" font-size="12">{title}</text>'
        )
    return _svg(x + 5, 104, "The sentence of rutile, TiO2, word by word", "".join(boxes))


def grammar() -> str:
    """Bars: of all words, how many the grammar allows next, along the same sentence."""
    vocab = vocabulary()
    rules, allowed = Grammar(), []
    row = rules.start()
    ids = [vocab.ids[word] for word, _ in words()][2:]
    for token in ids:
        allowed.append(sum(_count(rules.masks, kind, mask) for kind, mask in row.parts))
        row.advance(token)
    shown = [vocab.words[i] for i in ids]
    parts, bar = [], 40
    for k, (word, count) in enumerate(zip(shown, allowed, strict=True)):
        height = 110 * np.log10(count + 1) / np.log10(len(vocab) + 1)
        x = 50 + k * (bar + 10)
        parts.append(
            f'<rect x="{x}" y="{150 - height:.1f}" width="{bar}" height="{height:.1f}" fill="#0072b2"/>'
            f'<text x="{x + bar / 2:.0f}" y="{144 - height:.1f}" text-anchor="middle" font-size="12">{count:,}</text>'
            f'<text x="{x + bar / 2:.0f}" y="168" text-anchor="middle" font-size="12" '
            f'font-family="monospace">{escape(word)}</text>'
        )
    title = f"words allowed, of {len(vocab):,} (logarithmic), before each word of the sentence"
    parts.append(f'<text x="50" y="20" font-size="12">{title}</text>')
    return _svg(
        60 + len(shown) * (bar + 10), 180, "Words the grammar allows along the sentence of rutile", "".join(parts)
    )


def _count(masks, kind: int, mask: int) -> int:
    chosen = masks.gather((kind,), [((kind, mask),)])
    return masks.widths[kind] if chosen is None else int(chosen.sum())


def _svg(width: float, height: float, label: str, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" {FONT}><rect width="100%" height="100%" fill="#fff"/>{body}</svg>\n'
    )


PICTURES = {"language-sentence.svg": sentence, "language-grammar.svg": grammar}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (Path(__file__).parent / name).write_text(draw(), encoding="utf-8")
