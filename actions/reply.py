"""What the bot says in one turn: responses of ``domain.yml``, filled in."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml
from rasa_sdk.executor import CollectingDispatcher

_DOMAIN = Path(__file__).resolve().parent.parent / "domain.yml"

# Stands where the directory says nothing.
MISSING = "—"

Button = dict[str, str]


@functools.cache
def _texts() -> dict[str, str]:
    """The texts of the responses, which answers are put together out of.

    Read once: Rasa can send the file with each turn, which makes every turn slower.
    """
    responses = yaml.load(_DOMAIN.read_bytes(), yaml.CSafeLoader)["responses"]
    return {name: variants[0].get("text", "") for name, variants in responses.items()}


class Reply:
    """Collects the messages of one turn."""

    def __init__(self) -> None:
        self._dispatcher = CollectingDispatcher()

    def phrase(self, response: str, **values: str | int) -> str:
        """Return the text of ``response`` with its ``values``, a part of another one's."""
        return _texts()[response].format(**values)

    def __call__(
        self,
        response: str,
        *,
        buttons: list[Button] | None = None,
        payload: dict[str, Any] | None = None,
        **values: str | int,
    ) -> None:
        """Say ``response`` of ``domain.yml`` with its ``values``.

        ``buttons`` are added to those of the response; ``payload`` is what an app draws as cards.
        """
        self._dispatcher.utter_message(
            response=response, buttons=buttons, json_message=payload, **values
        )

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages so far, as the action server sends them."""
        return self._dispatcher.messages
