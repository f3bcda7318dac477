"""A tokenizer for French questions about people and technologies."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import regex
from rasa.engine.graph import ExecutionContext
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.tokenizers.tokenizer import Token, Tokenizer
from rasa.shared.constants import INTENT_MESSAGE_PREFIX
from rasa.shared.nlu.constants import TEXT
from rasa.shared.nlu.training_data.message import Message

from common.config import Rule, boolean, integer, optional, text
from components.component import Component

APOSTROPHES = "'’ʼ‘´`＇"

# Endings that make a dot part of a name (Node.js, ASP.NET, data.gouv.fr). After any other dot a
# new word starts, so that a space forgotten at the end of a sentence costs nothing.
_DOTTED = "ai|app|cloud|co|com|css|dev|eu|fr|gouv|html|io|java|js|jsx|ml|net|org|php|py|sh|sql|ts"

# `regex`, not `re`: its \w includes combining marks, so that a decomposed "é" stays one letter.
_TOKEN = regex.compile(
    rf"""
      (?<![\w.+%-])[\w.+%-]{{1,64}}+@[\w-]{{1,63}}(?:\.[\w-]{{1,63}})+        # e-mail address
    | (?:https?://|www\.)[^\s<>"]*[\w/]                                 # web address
    | (?<!\w)(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu)[{APOSTROPHES}](?=[\w.])   # elision
    | (?<![\w.])\.(?=\p{{L}})\w+                                         # .NET
    | (?<!\w)[cf]\ ?(?:\+\+\d*|\#)(?!\w)                                # C++, C #
    | \w+(?:                                                            # a word, going on with
          [.,](?=\d)(?<=\d.)\w+                                         #   3.11, 1,5
        | (?<=\d)\.x\b                                                  #   17.x
        | \.(?:{_DOTTED})(?!\w)                                         #   Node.js
        | -(?!t-(?:ils?|elles?|on)\b)(?!(?:ils?|elles?|on|lui|eux|leur)\b)\w+   # Jean-François
        | [{APOSTROPHES}]\w+                                            #   aujourd'hui, O'Brien
        | (?<=\b\w{{1,3}})[/&](?=\w{{1,3}}(?![\w+\#]))\w+                   #   CI/CD, R&D
      )*
      (?:\+\+\d*|\#\d*(?!\w)|\+(?=[\s.,;:!?)]|$))?                       # C++, C++20, C#
    """,
    regex.VERBOSE | regex.IGNORECASE,
)


# What chat programs put around and into a text: mentions (Teams, Slack, Discord), tags of
# formatting, HTML entities.
_MARKUP = regex.compile(
    r"""
      <at\b[^<>]*>[^<>]*</at>
    | <[@\#!][^<>\s]*>
    | \A\s*@[\w.-]+(?=\s)
    | </?(?:at|p|div|span|br|b|i|u|s|em|strong|ul|ol|li|blockquote|pre|code)
      (?:\s[^<>=]*=[^<>]*|\s*/?)>
    """,
    regex.VERBOSE | regex.IGNORECASE,
)
# Links and emphasis (Slack, Teams, Markdown): what is `kept` is what one reads.
_AROUND = regex.compile(
    r"""
      \[(?P<kept>[^][\n]{1,80})\]\(https?:[^()\s]*\)
    | <(?:mailto:|tel:|https?:)[^<>|\s]*\|(?P<kept>[^<>\n]*)>
    | (?<![\w*_~`])(?P<sign>[*_~`]{1,3})(?P<kept>[^\s*_~`][^*_~`\n]*)(?<!\s)(?P=sign)(?![\w*_~`])
    """,
    regex.VERBOSE,
)
_BLANK = regex.compile(r"&(?:nbsp|ensp|emsp|thinsp|#160|#xa0|#32);", regex.IGNORECASE)
_WITH_ENTITY = regex.compile(r"\S*&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z]{2,8}\d?);\S*", regex.IGNORECASE)


def _kept(match: regex.Match[str]) -> str:
    """Blanks for all but the group ``kept``."""
    before, after = (abs(match.span("kept")[end] - match.span()[end]) for end in (0, 1))
    return f"{' ' * before}{match['kept']}{' ' * after}"


def without_markup(text: str) -> str:
    """Return ``text`` with blanks for the mark-up of chat programs, as long as it was.

    An entity (``&nbsp;``, ``&eacute;``) becomes its character; what it is shorter by follows the
    word that it stands in, so that the offsets of all other words stay.
    """
    if text.startswith(INTENT_MESSAGE_PREFIX) or not any(sign in text for sign in "<&@[*_~`"):
        return text
    text = _AROUND.sub(_kept, text)
    for expression in (_MARKUP, _BLANK):
        text = expression.sub(lambda match: " " * len(match[0]), text)
    return _WITH_ENTITY.sub(lambda match: html.unescape(match[0]).ljust(len(match[0])), text)


def token_spans(text: str, limit: int | None = None) -> list[tuple[int, int]]:
    """Return the ``(start, end)`` offsets of the words of ``text``, at most ``limit`` of them.

    Words are runs of letters, digits and underscores; they keep the signs that belong to the name
    of a technology, a person or an address, and lose the elided word in front (``l'Angular`` gives
    ``l'`` and ``Angular``). Punctuation and emoji are no words.
    """
    spans: list[tuple[int, int]] = []
    for match in _TOKEN.finditer(text):
        if limit is not None and len(spans) >= limit:
            break
        spans.append(match.span())
    return spans


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.MESSAGE_TOKENIZER, is_trainable=False)
class FrenchTokenizer(Component, Tokenizer):
    """Splits French text into words, keeping the names of technologies and people whole.

    ``C++``, ``C#``, ``.NET``, ``Node.js``, ``CI/CD``, ``3.11``, ``Jean-François`` and e-mail
    addresses are one token each. An elided word is a token of its own (``d'`` + ``Ormesson``), so
    that an entity may begin before or after it, and so is the pronoun of an inversion
    (``connaît`` + ``il``).
    """

    RULES: ClassVar[Mapping[str, Rule]] = {
        "intent_tokenization_flag": boolean(),
        "intent_split_symbol": text(),
        "token_pattern": optional(text()),
        "prefix_separator_symbol": optional(text()),
        "max_tokens": optional(integer(1)),
    }

    @staticmethod
    def supported_languages() -> list[str] | None:
        """Return the languages that the component is made for."""
        return ["fr"]

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """Return the defaults; the first four keys are those of every Rasa tokenizer."""
        return {
            "intent_tokenization_flag": False,
            "intent_split_symbol": "_",
            "token_pattern": None,
            "prefix_separator_symbol": None,
            # Words after that many are not looked at (None: no limit). Messages are processed on
            # the event loop, and a question has no 500 words.
            "max_tokens": 500,
        }

    def __init__(self, config: dict[str, Any]) -> None:
        """Create the tokenizer.

        Raises:
            InvalidConfigException: a key is unknown or a value is out of range.
        """
        self.validate_config(config)
        config = {**self.get_default_config(), **config}
        super().__init__(config)
        self._max_tokens: int | None = config["max_tokens"]

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> FrenchTokenizer:
        """Create the component (see parent class)."""
        return cls(config)

    @classmethod
    def fingerprint_addon(cls, config: dict[str, Any]) -> str | None:
        """Return this module's source: Rasa itself looks at the source of the class only."""
        return Path(__file__).read_text(encoding="utf-8")

    def process(self, messages: list[Message]) -> list[Message]:
        """Tokenise the texts, without the mark-up of chat programs; a missing text is empty.

        Rasa's RegexMessageHandler fails on a missing text (``"message": null``), and the user
        would get no answer.
        """
        for message in messages:
            message.set(TEXT, without_markup(message.get(TEXT) or ""))
        processed: list[Message] = super().process(messages)
        return processed

    def tokenize(self, message: Message, attribute: str) -> list[Token]:
        """Return the tokens of an attribute; a text without words is one token, as with Rasa's."""
        words = message.get(attribute) or ""
        spans = token_spans(words, self._max_tokens) or [(0, len(words))]
        return self._apply_token_pattern([Token(words[start:end], start) for start, end in spans])
