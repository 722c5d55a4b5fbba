"""The tokenizer of crystal sentences: one token per word, whitespace between words, no other file needed.

    <bos> <hull:0.025> <gap:3> Ba 1 Ti 1 O 3 sg221 Ba 221a Ti 221b O 221c <geom> L4.006 <eos>

A sentence spells a material coarse to fine: conditions, composition (element, amount), space group, occupied Wyckoff
positions (element, position), then what symmetry leaves free: lattice lengths (``L``, Å) and angles (``A``, degrees)
and, for each site with freedom, its element again and its fractional coordinates (``x``). Copied next to a
checkpoint, this file runs without genmat; the sentences themselves are written by :mod:`genmat.tokenization.sentence`.
"""

import json
from pathlib import Path
from typing import ClassVar

from transformers import PreTrainedTokenizer


class CrystalTokenizer(PreTrainedTokenizer):
    """Words to ids and back. The vocabulary is a plain ``{word: id}`` JSON file."""

    vocab_files_names: ClassVar = {"vocab_file": "vocab.json"}
    model_input_names: ClassVar = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file: str, **kwargs) -> None:
        self.words: dict[str, int] = json.loads(Path(vocab_file).read_text(encoding="utf-8"))
        self.by_id = {index: word for word, index in self.words.items()}
        specials = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
        super().__init__(**{**specials, **kwargs})

    @property
    def vocab_size(self) -> int:
        """Number of words."""
        return len(self.words)

    def get_vocab(self) -> dict[str, int]:
        """Word to id."""
        return dict(self.words)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A sentence begins with ``<bos>``; ``<eos>`` is for the model to say."""
        ids = [*token_ids_0, *(token_ids_1 or [])]
        return ids if ids[:1] == [self.words["<bos>"]] else [self.words["<bos>"], *ids]

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """Write ``vocab.json`` and return its path."""
        path = Path(save_directory) / (f"{filename_prefix}-vocab.json" if filename_prefix else "vocab.json")
        path.write_text(json.dumps(self.words), encoding="utf-8")
        return (str(path),)

    def _tokenize(self, text: str, **kwargs) -> list[str]:
        """Words of a sentence; a bare Wyckoff letter takes the space group before it (``sg221 Ba a`` = ``221a``)."""
        words, group = [], ""
        for word in text.split():
            if word.startswith("sg"):
                group = word[2:]
            words.append(group + word if group and group + word in self.words else word)
        return words

    def _convert_token_to_id(self, token: str) -> int:
        return self.words.get(token, self.words["<unk>"])

    def _convert_id_to_token(self, index: int) -> str:
        return self.by_id.get(index, "<unk>")

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Words joined by spaces."""
        return " ".join(tokens)
