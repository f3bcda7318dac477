"""What YAML files may say: taken as written, or refused with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from common.errors import UserError
from common.schema import Schema, parse


class Item(Schema):
    name: str
    count: int = Field(default=1, ge=1)


class File(Schema):
    share: float = 0.5
    is_open: bool = False
    title: str | None = None
    item: Item = Item(name="x")
    listed: list[Item] = Field(default=[])
    named: dict[str, Item] = Field(default={})


def test_values_are_taken_as_they_are_written() -> None:
    found = parse(File, {"share": 1, "listed": [{"name": "a"}], "title": None}, "x.yml", "the file")

    assert (found.share, found.listed, found.title) == (1, [Item(name="a")], None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "x.yml: the file must be a mapping of keys to values."),
        ({"shre": 1}, "x.yml: the file: 'shre' is not known. Did you mean 'share'?"),
        ({"share": True}, "x.yml: the file: 'share' is True; it must be a number."),
        ({"share": "1"}, "x.yml: the file: 'share' is '1'; it must be a number."),
        ({"is_open": 1}, "x.yml: the file: 'is_open' is 1; it must be true or false."),
        ({"title": 5}, "x.yml: the file: 'title' is 5; it must be a text."),
        ({"item": {}}, "x.yml: item: 'name' is missing."),
        (
            {"item": {"name": " "}},
            "x.yml: item: 'name' is ' '; it must be a text that is not empty.",
        ),
        (
            {"listed": [{"name": "a"}, {"name": "b", "count": 1.5}]},
            "x.yml: listed[1]: 'count' is 1.5; it must be a whole number.",
        ),
        # A key that is called as a field is stays a key.
        (
            {"named": {"name": {"name": "a", "count": 0}}},
            "x.yml: named, name: 'count' is 0; it must be greater than or equal to 1.",
        ),
        (
            {"named": {"count": {"nam": "a"}}},
            "x.yml: named, count: 'name' is missing.\n"
            "x.yml: named, count: 'nam' is not known. Did you mean 'name'?",
        ),
        ({"item": 3}, "x.yml: the file: 'item' is 3; it must be a mapping of keys to values."),
    ],
)
def test_what_cannot_be_is_named_with_what_to_write(values: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(File, values, "x.yml", "the file")

    assert str(caught.value) == message


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse(File, {"share": "x", "item": {"count": 0}, "other": 1}, "x.yml", "the file")

    assert len(str(caught.value).splitlines()) == 4
