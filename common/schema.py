"""What a YAML file may say, as pydantic models; every fault is named, with what to write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, validator
from pydantic.fields import SHAPE_SINGLETON, ModelField

from common.config import unknown_name
from common.errors import UserError

# What a value must be to be taken as it is: pydantic would make 1 of true, and "5" of 5.
_PLAIN: list[tuple[type, Any, str]] = [
    (bool, bool, "it must be true or false"),
    (float, (int, float), "it must be a number"),
    (int, int, "it must be a whole number"),
    (str, str, "it must be a text"),
]
# What pydantic says, and what it means for somebody who has written a file.
_WORDS = {
    "ensure this value is": "it must be",
    "ensure this value has": "it must have",
    "unexpected value; permitted:": "it must be one of",
    "value is not a valid dict": "it must be a mapping of keys to values",
    "value is not a valid": "it must be a valid",
    "the list has duplicated items": "it must be a list without repetitions",
}


class Schema(BaseModel):
    """A mapping with known keys, whose values are taken as they are written."""

    class Config:
        extra = "forbid"
        allow_mutation = False

    @validator("*", pre=True)
    @classmethod
    def _as_written(cls, value: Any, field: ModelField) -> Any:
        if value is None and field.allow_none:
            return value
        wanted = field.outer_type_
        for kind, taken, words in _PLAIN:
            if isinstance(wanted, type) and issubclass(wanted, kind):
                if not isinstance(value, taken) or isinstance(value, bool) > (kind is bool):
                    raise TypeError(words)
                break
        if isinstance(value, str) and not value.strip():
            raise ValueError("it must be a text that is not empty")
        return value


S = TypeVar("S", bound=Schema)


def parse(schema: type[S], values: Any, path: Path | str, where: str) -> S:
    """Return ``values``, as read from ``path``, as a ``schema``.

    Args:
        schema: What they must be.
        values: A mapping; anything else is a fault.
        path: Where they come from, for the messages.
        where: What they are, for the messages: ``"the profile"``.

    Raises:
        UserError: A key is unknown or missing, or a value cannot be; every fault is named.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{path}: {where} must be a mapping of keys to values.")
    try:
        return schema.parse_obj(values)
    except ValidationError as error:
        found = [_fault(schema, values, where, one["loc"], one["msg"]) for one in error.errors()]
        raise UserError("\n".join(f"{path}: {one}" for one in dict.fromkeys(found))) from None


def _fault(schema: Any, value: Any, where: str, place: tuple[Any, ...], message: str) -> str:
    """Return a fault in words: ``"prices[3]: 'price' is -1; it must be greater than 0."``"""
    *folders, key = place
    words, is_one = "", True
    for part in folders:
        words += f"[{part}]" if isinstance(part, int) else f"{', ' if words else ''}{part}"
        value = value[part]
        if is_one and part in schema.__fields__:
            field = schema.__fields__[part]
            schema, is_one = field.type_, field.shape == SHAPE_SINGLETON
        else:
            is_one = True
    words = words or where
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    if key in ("__root__", "__key__"):
        return f"{words}: {'each key: ' * (key == '__key__')}{message}"
    if message == "extra fields not permitted":
        return f"{words}: '{key}' is not known. {unknown_name(str(key), schema.__fields__)}"
    if message == "field required":
        return f"{words}: '{key}' is missing."
    shown = value.get(key) if isinstance(value, Mapping) else value[key]
    return f"{words}: '{key}' is {shown!r}; {message}."
