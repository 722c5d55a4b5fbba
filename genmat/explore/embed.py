"""One vector per material: a prototype part from the crystal language model, a composition part from the reader.

A material is spelled as composition and occupied Wyckoff positions, without geometry, in one canonical setting, so that
a bare label, a CIF in any setting and a relaxed candidate of one prototype get one vector. The prototype part sums the
hidden states of the position words after the first block of the language model: later blocks look ahead to the words
to come and forget which positions were said (`benchmarks/explore.py`). The composition part is what the composition
model's encoder makes of the formula, and all there is when only a formula is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.composition import sort_elements
from genmat.crystal.prototype import Protostructure, Site, letter_maps
from genmat.crystal.slots import read_label
from genmat.crystal.wyckoff import MIRRORED
from genmat.data.composition_predict import load_reader
from genmat.data.composition_tables import encode
from genmat.errors import GenmatError
from genmat.tokenization.sentence import spell
from genmat.tokenization.vocabulary import vocabulary

if TYPE_CHECKING:
    import torch

BLOCKS = 1
"""Transformer blocks read through; 0 = the embeddings of the words alone."""
BATCH = 256


class Embedder:
    """The two models, and what they make of materials: float32 vectors, not yet centred or scaled.

    Args:
        crystal: snapshot of a crystal language model (a transformer).
        composition: snapshot of a composition model.

    Raises:
        GenmatError: a folder holds no such model.
    """

    def __init__(self, crystal: str | Path, composition: str | Path):
        self.language, self.reader = _language(Path(crystal)), _reader(Path(composition))
        words = vocabulary().words
        self._position = np.array([word[0].isdigit() and word[-1].isalpha() for word in words])  # "221a"
        self._matrix = self.language.embedding_matrix().detach()

    def prototypes(self, labels: Sequence[str]) -> np.ndarray:
        """Prototype parts of protostructure labels with elements, (N, d).

        The sum over the n position words is divided by √n: told apart by how many there are, but not by length alone.

        Raises:
            GenmatError: a label that cannot be read, or an amount beyond the language.
        """
        import torch

        sentences = [sentence(label) for label in labels]
        out = np.zeros((len(labels), self.language.config.hidden_size), np.float32)
        with torch.inference_mode():
            for rows in _alike([len(s) for s in sentences]):
                ids = torch.tensor([sentences[i] for i in rows])  # (B, T)
                h = self.language.hidden_states(ids, self._matrix)  # (B, T, d)
                said = torch.from_numpy(self._position[ids.numpy()]).float()[..., None]  # (B, T, 1)
                out[rows] = ((h * said).sum(1) / said.sum(1).sqrt()).numpy()
        return out

    def compositions(self, amounts: Sequence[Mapping[str, float]]) -> np.ndarray:
        """Composition parts of reduced formulas, amounts by element, whole or fractional, (N, d)."""
        import torch

        numbers, shares = encode([dict(a) for a in amounts])
        member = self.reader.members[0]
        out = np.zeros((len(amounts), self.reader.config.hidden_size), np.float32)
        with torch.inference_mode():
            for rows in _alike((numbers > 0).sum(1)):
                size = int((numbers[rows[0]] > 0).sum())
                ids, n = (torch.from_numpy(np.ascontiguousarray(x[rows, :size])) for x in (numbers, shares))
                out[rows] = _encoded(member, ids, n).numpy()
        return out


@lru_cache(4096)
def sentence(label: str) -> tuple[int, ...]:
    """Token ids of a label's material in the canonical setting, ``<bos>`` to the last position.

    Elements and amounts by electronegativity; of all settings equivalent under the affine normaliser the one whose
    letters, whatever element they belong to, come first in the alphabet.

    Raises:
        GenmatError: not a label, one without elements, or an amount beyond the language.
    """
    number, placed = _placed(label)
    sites = tuple(Site(e, letter) for e, own in placed.items() for letter in own)
    return tuple(spell(Protostructure(number, sites)))


def prototype_of(label: str) -> str:
    """Key of a label's anonymous prototype, ``"221:a_b_c"``, whatever sits where.

    That of `genmat.crystal.slots.prototype_key`, for any number of elements.

    Raises:
        GenmatError: as `sentence`.
    """
    number, placed = _placed(label)
    return f"{number}:{'_'.join(sorted(placed.values()))}"


def labelled(label: str) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Space group, letters and symbol of each element of a protostructure label.

    Raises:
        GenmatError: not a label, or one without elements.
    """
    number, letters, symbols = read_label(label)
    if not symbols:
        raise GenmatError(f"{label!r}: names no elements; write one such as AB3C_cP5_221_a_c_b:Ba-O-Ti")
    return number, letters, symbols


def _placed(label: str) -> tuple[int, dict[str, str]]:
    """Space group and the letters of each element, canonical setting, elements by electronegativity."""
    number, letters, symbols = labelled(label)
    number, of = MIRRORED.get(number, number), dict(zip(symbols, letters, strict=True))
    elements = tuple(sort_elements(symbols))
    return number, dict(zip(elements, _canonical(number, tuple(of[e] for e in elements)), strict=True))


@cache
def _canonical(spacegroup: int, letters: tuple[str, ...]) -> tuple[str, ...]:
    """Letters of each element in the canonical setting."""
    settings = (tuple("".join(sorted(own.translate(table))) for own in letters) for table in letter_maps(spacegroup))
    return min(settings, key=lambda mapped: (sorted(mapped), mapped))


def _alike(lengths: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """Rows in batches of equal length: nothing is padded."""
    lengths = np.asarray(lengths)
    same = [np.flatnonzero(lengths == size) for size in np.unique(lengths)]
    return [rows[i : i + BATCH] for rows in same for i in range(0, len(rows), BATCH)]


def _encoded(member: Any, ids: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
    """The encoder's summary, (B, T) each -> (B, d)."""
    return member.encoder(member.embed(ids, amounts), ids > 0)


def _language(folder: Path) -> Any:
    """The language model, cut behind the block that is read.

    Raises:
        GenmatError: no transformer over crystal sentences there.
    """
    import torch
    from transformers.utils import logging

    from genmat.modeling.crystal_gpt.modeling_crystal_gpt import CrystalGPTForCausalLM

    logging.disable_progress_bar()
    fix = "give one such as crystal-gpt"
    if _kind(folder) != "crystal_gpt":
        raise GenmatError(f"{folder}: no transformer over crystal sentences ({_kind(folder) or 'no model'}); {fix}")
    model = CrystalGPTForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if model.config.vocab_size != len(vocabulary()):
        raise GenmatError(f"{folder}: a vocabulary of {model.config.vocab_size} words; {fix}")
    model.blocks, model.norm = model.blocks[:BLOCKS], torch.nn.Identity()
    return model


def _reader(folder: Path) -> Any:
    """The composition model.

    Raises:
        GenmatError: another kind of model.
    """
    if _kind(folder) != "composition":
        kind = _kind(folder) or "no model"
        raise GenmatError(f"{folder}: no composition model ({kind}); give one such as composition")
    return load_reader(folder)


def _kind(folder: Path) -> str:
    """Type of a snapshot's model, empty where there is none."""
    import json

    try:
        return str(json.loads((folder / "config.json").read_text())["model_type"])
    except (OSError, ValueError, KeyError):
        return ""
