"""The price file of ``bot cost``: prices in dollars, each with its day and its source."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, validator

from common import config
from common.config import unknown_name
from common.errors import UserError
from common.schema import Schema, parse

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


def _as_date(value: Any) -> str:
    """Return a day, a month or a year as text; YAML reads them as date, text and number."""
    written = str(value)
    if not re.fullmatch(r"20\d\d(-(0[1-9]|1[0-2]))?", written):
        try:
            datetime.date.fromisoformat(written)
        except ValueError:
            words = "it must be a day, month or year such as 2026-11-23, 2026-11 or 2026"
            raise ValueError(words) from None
    return written


class Price(Schema):
    """What one unit of something costs."""

    key: Literal[tuple(UNITS)]  # type: ignore[valid-type]
    price: float = Field(gt=0, le=1e6)  # in `currency`
    currency: str
    unit: str
    region: str  # the AWS region that it was seen for, or « any »
    date: Any  # when it was seen
    source: str  # and where
    instance: str = ""  # its type, where the unit is an instance-hour
    note: str = ""

    _date = validator("date", allow_reuse=True)(_as_date)

    @property
    def name(self) -> str:
        """Key and instance type: what a price is looked up by."""
        return f"{self.key} {self.instance}".rstrip()


class ExchangeRate(Schema):
    """Dollars for one unit of a currency."""

    currency: str
    rate: float = Field(gt=0, le=1e6)
    date: Any
    source: str

    _date = validator("date", allow_reuse=True)(_as_date)


class _File(Schema):
    region: str
    exchange_rates: list[ExchangeRate] = Field(min_items=1)
    prices: list[Price] = Field(min_items=1)


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
            return ExchangeRate.construct(rate=1.0)
        return next(one for one in self.exchange_rates if one.currency == currency)

    def to_json(self) -> dict[str, Any]:
        """Return the prices in use, with their sources."""
        return {
            "region": self.region,
            "exchange_rate": self.euro.dict(),
            "prices": [
                {key: value for key, value in one.dict().items() if value != ""}
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
    document = parse(_File, config.read_yaml(path), path, "the file")
    currencies = {USD, *(one.currency for one in document.exchange_rates)}
    config.refuse(path, _conflicts(document.prices, currencies))
    if EUR not in currencies:
        raise UserError(f"{path}: exchange_rates: there is none for {EUR}.")
    result = Prices(
        region or document.region, tuple(document.prices), tuple(document.exchange_rates)
    )
    seen = sorted({one.region for one in result.prices} - {ANYWHERE})
    if region and region not in seen:
        raise UserError(
            f"{path}: no price was seen for the region '{region}'. {unknown_name(region, seen)}"
        )
    return result


def _conflicts(prices: list[Price], currencies: set[str]) -> list[str]:
    """Return what is wrong with prices whose values are all right by themselves."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for index, one in enumerate(prices):
        where = f"prices[{index}]"
        if one.unit != UNITS[one.key]:
            found.append(f"{where}: the unit of '{one.key}' must be '{UNITS[one.key]}'.")
        if one.currency not in currencies:
            found.append(f"{where}: exchange_rates has none for {one.currency}.")
        if (one.unit == "instance-hour") != bool(one.instance):
            verb = "needs" if not one.instance else "has no use for"
            found.append(f"{where}: '{one.key}' {verb} an 'instance'.")
        if (one.name, one.region) in seen:
            found.append(f"{where}: '{one.name}' is there twice for {one.region}.")
        seen.add((one.name, one.region))
    missing = set(UNITS) - {one.key for one in prices}
    return found + [f"prices: '{key}' is missing." for key in sorted(missing)]
