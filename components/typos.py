"""Slips of the finger on one letter of a text."""

from __future__ import annotations


def drop(text: str, at: int) -> str:
    """Return ``text`` without the letter at index ``at``."""
    return text[:at] + text[at + 1 :]


def double(text: str, at: int) -> str:
    """Return ``text`` with the letter at index ``at`` twice."""
    return text[:at] + text[at] + text[at:]


def swap(text: str, at: int) -> str:
    """Return ``text`` with the letter at index ``at`` after the next one; the last one stays."""
    return text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]
