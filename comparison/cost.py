"""What serving an intent classifier costs in a month, for each way to serve it: ``bot cost``.

A month has 30 days here, as in the figures that this is compared with; amounts are US dollars
before tax. Free tiers and savings plans are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.prices import UNITS, Prices
from comparison.tables import Footnotes, Table
from comparison.usage import MONTH_HOURS, SERVERLESS_MEMORY, Profile

# One inference unit of a Comprehend endpoint, and the units that one endpoint can have.
# Source: Amazon Comprehend Developer Guide, "Using endpoints" and "Guidelines and quotas".
UNIT_CHARACTERS_PER_SECOND = 100
UNIT_DOCUMENTS_PER_SECOND = 2
ENDPOINT_UNITS = 10
# Asynchronous requests are billed by 100 characters, at least three of those.
# Source: Amazon Comprehend pricing.
BILLED_CHARACTERS = 100
MINIMUM_BILLED_UNITS = 3

MAXIMUM_QUESTIONS_A_DAY = 1_000_000
# Points of the curves between a volume and ten times as much.
_A_DECADE = 160


@dataclass(frozen=True)
class Line:
    """One item of a bill: dollars a month, and how they come about."""

    kind: str  # running, training or storage
    dollars: float
    how: str


@dataclass(frozen=True)
class ServingOption:
    """One way to serve, and its bill."""

    key: str
    name: str
    lines: tuple[Line, ...]
    in_chat: bool = True  # an answer comes while somebody waits
    notes: tuple[str, ...] = ()  # what to know beside the amounts

    def dollars(self, kind: str | None = None) -> float:
        """Return dollars a month, of one kind or of all."""
        return sum(line.dollars for line in self.lines if kind in (None, line.kind))

    def to_json(self) -> dict[str, Any]:
        """Return the bill with its sum."""
        return {**asdict(self), "dollars": self.dollars()}


def options(prices: Prices, profile: Profile) -> dict[str, ServingOption]:
    """Return every way to serve by its key, in the order of the tables.

    Raises:
        UserError: The profile names an instance type that has no price.
    """
    hosting = prices.instances("sagemaker-hosting")
    prices.find("sagemaker-hosting", profile.hosting_instance)  # Refuses an unknown one by name.
    office = profile.days_per_month * min(
        24, profile.hours_per_day + profile.start_stop_minutes / 60
    )
    overhead = f"{profile.start_stop_minutes:g} min a day to start and stop are paid"
    found = [
        _comprehend_endpoint("always", "24/7", MONTH_HOURS, (), prices, profile),
        _comprehend_endpoint("office", "office hours", office, (overhead,), prices, profile),
        _comprehend_asynchronous(prices, profile),
        *(
            _sagemaker_endpoint(one, f"{one}, 24/7", one, MONTH_HOURS, (), prices, profile)
            for one in hosting
        ),
        _sagemaker_endpoint(
            "office", f"{profile.hosting_instance}, office hours", profile.hosting_instance,
            office, (overhead,), prices, profile,
        ),
        *(_sagemaker_serverless(memory, prices, profile) for memory in SERVERLESS_MEMORY),
        ServingOption(
            "in-process",
            "In the bot's process",
            (Line("running", 0.0, "the machine is paid for already: no marginal cost"),),
            notes=("no marginal cost: the machine is paid for",),
        ),
    ]  # fmt: skip
    return {one.key: one for one in found}


def _comprehend_endpoint(
    key: str, name: str, hours: float, notes: tuple[str, ...], prices: Prices, profile: Profile
) -> ServingOption:
    """Comprehend, synchronous, with an endpoint that is paid for so many hours a month."""
    rate, price = profile.questions_per_second, prices.dollars("comprehend-endpoint")
    needed = max(
        rate * profile.mean_characters / UNIT_CHARACTERS_PER_SECOND,
        rate / UNIT_DOCUMENTS_PER_SECOND,
    )
    units, seconds = max(1, math.ceil(needed)), hours * 3600
    if units > ENDPOINT_UNITS:
        notes += (f"{units} inference units; one endpoint has at most {ENDPOINT_UNITS}",)
    running = Line("running", units * seconds * price, f"{units} × {seconds:,.0f} s × ${price:g}")
    lines = running, *_comprehend_model(prices, profile)
    return ServingOption(f"comprehend-{key}", f"Comprehend, {name}", lines, notes=notes)


def _comprehend_asynchronous(prices: Prices, profile: Profile) -> ServingOption:
    """Comprehend, asynchronous: jobs over files, an answer minutes later."""
    units = max(MINIMUM_BILLED_UNITS, math.ceil(profile.mean_characters / BILLED_CHARACTERS))
    price = prices.dollars("comprehend-asynchronous")
    how = f"{profile.questions:,.0f} × {units} units × ${price:g}"
    return ServingOption(
        "comprehend-asynchronous",
        "Comprehend, asynchronous",
        (Line("running", profile.questions * units * price, how),
         *_comprehend_model(prices, profile)),
        in_chat=False,
        notes=("minutes later: not for a chat",),
    )  # fmt: skip


def _comprehend_model(prices: Prices, profile: Profile) -> tuple[Line, Line]:
    hours = profile.trainings_per_month * profile.comprehend_training_minutes / 60
    hourly, monthly = prices.dollars("comprehend-training"), prices.dollars("comprehend-model")
    return (
        Line("training", hours * hourly, f"{hours:,.2f} h × ${hourly:g}"),
        Line("storage", profile.models_kept * monthly, f"{profile.models_kept} × ${monthly:g}"),
    )


def _sagemaker_endpoint(
    key: str, name: str, instance: str, hours: float, notes: tuple[str, ...],
    prices: Prices, profile: Profile,
) -> ServingOption:  # fmt: skip
    """SageMaker with instances that are paid for so many hours a month."""
    # One question at a time on an instance: cautious, since one has several cores.
    count = max(1, math.ceil(profile.questions_per_second * profile.answer_seconds))
    price, disk = prices.dollars("sagemaker-hosting", instance), prices.dollars("sagemaker-volume")
    volume = count * profile.volume_gb * hours / MONTH_HOURS
    lines = (
        Line("running", count * hours * price, f"{count} × {hours:,.0f} h × ${price:g}"),
        Line("running", volume * disk, f"{volume:.1f} GB of disk × ${disk:g}"),
        *_sagemaker_data_and_model(prices, profile),
    )
    return ServingOption(f"sagemaker-{key}", f"SageMaker {name}", lines, notes=notes)


def _sagemaker_serverless(memory_gb: int, prices: Prices, profile: Profile) -> ServingOption:
    """SageMaker serverless: paid by the time of each answer and the memory."""
    seconds = profile.serverless_seconds.get(memory_gb, profile.answer_seconds)
    price = prices.dollars("sagemaker-serverless")
    how = f"{profile.questions:,.0f} × {seconds:g} s × {memory_gb} GB × ${price:g}"
    return ServingOption(
        f"sagemaker-serverless-{memory_gb}gb",
        f"SageMaker serverless, {memory_gb} GB",
        (Line("running", profile.questions * seconds * memory_gb * price, how),
         *_sagemaker_data_and_model(prices, profile)),
        notes=("cold start: seconds after a pause",),
    )  # fmt: skip


def _sagemaker_data_and_model(prices: Prices, profile: Profile) -> tuple[Line, ...]:
    gigabytes, data = profile.questions * profile.kilobytes_per_question / 1e6, "sagemaker-data"
    hours = profile.trainings_per_month * profile.sagemaker_training_minutes / 60
    hourly = prices.dollars("sagemaker-training", profile.training_instance)
    models = profile.models_kept * profile.model_gb
    s3, ecr = prices.dollars("s3-storage"), prices.dollars("ecr-storage")
    return (
        Line("running", gigabytes * prices.dollars(data),
             f"{gigabytes:,.2f} GB of data × ${prices.dollars(data):g}"),
        Line("training", hours * hourly, f"{hours:,.2f} h × ${hourly:g}"),
        Line("storage", models * s3 + profile.images_gb * ecr,
             f"{models:g} GB × ${s3:g} + {profile.images_gb:g} GB × ${ecr:g}"),
    )  # fmt: skip


# --- break-even -------------------------------------------------------------------------------


@dataclass(frozen=True)
class BreakEven:
    """The volume at which one way to serve overtakes another."""

    cheap: str  # key of the way that costs no more below the volume
    dear: str  # key of the way that costs less from the volume on
    questions_per_day: int  # the first whole number where `cheap` costs more
    dollars: float  # what `dear` costs there, a month


def curves(prices: Prices, profile: Profile) -> tuple[list[int], dict[str, list[float]]]:
    """Return volumes (questions a day) and, for one way of each kind, dollars a month at each."""
    # So many a decade that steps look like steps.
    steps = range(_A_DECADE * round(math.log10(MAXIMUM_QUESTIONS_A_DAY)) + 1)
    volumes = sorted({round(10 ** (step / _A_DECADE)) for step in steps})
    there = [options(prices, profile.at(volume)) for volume in volumes]
    compared = (
        "comprehend-always",
        "comprehend-office",
        "comprehend-asynchronous",
        f"sagemaker-{profile.hosting_instance}",
        f"sagemaker-serverless-{profile.serverless_memory_gb}gb",
        "in-process",
    )
    return volumes, {key: [one[key].dollars() for one in there] for key in compared}


def break_even(
    prices: Prices, profile: Profile, volumes: Sequence[int], amounts: Mapping[str, Sequence[float]]
) -> list[BreakEven]:
    """Return the first volume at which each way of the curves starts to cost more than another.

    Pairs that never cross between 1 and :data:`MAXIMUM_QUESTIONS_A_DAY` are left out.
    """
    found = []
    for cheap, below in amounts.items():
        for dear, above in amounts.items():
            is_more = [one > other for one, other in zip(below, above, strict=True)]
            if is_more[0] or True not in is_more:
                continue
            # Between two points of the curves, by halves.
            low, high = volumes[is_more.index(True) - 1], volumes[is_more.index(True)]
            while high - low > 1:
                middle = (low + high) // 2
                there = options(prices, profile.at(middle))
                if there[cheap].dollars() > there[dear].dollars():
                    high = middle
                else:
                    low = middle
            there = options(prices, profile.at(high))
            found.append(BreakEven(cheap, dear, high, there[dear].dollars()))
    return sorted(found, key=lambda one: (one.questions_per_day, one.cheap, one.dear))


# --- the original's figures -------------------------------------------------------------------

# Ten questions a minute around the clock, as the original counted.
ORIGINAL_PROFILE = Profile(
    questions_per_minute=10, hours_per_day=24, days_per_month=30, trainings_per_month=0
)
# « environ 1 300 $ (près de 1 200 €) »: the rate that the original converted by.
ORIGINAL_RATE = 1300 / 1200


@dataclass(frozen=True)
class Published:
    """A monthly amount of the original beside ours, for the same usage."""

    what: str
    theirs: str
    dollars: float  # ours, running costs alone
    why: str  # where the difference comes from


def published(prices: Prices) -> list[Published]:
    """Return the original's four amounts beside what the price file gives for its own usage."""
    usage, rate = ORIGINAL_PROFILE, ORIGINAL_RATE
    ours = options(prices, usage)
    one_unit = usage.questions * prices.dollars("comprehend-asynchronous")
    ready_made = usage.questions * prices.dollars("comprehend-ready-made")
    hourly = prices.dollars("sagemaker-hosting", usage.hosting_instance)
    instance = hourly * MONTH_HOURS
    one_gigabyte = prices.dollars("sagemaker-serverless") * usage.questions
    return [
        Published(
            "Comprehend, 24/7",
            "1,300 $, almost 1,200 €",
            ours["comprehend-always"].dollars("running"),
            f"the same; the original's rate was about {rate:.2f} $ for a euro",
        ),
        Published(
            "Comprehend, asynchronous",
            "39 €",
            ours["comprehend-asynchronous"].dollars("running"),
            f"a request is billed as at least {MINIMUM_BILLED_UNITS} units; one unit a request "
            f"would be ${one_unit:,.2f}. 39 € is near ${ready_made:,.2f} ({ready_made / rate:.0f} "
            "€): one unit a request, at the price of the ready-made analyses",
        ),
        Published(
            f"SageMaker {usage.hosting_instance}, 24/7",
            "72 €",
            instance,
            f"72 € would be ${72 * rate / MONTH_HOURS:.3f} an hour; one {usage.hosting_instance} "
            f"is ${hourly:g}, two are ${2 * instance:,.2f} ({2 * instance / rate:.0f} €)",
        ),
        Published(
            "SageMaker serverless, 1 GB",
            "a little over 2 €",
            one_gigabyte * usage.answer_seconds,
            f"at the {usage.answer_seconds:g} s that the original measured; 2 € would be "
            f"{2 * rate / one_gigabyte:.2f} s an answer. With 3 GB: "
            f"${3 * one_gigabyte * usage.answer_seconds:,.2f}",
        ),
    ]


# --- everything -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Costs:
    """Everything that ``bot cost`` shows, as figures and as tables."""

    prices: Prices
    profile: Profile
    options: Mapping[str, ServingOption]
    volumes: Sequence[int]
    curves: Mapping[str, Sequence[float]]
    break_even: Sequence[BreakEven]
    published: Sequence[Published]

    @classmethod
    def of(cls, prices: Prices, profile: Profile) -> Costs:
        """Work everything out.

        Raises:
            UserError: The profile names an instance type that has no price.
        """
        all_options, (volumes, amounts) = options(prices, profile), curves(prices, profile)
        even = break_even(prices, profile, volumes, amounts)
        return cls(prices, profile, all_options, volumes, amounts, even, published(prices))

    def euros(self, key: str) -> float:
        """Return euros a month of the way to serve of that key."""
        return self.prices.euros(self.options[key].dollars())

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
        return {
            "profile": self.profile.dict(),
            **self.prices.to_json(),
            "options": [
                {**one.to_json(), "euros": self.euros(key)} for key, one in self.options.items()
            ],
            "break_even": [asdict(one) for one in self.break_even],
            "curves": {"questions_per_day": list(self.volumes), "dollars": dict(self.curves)},
            "published": [
                {**asdict(one), "euros": self.prices.euros(one.dollars)} for one in self.published
            ],
        }

    def tables(self) -> list[Table]:
        """Return the tables, for people; the prices come last."""
        return [self.monthly(), self._break_even(), self._published(), self._prices()]

    def monthly(self) -> Table:
        """Return what each way to serve costs in a month."""
        footnotes, euro = Footnotes(), self.prices.euro
        rows = [
            (
                footnotes.mark(one.name, one.notes),
                *(money(one.dollars(kind)) for kind in ("running", "training", "storage", None)),
                f"{self.euros(key):,.2f} €",
            )
            for key, one in self.options.items()
        ]
        notes = [
            f"Usage: {self.profile.sentence()}.",
            f"1 € is ${euro.rate:g} ({euro.source}, {euro.date}). A month has {MONTH_HOURS} hours. "
            "Before tax, without free tiers and savings plans.",
            *footnotes.lines,
        ]
        header = ("Served by", "Running", "Training", "Storage", "Month", "Month, €")
        return Table("Cost in a month", header, rows, notes)

    def _break_even(self) -> Table:
        names = {key: option.name for key, option in self.options.items()}
        rows = [
            (names[one.cheap], names[one.dear], f"{one.questions_per_day:,}", money(one.dollars))
            for one in self.break_even
        ]
        note = (
            f"Each volume spread over {self.profile.hours_per_day:g} hours a day and "
            f"{self.profile.days_per_month:g} days a month; looked for between 1 and "
            f"{MAXIMUM_QUESTIONS_A_DAY:,} questions a day."
        )
        header = ("From here on dearer", "than", "Questions a day", "Both then cost (month)")
        return Table("Break-even", header, rows, [note], {1})

    def _published(self) -> Table:
        rows = [
            (one.what, one.theirs, money(one.dollars),
             f"{self.prices.euros(one.dollars):,.2f}", one.why)
            for one in self.published
        ]  # fmt: skip
        title = "The original's monthly figures, and ours for the same usage"
        header = ("Served by", "Original", "Ours", "Ours (€)", "Why they differ")
        note = f"Its usage: {ORIGINAL_PROFILE.sentence()}; running costs alone."
        return Table(title, header, rows, [note], {1, 4})

    def _prices(self) -> Table:
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
        header = ("Price", "Amount", "Unit", "Seen for", "Seen on", "Source")
        note = "Borrowed: seen for another region, since there is none for this one."
        return Table(
            f"Prices used, region {self.prices.region}", header, rows, [note], {2, 3, 4, 5}
        )

    def real_run(self) -> str:
        """Return in words what a comparison on the real AWS costs.

        The endpoint of SageMaker is there already; its hours are on its own bill.
        """
        price, instance = self.prices.dollars, self.profile.hosting_instance
        training = price("comprehend-training") * self.profile.comprehend_training_minutes / 60
        hourly, hosting = 3600 * price("comprehend-endpoint"), price("sagemaker-hosting", instance)
        return (
            f"Amazon charges about {money(training)} to train Comprehend's model (half an hour), "
            f"{money(hourly)} an hour for its endpoint of one unit until you delete it (`bot "
            f"comprehend endpoint stop`), and {money(hosting)} an hour for SageMaker's "
            f"({instance}). Measured in about two hours: "
            f"{money(training + 2 * (hourly + hosting))}."
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
