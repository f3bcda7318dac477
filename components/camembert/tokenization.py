"""Sentences to arrays of token ids, the same way in training and in serving."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Longer texts are cut before tokenising: no word piece of interest is longer than this.
_CHARACTERS_PER_TOKEN = 16


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A padded batch.

    Attributes:
        ids: int64, batch x tokens.
        mask: int64, batch x tokens; 1 for a token, 0 for padding.
    """

    ids: np.ndarray
    mask: np.ndarray


class SentenceTokenizer:
    """Wraps ``tokenizers`` (no transformers needed) for one encoder.

    Args:
        path: A ``tokenizer.json``.
        max_length: Tokens after which a sentence is cut, special tokens included.
        prefix: Put before each sentence (E5 models were trained with ``"query: "``).
        pad_id: Id of the padding token.
    """

    def __init__(self, path: Path, max_length: int, prefix: str, pad_id: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._characters = max_length * _CHARACTERS_PER_TOKEN
        self._prefix = prefix
        self._pad_id = pad_id
        # SentencePiece puts a bare word mark before a character it does not know.
        self._meaningless = {_unknown_id(path), self._tokenizer.token_to_id("▁")}
        self._prefix_length = len(self._encode([""])[0].ids) - 2 if prefix else 0

    def _encode(self, texts: Sequence[str]) -> list:
        # Lone surrogates (half an emoji) cannot be encoded as UTF-8.
        cleaned = [
            self._prefix + text[: self._characters].encode("utf-8", "replace").decode("utf-8")
            for text in texts
        ]
        return self._tokenizer.encode_batch(cleaned)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens included, not padded."""
        return [encoding.ids for encoding in self._encode(texts)]

    def pad(self, ids: Sequence[Sequence[int]]) -> Tokens:
        """Return ``ids`` as one batch, padded to its longest member."""
        width = max(len(item) for item in ids)
        padded = np.full((len(ids), width), self._pad_id, dtype=np.int64)
        mask = np.zeros((len(ids), width), dtype=np.int64)
        for row, item in enumerate(ids):
            padded[row, : len(item)] = item
            mask[row, : len(item)] = 1
        return Tokens(padded, mask)

    def is_unknown(self, ids: Sequence[int]) -> bool:
        """Whether the vocabulary knows nothing of a sentence: no token, or ``<unk>`` alone."""
        content = ids[1 + self._prefix_length : -1]
        return all(token in self._meaningless for token in content)


def _unknown_id(path: Path) -> int | None:
    model = json.loads(path.read_text("utf-8"))["model"]
    if model["type"] == "Unigram":
        return model["unk_id"]
    return model["vocab"].get(model.get("unk_token"))
