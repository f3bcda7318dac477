"""Copies of training sentences as people type them on a phone."""

from __future__ import annotations

import random

from common.text import fold
from components.typos import double, drop, swap

# Letters beside each other on an AZERTY keyboard.
_NEIGHBOURS = {
    "a": "zq", "z": "aes", "e": "zrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok",
    "o": "ipl", "p": "om", "q": "asw", "s": "qdz", "d": "sfe", "f": "dgr", "g": "fht", "h": "gjy",
    "j": "hku", "k": "jli", "l": "kmo", "m": "lp", "w": "xq", "x": "wcs", "c": "xvd", "v": "cbf",
    "b": "vng", "n": "bh",
}  # fmt: skip
_ABBREVIATIONS = {
    "qui": "ki", "est": "é", "c'est": "c", "quelqu'un": "qqun", "que": "ke", "quel": "kel",
    "quelle": "kelle", "pour": "pr", "dans": "ds", "avec": "avc", "vous": "vs", "tu": "t",
    "bonjour": "bjr", "salut": "slt", "s'il te plaît": "stp", "beaucoup": "bcp", "comment": "cmt",
    "toujours": "tjs", "quoi": "koi", "quand": "qd", "nous": "ns", "sur": "sr", "il y a": "ya",
}  # fmt: skip


def augment(text: str, rng: random.Random) -> str:
    """Return ``text`` as somebody in a hurry might type it; the meaning stays.

    One to three of: no accents, no capitals, no punctuation, an abbreviation, a typo.
    """
    changes = rng.sample([_plain, _lower, _unpunctuated, _abbreviated, _typo], k=rng.randint(1, 3))
    for change in changes:
        text = change(text, rng)
    return text


def _plain(text: str, rng: random.Random) -> str:
    # fold() lowers case too; keep the capitals where the letters line up.
    folded = fold(text)
    if len(folded) != len(text):
        return folded
    return "".join(
        new.upper() if old.isupper() else new for old, new in zip(text, folded, strict=True)
    )


def _lower(text: str, rng: random.Random) -> str:
    return text.lower()


def _unpunctuated(text: str, rng: random.Random) -> str:
    return text.rstrip(" ?!.…").replace(",", "")


def _abbreviated(text: str, rng: random.Random) -> str:
    padded = f" {text} "
    for phrase, short in _ABBREVIATIONS.items():
        if rng.random() < 0.7:
            padded = padded.replace(f" {phrase} ", f" {short} ")
            padded = padded.replace(f" {phrase.capitalize()} ", f" {short.capitalize()} ")
    return padded.strip()


def _typo(text: str, rng: random.Random) -> str:
    """Drop, double, swap or replace one letter in about every twelve."""
    for _ in range(max(1, len(text) // 12)):
        positions = [index for index, char in enumerate(text) if char.isalpha()]
        if len(positions) < 4:
            break
        at = rng.choice(positions)
        slip = rng.choice((drop, double, swap, None))
        if slip is None or (slip is swap and at + 1 == len(text)):
            near = rng.choice(_NEIGHBOURS.get(text[at].lower(), text[at]))
            text = text[:at] + near + text[at + 1 :]
        else:
            text = slip(text, at)
    return text
