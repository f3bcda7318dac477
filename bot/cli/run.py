"""``bot run``."""

from __future__ import annotations


def run() -> None:
    """run."""
