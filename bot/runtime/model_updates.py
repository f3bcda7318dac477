"""A running bot takes over the model that the retraining without AWS has made live.

Not by Rasa's model server: nothing more has to run, and the new model is loaded beside the old one,
by a thread, while turns go on; the turn that is being answered ends with the model that it began
with. Conversations stay: tracker store and locks are those of the agent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "PIPELINE_FOLDER"
SERVING = "serving.json"
SECONDS = 1.0

log = logging.getLogger(__name__)


def start(app: Any) -> None:
    """Follow the pipeline of ``PIPELINE_FOLDER``, if there is one, as long as the server runs.

    Args:
        app: Rasa's Sanic server.
    """
    if folder := os.environ.get(FOLDER_VARIABLE):
        app.add_task(follow(app, Path(folder)))


async def follow(app: Any, folder: Path) -> None:
    """Load each model that is named in the folder; one that cannot be loaded changes nothing."""
    seen = ""
    while True:
        agent = getattr(app.ctx, "agent", None)
        model = _served(folder)
        if agent is not None and agent.is_ready() and model not in ("", seen):
            seen = model
            try:
                # Also of a first start: what is live is served, whatever the command line names.
                await asyncio.to_thread(agent.load_model, model)
                log.warning("The bot answers with %s.", model)
            except Exception:  # of many kinds; the model before goes on
                log.exception("The bot keeps its model: %s cannot be loaded.", model)
        await asyncio.sleep(SECONDS)


def _served(folder: Path) -> str:
    try:
        return str(json.loads((folder / SERVING).read_text(encoding="utf-8"))["model"])
    except (OSError, ValueError, KeyError):
        return ""
