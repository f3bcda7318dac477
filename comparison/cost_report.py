"""What ``bot cost`` shows: figures and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from common.prices import UNITS, Prices
from comparison import cost
from comparison.cost import MAXIMUM_QUESTIONS_A_DAY, ORIGINAL_PROFILE
from comparison.tables import Footnotes, Grid
from comparison.usage import MONTH_HOURS, Profile


@dataclass(frozen=True)
class Costs:
    """Everything that ``bot cost`` shows."""

    prices: Prices
    profile: Profile
    options: tuple[cost.Option, ...]
    break_even: tuple[cost.BreakEven, ...]
    volumes: tuple[int, ...]
    curves: Mapping[str, Sequence[float]]
    published: tuple[cost.Published, ...]

    def option(self, key: str) -> cost.Option:
        """Return the way to serve of that key.

        Raises:
            UserError: There is none.
        """
        for option in self.options:
            if option.key == key:
                return option
        raise UserError(
            f"No way to serve is called '{key}'. Known: "
            f"{', '.join(option.key for option in self.options)}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        return {
            "profile": dataclasses.asdict(self.profile),
            **self.prices.to_json(),
            "options": [
                {**option.to_json(), "euros": self.prices.euros(option.dollars())}
                for option in self.options
            ],
            "break_even": [dataclasses.asdict(one) for one in self.break_even],
            "curves": {"questions_per_day": list(self.volumes), "dollars": dict(self.curves)},
            "published": [
                {**dataclasses.asdict(one), "euros": self.prices.euros(one.dollars)}
                for one in self.published
            ],
        }

    def grids(self) -> list[Grid]:
        """Return the tables, for people."""
        return [
            self.monthly_grid(),
            self.break_even_grid(),
            self.published_grid(),
            self.price_grid(),
        ]

    def monthly_grid(self) -> Grid:
        """Return what each way to serve costs in a month."""
        footnotes = Footnotes()
        rows = [
            (
                footnotes.mark(option.name, option.notes),
                *(money(option.dollars(kind)) for kind in ("running", "training", "storage")),
                money(option.dollars()),
                f"{self.prices.euros(option.dollars()):,.2f} €",
            )
            for option in self.options
        ]
        euro = self.prices.euro
        notes = [
            f"Usage: {self.profile.sentence()}.",
            f"1 € is ${euro.rate:g} ({euro.source}, {euro.date}). A month has {MONTH_HOURS} hours. "
            "Before tax, without free tiers and savings plans.",
            *footnotes.lines,
        ]
        header = ("Served by", "Running", "Training", "Storage", "Month", "Month, €")
        return Grid("Cost in a month", header, rows, notes)

    def break_even_grid(self) -> Grid:
        """Return the volumes at which one way overtakes another."""
        names = {option.key: option.name for option in self.options}
        rows = [
            (
                names[one.cheap],
                names[one.dear],
                f"{one.questions_per_day:,}",
                money(one.dollars),
            )
            for one in self.break_even
        ]
        return Grid(
            "Break-even",
            ("From here on dearer", "than", "Questions a day", "Both then cost (month)"),
            rows,
            [
                f"Each volume spread over {self.profile.hours_per_day:g} hours a day and "
                f"{self.profile.days_per_month:g} days a month; looked for between 1 and "
                f"{MAXIMUM_QUESTIONS_A_DAY:,} questions a day."
            ],
            frozenset({1}),
        )

    def published_grid(self) -> Grid:
        """Return the original's figures beside ours."""
        rows = [
            (
                one.what,
                one.theirs,
                money(one.dollars),
                f"{self.prices.euros(one.dollars):,.2f}",
                one.why,
            )
            for one in self.published
        ]
        return Grid(
            "The original's monthly figures, and ours for the same usage",
            ("Served by", "Original", "Ours", "Ours (€)", "Why they differ"),
            rows,
            [f"Its usage: {ORIGINAL_PROFILE.sentence()}; running costs alone."],
            frozenset({1, 4}),
        )

    def price_grid(self) -> Grid:
        """Return the prices, with what each was seen for, when and where."""
        order = list(UNITS)
        rows = [
            (
                one.name,
                f"{one.price:f}".rstrip("0").rstrip(".") + f" {one.currency}",
                one.unit,
                one.region + (" (borrowed)" if self.prices.is_borrowed(one) else ""),
                one.date,
                one.source + (f" ({one.note})" if one.note else ""),
            )
            for one in sorted(
                self.prices.chosen(), key=lambda one: (order.index(one.key), one.price)
            )
        ]
        return Grid(
            f"Prices used, region {self.prices.region}",
            ("Price", "Amount", "Unit", "Seen for", "Seen on", "Source"),
            rows,
            ["Borrowed: seen for another region, since there is none for this one."],
            frozenset({2, 3, 4, 5}),
        )

    def real_run(self) -> str:
        """Return in words what a comparison on the real AWS costs.

        The endpoint of SageMaker is there already; its hours are on its own bill.
        """
        price = self.prices.dollars
        training = price("comprehend-training") * self.profile.comprehend_training_minutes / 60
        hourly = 3600 * price("comprehend-endpoint")
        instance = self.profile.hosting_instance
        return (
            f"Amazon charges about {money(training)} to train Comprehend's model (half an hour), "
            f"{money(hourly)} an hour for its endpoint of one unit until you delete it (`bot "
            f"comprehend endpoint stop`), and {money(price('sagemaker-hosting', instance))} an "
            f"hour for SageMaker's ({instance}). Measured in about two hours: "
            f"{money(training + 2 * (hourly + price('sagemaker-hosting', instance)))}."
        )

    def price_sentence(self) -> str:
        """Return in words which prices these are, where there is no room for the table."""
        chosen = self.prices.chosen()
        dates = sorted(one.date for one in chosen)
        borrowed = sum(self.prices.is_borrowed(one) for one in chosen)
        return (
            f"{len(chosen)} prices for {self.prices.region}, seen between {dates[0]} and "
            f"{dates[-1]}; {borrowed} of them for another region."
        )


def money(dollars: float) -> str:
    """Return an amount with two decimals: ``$1,296.00``."""
    return f"${dollars:,.2f}"


def work_out(prices: Prices, profile: Profile) -> Costs:
    """Work everything out.

    Raises:
        UserError: The profile names an instance type that has no price.
    """
    volumes, amounts = cost.curves(prices, profile)
    return Costs(
        prices,
        profile,
        tuple(way(prices, profile) for way in cost.ways(prices, profile).values()),
        tuple(cost.break_even(prices, profile)),
        tuple(volumes),
        amounts,
        tuple(cost.published(prices)),
    )
