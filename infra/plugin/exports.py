"""Rasa components of the skills bot, for other projects: docs/plugin.md."""

from __future__ import annotations

import importlib
from typing import Any

# Imported on demand: each brings along what the others do not need.
_EXPORTS = {
    "CamembertIntentClassifier": "components.camembert",
    "ComprehendIntentClassifier": "components.comprehend",
    "FrenchCRFEntityExtractor": "components.crf",
    "FrenchTokenizer": "components.tokenizer",
    "GazetteerEntityExtractor": "components.gazetteer",
    "FairRedisLockStore": "bot.runtime.lock_store",
    "MobileInput": "bot.channels.mobile",
    "AppendOnlySQLTrackerStore": "bot.runtime.tracker_store",
    "QuickSqlTrackerStore": "bot.runtime.tracker_store",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
