"""Text normalisation shared by the NLU components and the directory."""

from __future__ import annotations

import unicodedata

# Letters that Unicode does not decompose, as people type them on a French keyboard.
_UNDECOMPOSED = str.maketrans(
    {
        "œ": "oe",
        "æ": "ae",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ß": "ss",
        "ı": "i",
        "þ": "th",
        "ð": "d",
        "’": "'",
        "ʼ": "'",
        "‐": "-",
        "‑": "-",
    }
)


def fold(text: str) -> str:
    """Return ``text`` without case and accents: ``"Maëlys ŁUKASZ"`` gives ``"maelys lukasz"``.

    Typographic apostrophes and hyphens become plain ones. The result may differ in length from
    the input (``œ`` becomes ``oe``); see :func:`fold_aligned` where offsets matter.
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_UNDECOMPOSED))
    return "".join(char for char in decomposed if not unicodedata.combining(char)).translate(
        _UNDECOMPOSED
    )


def fold_aligned(text: str) -> tuple[str, list[int]]:
    """Fold ``text`` and return, for each folded character, the index it comes from in ``text``."""
    folded: list[str] = []
    offsets: list[int] = []
    for index, char in enumerate(text):
        piece = fold(char)
        folded.append(piece)
        offsets.extend([index] * len(piece))
    return "".join(folded), offsets
