"""The price file of ``bot cost``: prices in dollars, each with its day and its source."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from common import config
from common.config import Rule, number, one_of, text, unknown_name
from common.errors import UserError

DEFAULT = Path(__file__).with_name("prices.yml")
ANYWHERE = "any"
EUR, USD = "EUR", "USD"

# What the calculations ask for, and the unit that they take it in.
UNITS = {
    "comprehend-endpoint": "unit-second",
    "comprehend-asynchronous": "100 characters",
    "comprehend-ready-made": "100 characters",
    "comprehend-training": "hour",
    "comprehend-model": "model-month",
    "sagemaker-hosting": "instance-hour",
    "sagemaker-training": "instance-hour",
    "sagemaker-volume": "GB-month",
    "sagemaker-data": "GB",
    "sagemaker-serverless": "GB-second",
    "s3-storage": "GB-month",
    "ecr-storage": "GB-month",
}


@dataclass(frozen=True)
class Price:
    """What one unit of something costs.

    Attributes:
        key: One of :data:`UNITS`.
        price: In ``currency``, for one ``unit``.
        region: The AWS region that it was seen for, or ``any``.
        date: When it was seen: a day, a month or a year.
        source: Where it was seen.
        instance: The instance type, where the unit is an instance-hour.
    """

    key: str
    price: float
    currency: str
    unit: str
    region: str
    date: str
    source: str
    instance: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Key and instance type: what a price is looked up by."""
        return f"{self.key} {self.instance}".rstrip()


@dataclass(frozen=True)
class ExchangeRate:
    """Dollars for one unit of a currency."""

    currency: str
    rate: float
    date: str
    source: str


@dataclass(frozen=True)
class Prices:
    """The prices of a region, and the rates to convert them by."""

    region: str
    prices: tuple[Price, ...]
    exchange_rates: tuple[ExchangeRate, ...]

    @cached_property
    def _by_name(self) -> dict[str, Price]:
        # In order of preference, the last one wins: another region's, any region's, our own.
        ranked = sorted(
            self.prices, key=lambda one: (one.region == self.region, one.region == ANYWHERE)
        )
        return {one.name: one for one in ranked}

    def find(self, key: str, instance: str = "") -> Price:
        """Return the price for our region; failing that, that of any region, or of another one.

        Raises:
            UserError: There is none; the message names the nearest one that there is.
        """
        name = f"{key} {instance}".rstrip()
        if name not in self._by_name:
            raise UserError(f"No price of '{name}'. {unknown_name(name, self._by_name)}")
        return self._by_name[name]

    def chosen(self) -> list[Price]:
        """Return the prices in use, one a key and instance type, by name."""
        return sorted(self._by_name.values(), key=lambda one: one.name)

    def is_borrowed(self, price: Price) -> bool:
        """Whether the price was seen for another region than ours."""
        return price.region not in (ANYWHERE, self.region)

    def dollars(self, key: str, instance: str = "") -> float:
        """Return the price of one unit in US dollars."""
        price = self.find(key, instance)
        return price.price * self._rate(price.currency).rate

    def euros(self, dollars: float) -> float:
        """Convert US dollars."""
        return dollars / self._rate(EUR).rate

    @property
    def euro(self) -> ExchangeRate:
        """The rate between dollar and euro."""
        return self._rate(EUR)

    def instances(self, key: str) -> list[str]:
        """Return the instance types that there is a price for, cheapest first."""
        names = {one.instance for one in self.prices if one.key == key}
        return sorted(names, key=lambda instance: (self.dollars(key, instance), instance))

    def _rate(self, currency: str) -> ExchangeRate:
        if currency == USD:
            return ExchangeRate(USD, 1.0, "", "")
        return next(one for one in self.exchange_rates if one.currency == currency)

    def to_json(self) -> dict[str, Any]:
        """Return the prices in use, with their sources."""
        return {
            "region": self.region,
            "exchange_rate": dataclasses.asdict(self.euro),
            "prices": [
                {key: value for key, value in dataclasses.asdict(one).items() if value != ""}
                for one in self.chosen()
            ],
        }


# --- reading ----------------------------------------------------------------------------------


def read(path: Path = DEFAULT, region: str | None = None) -> Prices:
    """Read a price file.

    Args:
        path: The file; ``prices.yml`` beside this module documents the format.
        region: The AWS region to take prices for; by default the file says.

    Raises:
        UserError: It cannot be read or something in it is wrong; every fault is named.
    """
    document = config.read_yaml(path)
    config.refuse(path, config.faults("the file", document, _FILE, required=tuple(_FILE)))
    found: list[str] = []
    rates = _entries(document["exchange_rates"], "exchange_rates", _RATE, tuple(_RATE), found)
    required = [key for key in _PRICE if key not in ("instance", "note")]
    prices = _entries(document["prices"], "prices", _PRICE, required, found)
    config.refuse(path, found)
    config.refuse(path, [*_conflicts(prices, {USD, *(one["currency"] for one in rates)})])
    if not any(one["currency"] == EUR for one in rates):
        raise UserError(f"{path}: exchange_rates: there is none for {EUR}.")
    result = Prices(
        region or document["region"],
        tuple(Price(**{**one, "date": str(one["date"])}) for one in prices),
        tuple(ExchangeRate(**{**one, "date": str(one["date"])}) for one in rates),
    )
    seen = sorted({one.region for one in result.prices} - {ANYWHERE})
    if region and region not in seen:
        raise UserError(
            f"{path}: no price was seen for the region '{region}'. {unknown_name(region, seen)}"
        )
    return result


def _entries(
    items: list[Any], name: str, rules: Mapping[str, Rule], required: Any, found: list[str]
) -> list[dict[str, Any]]:
    """Return the items, and append what is wrong with them to ``found``."""
    for index, item in enumerate(items):
        found.extend(config.faults(f"{name}[{index}]", item, rules, required))
    return items


def _conflicts(prices: list[dict[str, Any]], currencies: set[str]) -> list[str]:
    """Return what is wrong with prices whose values are all right by themselves."""
    found: list[str] = []
    seen: set[tuple[str, str, str]] = set()
    for index, one in enumerate(prices):
        where, key, instance = f"prices[{index}]", one["key"], one.get("instance", "")
        if one["unit"] != UNITS[key]:
            found.append(f"{where}: the unit of '{key}' must be '{UNITS[key]}'.")
        if one["currency"] not in currencies:
            found.append(f"{where}: exchange_rates has none for {one['currency']}.")
        if (UNITS[key] == "instance-hour") != bool(instance):
            verb = "needs" if not instance else "has no use for"
            found.append(f"{where}: '{key}' {verb} an 'instance'.")
        if (key, instance, one["region"]) in seen:
            found.append(f"{where}: '{key} {instance}' is there twice for {one['region']}.")
        seen.add((key, instance, one["region"]))
    missing = set(UNITS) - {one["key"] for one in prices}
    return found + [f"prices: '{key}' is missing." for key in sorted(missing)]


def _is_date(value: Any) -> bool:
    """Whether it is a day, a month or a year; YAML reads them as date, text and number."""
    if isinstance(value, datetime.date):
        return True
    written = str(value)
    if re.fullmatch(r"20\d\d(-(0[1-9]|1[0-2]))?", written):
        return True
    try:
        return bool(datetime.date.fromisoformat(written))
    except ValueError:
        return False


_DATE = Rule("a day, month or year such as 2026-11-23, 2026-11 or 2026", _is_date)
_POSITIVE = number(0, 1e6, above=True)
_LIST = Rule("a list that is not empty", lambda value: isinstance(value, list) and bool(value))
_FILE = {"region": text(), "exchange_rates": _LIST, "prices": _LIST}
_RATE = {"currency": text(), "rate": _POSITIVE, "date": _DATE, "source": text()}
_PRICE = {
    "key": one_of(*UNITS),
    "price": _POSITIVE,
    "currency": text(),
    "unit": text(),
    "region": text(),
    "date": _DATE,
    "source": text(),
    "instance": text(),
    "note": text(),
}
