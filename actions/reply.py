"""What the bot says in one turn: responses of ``domain.yml``, filled in."""

from __future__ import annotations

from typing import Any

from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

# Stands where the directory says nothing.
MISSING = "—"

Button = dict[str, str]


class Reply:
    """Collects the messages of one turn."""

    def __init__(self, domain: DomainDict) -> None:
        self._dispatcher = CollectingDispatcher()
        self._responses = domain.get("responses") or {}

    def phrase(self, response: str, **values: str | int) -> str:
        """Return the text of ``response`` with its ``values``, a part of another one's."""
        text: str = self._responses[response][0]["text"]
        return text.format(**values)

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
