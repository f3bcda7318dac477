"""Modules that have a new name: the old one works for a release, and says so."""

from __future__ import annotations

import importlib
import logging
import sys

logger = logging.getLogger(__name__)


def moved(old: str, new: str) -> None:
    """Let the module ``old`` be ``new``: users' endpoints.yml and credentials.yml name classes."""
    logger.warning("%s is now %s: write the new name in your files.", old, new)
    sys.modules[old] = importlib.import_module(new)
