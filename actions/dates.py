"""French words for a day or a period, as days: « mi-janvier », « la semaine prochaine »."""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, time, timedelta

import dateparser

from common.text import fold

Period = tuple[date, date]

# fmt: off
_NOW = frozenset((
    "maintenant", "immediatement", "tout de suite", "de suite", "desormais", "asap",
    "des maintenant", "des a present", "a present", "en ce moment", "actuellement",
))
_MONTHS = (
    "janvier", "fevrier", "mars", "avril", "mai", "juin", "juillet", "aout", "septembre",
    "octobre", "novembre", "decembre",
)
_SHORT_MONTHS = (
    "janv", "fevr", "mars", "avr", "mai", "juin", "juil", "aout", "sept", "oct", "nov", "dec",
)
# fmt: on
_LEADING = re.compile(
    r"^(?:(?:le|la|les|l'|du|de|des|d'|au|aux|en|courant|ici|ce|cette|cet)\s*\b)+"
)
_PART = re.compile(r"(debut|mi|milieu|moitie|fin)\b[\s-]*(.+)")
_QUARTER = re.compile(r"(?:t|q)\s*([1-4])|(premier|1er|deuxieme|2e|troisieme|3e|quatrieme|4e)")
_SEASONS = {"hiver": (12, 3), "printemps": (3, 6), "ete": (6, 9), "automne": (9, 12)}
_MONTH = re.compile(r"(?:mois de |d')?([a-z]{3,})\.?(?:\s+(\d{4}))?")
_UNIT_AHEAD = re.compile(r"(semaine|mois|trimestre|an|annee)\s+(?:prochaine?|suivante?|qui vient)")
_RANGE = re.compile(
    r"(?:(?:entre|du|de)\s+)?(?:les?\s+)?(.+?)\s+(?:et|au|a|jusqu'au|jusqu'a|jusqu'en)\s+(?:le\s+)?(.+)"
)
_DAY_OF_MONTH = re.compile(r"(\d{1,2})(?:er)?")


def period(words: str, today: date) -> Period | None:
    """Return the first and the last day of what ``words`` name, None where they name none.

    Without a year, the next such day counts.
    """
    text = " ".join(fold(words).replace("d'ici", "dans").replace("quinze", "15").split())
    if text in _NOW:
        return today, today
    if found := _RANGE.fullmatch(text):
        return _between(found[1], found[2], today)
    bare = _LEADING.sub("", text, count=1)
    if found := _PART.fullmatch(bare):
        # « fin d'année », « fin du mois », « début janvier »
        whole = period(found[2], today)
        return _part(found[1], whole) if whole else None
    if found := re.fullmatch(r"semaine du (.+)", bare):
        first = period(found[1], today)
        return _current("semaine", first[0]) if first else None
    if bare in ("semaine", "mois", "trimestre", "annee"):
        return _current(bare, today)
    if ahead := _UNIT_AHEAD.fullmatch(bare):
        unit = {"an": "annee"}.get(ahead[1], ahead[1])
        return _current(unit, _current(unit, today)[1] + timedelta(days=1))
    if bare in _SEASONS:
        return _season(bare, today)
    if "trimestre" in bare or re.fullmatch(r"[tq]\s*[1-4](\s+\d{4})?", bare):
        return _quarter(bare, today)
    if month := _MONTH.fullmatch(bare):
        name = month[1]
        names = [n for n in (_MONTHS, _SHORT_MONTHS) if name in n]
        if names:
            return _month(names[0].index(name) + 1, month[2], today)
    if re.fullmatch(r"20\d\d", bare):
        return date(int(bare), 1, 1), date(int(bare), 12, 31)
    if bare in ("noel", "rentree", "nouvel an"):
        month_, day = {"noel": (12, 25), "rentree": (9, 1), "nouvel an": (1, 1)}[bare]
        return _single(_next(month_, day, today))
    if (number := _DAY_OF_MONTH.fullmatch(bare)) and 1 <= int(number[1]) <= 31:
        return _single(_next_day_of_month(int(number[1]), today))
    return _parsed(text, bare, today)


def is_range(words: str) -> bool:
    """Whether ``words`` name the first and the last day: « entre le 5 et le 20 février »."""
    return _RANGE.fullmatch(" ".join(fold(words).split())) is not None


def _between(first: str, last: str, today: date) -> Period | None:
    end = period(last, today)
    day = _DAY_OF_MONTH.fullmatch(first.replace("premier", "1"))
    if end and day:
        # « du 5 au 20 février »: the month is that of the end, or the one before it.
        ahead = int(day[1]) <= end[1].day
        month = end[1].replace(day=1) if ahead else end[1].replace(day=1) - timedelta(days=1)
        first = f"{day[1]} {_MONTHS[month.month - 1]} {month.year}"
    begin = period(first, today)
    if begin and end and begin[0] > end[1]:
        end = period(last, begin[0])  # « du lundi au vendredi », on a Wednesday
    return (begin[0], end[1]) if begin and end else None


def _parsed(text: str, bare: str, today: date) -> Period | None:
    """What dateparser reads: « 15 décembre », « 15/12 », « dans deux mois », « vendredi »."""
    settings = {
        "RELATIVE_BASE": datetime.combine(today, time()),
        "PREFER_DATES_FROM": "future",
        "DATE_ORDER": "DMY",
    }
    for candidate in (text, re.sub(r"\s+prochaine?$", "", bare)):
        candidate = re.sub(r"(?<=\d)[.](?=\d)", "/", candidate)
        found = dateparser.parse(candidate, languages=["fr"], settings=settings)
        if found is not None:
            return _single(found.date())
    return None


def _single(day: date) -> Period:
    return day, day


def _end_of_month(year: int, month: int) -> date:
    return date(year, month, calendar.monthrange(year, month)[1])


def _month(month: int, year: str | None, today: date) -> Period:
    number = int(year) if year else today.year + (month < today.month)
    return date(number, month, 1), _end_of_month(number, month)


def _next(month: int, day: int, today: date) -> date:
    this_year = date(today.year, month, day)
    return this_year if this_year >= today else date(today.year + 1, month, day)


def _next_day_of_month(day: int, today: date) -> date:
    year, month = today.year, today.month
    while True:
        if day <= calendar.monthrange(year, month)[1] and date(year, month, day) >= today:
            return date(year, month, day)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _current(unit: str, day: date) -> Period:
    """The week, month, quarter or year that ``day`` is in."""
    if unit == "semaine":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=6)
    if unit == "mois":
        return day.replace(day=1), _end_of_month(day.year, day.month)
    if unit == "trimestre":
        first = (day.month - 1) // 3 * 3 + 1
        return date(day.year, first, 1), _end_of_month(day.year, first + 2)
    return date(day.year, 1, 1), date(day.year, 12, 31)


def _season(name: str, today: date) -> Period:
    first, last = _SEASONS[name]
    year = today.year + (last <= today.month and first < last)
    return date(year, first, 21), date(year + (last < first), last, 20)


def _quarter(text: str, today: date) -> Period | None:
    found = _QUARTER.search(text)
    if not found:
        return None
    word = found[1] or found[2]
    names = {"premier": "1", "deuxieme": "2", "troisieme": "3", "quatrieme": "4"}
    number = int(names.get(word, word[0]))
    year = re.search(r"20\d\d", text)
    first = _month(3 * number - 2, year and year[0], today)[0]
    if not year and number == (today.month + 2) // 3:
        first = first.replace(year=today.year)
    return first, _end_of_month(first.year, 3 * number)


def _part(part: str, whole: Period) -> Period:
    """The first or second third of a period, or its last day."""
    first, last = whole
    if part == "fin":
        return last, last
    if part == "debut":
        return first, first + (last - first) / 3
    third = (last - first) / 3
    return first + third, last - third
