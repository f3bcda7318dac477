"""French words for days and periods."""

from __future__ import annotations

from datetime import date

import pytest

from actions.dates import is_range, period

TODAY = date(2026, 11, 25)  # a Wednesday


@pytest.mark.parametrize(
    ("words", "first", "last"),
    [
        ("15 décembre", (2026, 12, 15), (2026, 12, 15)),
        ("fin janvier", (2027, 1, 31), (2027, 1, 31)),
        ("entre le 5 et le 20 février", (2027, 2, 5), (2027, 2, 20)),
        ("du 5 au 20", (2026, 12, 5), (2026, 12, 20)),
        ("du 1er au 15 janvier", (2027, 1, 1), (2027, 1, 15)),
        ("1er et 15 décembre", (2026, 12, 1), (2026, 12, 15)),
        ("du 28 novembre au 3 décembre", (2026, 11, 28), (2026, 12, 3)),
        ("du 20 au 5 janvier", (2026, 12, 20), (2027, 1, 5)),
        ("entre le 20 décembre et le 5 janvier", (2026, 12, 20), (2027, 1, 5)),
        ("de janvier à mars", (2027, 1, 1), (2027, 3, 31)),
        ("du 5/12 au 20/12", (2026, 12, 5), (2026, 12, 20)),
        ("la semaine du 14 décembre", (2026, 12, 14), (2026, 12, 20)),
        ("du lundi au vendredi", (2026, 11, 30), (2026, 12, 4)),
    ],
)
def test_a_period_has_a_first_and_a_last_day(
    words: str, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    assert period(words, TODAY) == (date(*first), date(*last))


def test_what_names_no_day_is_none() -> None:
    assert period("la saint-jamais", TODAY) is None
    assert period("du 35 au 40 mars", TODAY) is None


@pytest.mark.parametrize(("words", "ranges"), [("du 5 au 20", True), ("fin mars", False)])
def test_both_ends_of_a_range_are_shown(words: str, ranges: bool) -> None:
    assert is_range(words) is ranges
