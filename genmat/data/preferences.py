"""Judged samples as pairs to prefer one of: what relaxation said of a model's own crystals, as sentences.

Preferred is what a search wants: stable, new, unique and not P1. Set against it are new crystals that relaxed to an
unstable one or to nothing, and crystals of the training split, so that a model unlearns both ways to be useless.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genmat.campaign import Campaign
from genmat.crystal.prototype import Protostructure
from genmat.data.judge import symmetry_of
from genmat.data.tokens import spell_settings
from genmat.errors import GenmatError

UNSTABLE = 0.1
"""eV/atom; crystals between the threshold of stability and this one are set against nothing."""


@dataclass(frozen=True)
class Opinion:
    """One judged sample.

    Attributes:
        formula: reduced; splits are by it.
        spacegroup: as sampled.
        preferred: stable, new, unique and not P1 after relaxation.
        variants: sentences in equivalent settings.
    """

    formula: str
    spacegroup: int
    preferred: bool
    variants: list[list[int]]


def read_opinions(folders: Sequence[Path], below: float, asked: float, variants: int) -> list[Opinion]:
    """Opinions on the samples `genmat evaluate generation` has judged; known ones and those in between are left out.

    Args:
        folders: its ``--out`` folders.
        below: eV/atom above the hull up to which a crystal is stable.
        asked: energy above hull of the prompt the samples are to be preferred under, eV/atom.
        variants: sentences per crystal.

    Raises:
        GenmatError: a folder without judged samples.
    """
    found: dict[str, Opinion] = {}
    for folder in folders:
        for row, proto in _judged(folder):
            preferred = verdict(row, below)
            if preferred is not None and proto.label not in found:
                sentences = spell_settings(proto, asked, variants, proto.label)
                found[proto.label] = Opinion(proto.formula, proto.spacegroup, preferred, sentences)
    if len({opinion.preferred for opinion in found.values()}) < 2:
        raise GenmatError(f"{', '.join(map(str, folders))}: nothing to prefer over anything; judge more samples")
    return list(found.values())


def verdict(row: dict[str, str], below: float) -> bool | None:
    """True for a stable, new, unique crystal with symmetry, False for a new one that is unstable or failed, None for
    what teaches neither: known, repeated or in between."""
    if row["duplicate_sampled"] or row["duplicate_of"] or row["known"] or row["known_sampled"]:
        return None
    if row["failure"] or row["spacegroup_relaxed"] in ("", "1"):
        return False
    energy = float(row["e_above_hull"])
    return True if energy <= below else None if energy < UNSTABLE else False


def held_out(formula: str, share: float) -> bool:
    """Whether a formula belongs to the share that is never learnt from, by its hash."""
    return int(hashlib.sha256(formula.encode()).hexdigest()[:8], 16) < share * 16**8


def _judged(folder: Path) -> list[tuple[dict[str, str], Protostructure]]:
    """Rows of ``values.csv`` with the protostructures of their samples; what has none is left out."""
    path = folder / "values.csv"
    if not path.is_file():
        raise GenmatError(f"{path}: no such file; give the --out folder of genmat evaluate generation")
    with path.open(encoding="utf-8") as handle:
        rows = {(row["source"], row["id"]): row for row in csv.DictReader(handle)}
    out = []
    for source in dict.fromkeys(name for name, _ in rows):
        with Campaign.read(folder / source) as campaign:
            for candidate in campaign.candidates(("geometry", "spellings")):
                proto = candidate.protostructure
                if proto is None and candidate.structure is not None:
                    proto = symmetry_of(candidate.structure)
                if proto is not None and (source, candidate.id) in rows:
                    out.append((rows[source, candidate.id], proto))
    return out
