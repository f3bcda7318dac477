"""Where entities stand in their texts, and how they may have been counted otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from bot.dataset.model import Entity, Example, Problem


def wrong_entities(example: Example) -> Iterator[Problem]:
    """Yield what is wrong with the places of a text's entities."""
    previous: Entity | None = None
    length = len(example.text)
    for entity in example.entities:
        span = f"entity {entity.entity} at {entity.start}–{entity.end}"
        if not 0 <= entity.start < entity.end <= length:
            message = f"is not inside the text, which has {length} characters: {example.text!r}"
            yield Problem(
                example.line, f"{span} {message}{otherwise_counted(example.text, entity)}"
            )
            continue
        covered = example.text[entity.start : entity.end]
        if covered != covered.strip():
            yield Problem(example.line, f"{span} begins or ends with a space: {covered!r}")
        if entity.value == "":
            yield Problem(example.line, f"{span} has an empty value")
        same = previous and (previous.start, previous.end) == (entity.start, entity.end)
        if previous and not same and entity.start < previous.end:
            yield Problem(example.line, f"{span} overlaps with {previous.entity}: {covered!r}")
        previous = entity


def cuts_a_word(text: str, start: int, end: int) -> bool:
    """Whether a span begins or ends within a word."""
    return any(text[place - 1 : place].isalnum() and text[place : place + 1].isalnum()
               for place in (start, end) if place)  # fmt: skip


def otherwise_counted(text: str, entity: Entity) -> str:
    """Say what a span covers that was counted in other units than characters, if it makes sense."""
    for unit, encoding, size in (("UTF-16", "utf-16-le", 2), ("bytes of UTF-8", "utf-8", 1)):
        data = text.encode(encoding, "surrogatepass")
        try:
            start, end = (
                len(data[: place * size].decode(encoding)) for place in (entity.start, entity.end)
            )
        except UnicodeDecodeError:
            continue
        covered = text[start:end]
        moved = (start, end) != (entity.start, entity.end) and entity.end * size <= len(data)
        if moved and covered == covered.strip() != "" and not cuts_a_word(text, start, end):
            return f"; it was counted in {unit}: in characters, {covered!r} is at {start}–{end}"
    return ""
