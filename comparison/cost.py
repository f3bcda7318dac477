"""What serving an intent classifier costs in a month, for each way to serve it.

A month has 30 days here, as in the figures that this is compared with; amounts are US dollars
before tax. Free tiers and savings plans are left out.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.prices import Prices
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
    """One item of a bill.

    Attributes:
        kind: ``running``, ``training`` or ``storage``.
        dollars: Dollars a month.
        how: How they come about.
    """

    kind: str
    dollars: float
    how: str


@dataclass(frozen=True)
class Option:
    """One way to serve, and its bill.

    Attributes:
        key: A short name: ``comprehend-always``.
        name: A name for people.
        lines: The items of the bill.
        in_chat: Whether an answer comes while somebody waits.
        notes: What to know beside the amounts.
    """

    key: str
    name: str
    lines: tuple[Line, ...]
    in_chat: bool = True
    notes: tuple[str, ...] = ()

    def dollars(self, kind: str | None = None) -> float:
        """Return dollars a month, of one kind or of all."""
        return sum(line.dollars for line in self.lines if kind in (None, line.kind))

    def to_json(self) -> dict[str, Any]:
        """Return the bill with its sum."""
        return {**dataclasses.asdict(self), "dollars": self.dollars()}


Way = Callable[[Prices, Profile], Option]


def _units(profile: Profile) -> int:
    """Return the inference units that the questions need: by characters, and by documents."""
    rate = profile.questions_per_second
    needed = max(
        rate * profile.mean_characters / UNIT_CHARACTERS_PER_SECOND,
        rate / UNIT_DOCUMENTS_PER_SECOND,
    )
    return max(1, math.ceil(needed))


def _office_hours(profile: Profile) -> float:
    """Return the paid hours a month of an endpoint that lives only in the hours of use."""
    return profile.days_per_month * min(24, profile.hours_per_day + profile.start_stop_minutes / 60)


def _comprehend_model(prices: Prices, profile: Profile) -> tuple[Line, Line]:
    hours = profile.trainings_per_month * profile.comprehend_training_minutes / 60
    hourly, monthly = prices.dollars("comprehend-training"), prices.dollars("comprehend-model")
    return (
        Line("training", hours * hourly, f"{hours:,.2f} h × ${hourly:g}"),
        Line("storage", profile.models_kept * monthly, f"{profile.models_kept} × ${monthly:g}"),
    )


def _comprehend_endpoint(hours: float, prices: Prices, profile: Profile) -> tuple[Line, ...]:
    units, price = _units(profile), prices.dollars("comprehend-endpoint")
    seconds = hours * 3600
    return (
        Line("running", units * seconds * price, f"{units} × {seconds:,.0f} s × ${price:g}"),
        *_comprehend_model(prices, profile),
    )


def _comprehend_notes(profile: Profile) -> tuple[str, ...]:
    units = _units(profile)
    if units > ENDPOINT_UNITS:
        return (f"{units} inference units; one endpoint has at most {ENDPOINT_UNITS}",)
    return ()


def comprehend_always(prices: Prices, profile: Profile) -> Option:
    """Comprehend, synchronous, with an endpoint that is never deleted."""
    return Option(
        "comprehend-always",
        "Comprehend, 24/7",
        _comprehend_endpoint(MONTH_HOURS, prices, profile),
        notes=_comprehend_notes(profile),
    )


def comprehend_office(prices: Prices, profile: Profile) -> Option:
    """Comprehend, synchronous, with an endpoint in the hours of use alone."""
    overhead = f"{profile.start_stop_minutes:g} min a day to start and stop are paid"
    return Option(
        "comprehend-office",
        "Comprehend, office hours",
        _comprehend_endpoint(_office_hours(profile), prices, profile),
        notes=(overhead, *_comprehend_notes(profile)),
    )


def comprehend_asynchronous(prices: Prices, profile: Profile) -> Option:
    """Comprehend, asynchronous: jobs over files, an answer minutes later."""
    units = max(MINIMUM_BILLED_UNITS, math.ceil(profile.mean_characters / BILLED_CHARACTERS))
    price = prices.dollars("comprehend-asynchronous")
    how = f"{profile.questions:,.0f} × {units} units × ${price:g}"
    return Option(
        "comprehend-asynchronous",
        "Comprehend, asynchronous",
        (
            Line("running", profile.questions * units * price, how),
            *_comprehend_model(prices, profile),
        ),
        in_chat=False,
        notes=("minutes later: not for a chat",),
    )


def _sagemaker_model(prices: Prices, profile: Profile) -> tuple[Line, Line]:
    hours = profile.trainings_per_month * profile.sagemaker_training_minutes / 60
    hourly = prices.dollars("sagemaker-training", profile.training_instance)
    models = profile.models_kept * profile.model_gb
    s3, ecr = prices.dollars("s3-storage"), prices.dollars("ecr-storage")
    return (
        Line("training", hours * hourly, f"{hours:,.2f} h × ${hourly:g}"),
        Line(
            "storage",
            models * s3 + profile.images_gb * ecr,
            f"{models:g} GB × ${s3:g} + {profile.images_gb:g} GB × ${ecr:g}",
        ),
    )


def _sagemaker_data(prices: Prices, profile: Profile) -> Line:
    gigabytes = profile.questions * profile.kilobytes_per_question / 1e6
    price = prices.dollars("sagemaker-data")
    return Line("running", gigabytes * price, f"{gigabytes:,.2f} GB of data × ${price:g}")


def _sagemaker_endpoint(
    instance: str, hours: float, prices: Prices, profile: Profile
) -> tuple[Line, ...]:
    # One question at a time on an instance: cautious, since one has several cores.
    count = max(1, math.ceil(profile.questions_per_second * profile.answer_seconds))
    price, disk = prices.dollars("sagemaker-hosting", instance), prices.dollars("sagemaker-volume")
    volume = count * profile.volume_gb * hours / MONTH_HOURS
    return (
        Line("running", count * hours * price, f"{count} × {hours:,.0f} h × ${price:g}"),
        Line("running", volume * disk, f"{volume:.1f} GB of disk × ${disk:g}"),
        _sagemaker_data(prices, profile),
        *_sagemaker_model(prices, profile),
    )


def sagemaker_real_time(instance: str, prices: Prices, profile: Profile) -> Option:
    """SageMaker with instances that run around the clock."""
    return Option(
        f"sagemaker-{instance}",
        f"SageMaker {instance}, 24/7",
        _sagemaker_endpoint(instance, MONTH_HOURS, prices, profile),
    )


def sagemaker_office(prices: Prices, profile: Profile) -> Option:
    """SageMaker with an instance in the hours of use alone."""
    overhead = f"{profile.start_stop_minutes:g} min a day to start and stop are paid"
    return Option(
        "sagemaker-office",
        f"SageMaker {profile.hosting_instance}, office hours",
        _sagemaker_endpoint(profile.hosting_instance, _office_hours(profile), prices, profile),
        notes=(overhead,),
    )


def sagemaker_serverless(memory_gb: int, prices: Prices, profile: Profile) -> Option:
    """SageMaker serverless: paid by the time of each answer and the memory."""
    seconds, price = profile.serverless(memory_gb), prices.dollars("sagemaker-serverless")
    how = f"{profile.questions:,.0f} × {seconds:g} s × {memory_gb} GB × ${price:g}"
    return Option(
        f"sagemaker-serverless-{memory_gb}gb",
        f"SageMaker serverless, {memory_gb} GB",
        (
            Line("running", profile.questions * seconds * memory_gb * price, how),
            _sagemaker_data(prices, profile),
            *_sagemaker_model(prices, profile),
        ),
        notes=("cold start: seconds after a pause",),
    )


def in_process(prices: Prices, profile: Profile) -> Option:
    """The classifier inside the bot's own process, on the machine that runs the bot anyway."""
    return Option(
        "in-process",
        "In the bot's process",
        (Line("running", 0.0, "the machine is paid for already: no marginal cost"),),
        notes=("no marginal cost: the machine is paid for",),
    )


def ways(prices: Prices, profile: Profile) -> dict[str, Way]:
    """Return every way to serve by its key, in the order of the tables."""
    hosting = prices.instances("sagemaker-hosting")
    prices.find("sagemaker-hosting", profile.hosting_instance)  # Refuses an unknown one by name.
    return {
        "comprehend-always": comprehend_always,
        "comprehend-office": comprehend_office,
        "comprehend-asynchronous": comprehend_asynchronous,
        **{
            f"sagemaker-{instance}": functools.partial(sagemaker_real_time, instance)
            for instance in hosting
        },
        "sagemaker-office": sagemaker_office,
        **{
            f"sagemaker-serverless-{memory}gb": functools.partial(sagemaker_serverless, memory)
            for memory in SERVERLESS_MEMORY
        },
        "in-process": in_process,
    }


# --- break-even -------------------------------------------------------------------------------


@dataclass(frozen=True)
class BreakEven:
    """The volume at which one way to serve overtakes another.

    Attributes:
        cheap: Key of the way that costs no more below the volume.
        dear: Key of the way that costs less from the volume on.
        questions_per_day: The volume: the first whole number where ``cheap`` costs more.
        dollars: What ``dear`` costs there, a month.
    """

    cheap: str
    dear: str
    questions_per_day: int
    dollars: float


def compared(profile: Profile) -> list[str]:
    """Return the keys of the ways that the curves show: one of each kind."""
    return [
        "comprehend-always",
        "comprehend-office",
        "comprehend-asynchronous",
        f"sagemaker-{profile.hosting_instance}",
        f"sagemaker-serverless-{profile.serverless_memory_gb}gb",
        "in-process",
    ]


def _volumes() -> list[int]:
    """Return volumes from 1 to the maximum, so many a decade that steps look like steps."""
    steps = range(_A_DECADE * round(math.log10(MAXIMUM_QUESTIONS_A_DAY)) + 1)
    return sorted({round(10 ** (step / _A_DECADE)) for step in steps})


def curves(prices: Prices, profile: Profile) -> tuple[list[int], dict[str, list[float]]]:
    """Return volumes (questions a day) and, for each compared way, dollars a month at each."""
    volumes, known = _volumes(), ways(prices, profile)
    return volumes, {
        key: [known[key](prices, profile.at(volume)).dollars() for volume in volumes]
        for key in compared(profile)
    }


def break_even(prices: Prices, profile: Profile) -> list[BreakEven]:
    """Return the first volume at which each compared way starts to cost more than another.

    Pairs that never cross between 1 and :data:`MAXIMUM_QUESTIONS_A_DAY` are left out.
    """
    known = ways(prices, profile)
    volumes, amounts = curves(prices, profile)
    found = []
    for cheap, below in amounts.items():
        for dear, above in amounts.items():
            is_more = [one > other for one, other in zip(below, above, strict=True)]
            if is_more[0] or True not in is_more:
                continue
            first = is_more.index(True)
            volume = _first_volume(
                known[cheap], known[dear], volumes[first - 1], volumes[first], prices, profile
            )
            there = known[dear](prices, profile.at(volume)).dollars()
            found.append(BreakEven(cheap, dear, volume, there))
    return sorted(found, key=lambda one: (one.questions_per_day, one.cheap, one.dear))


def _first_volume(
    cheap: Way, dear: Way, low: int, high: int, prices: Prices, profile: Profile
) -> int:
    """Return where ``cheap`` starts to cost more, knowing that it does at ``high``, not ``low``."""
    while high - low > 1:
        middle = (low + high) // 2
        there = profile.at(middle)
        if cheap(prices, there).dollars() > dear(prices, there).dollars():
            high = middle
        else:
            low = middle
    return high


# --- the original's figures -------------------------------------------------------------------

# Ten questions a minute around the clock, as the original counted.
ORIGINAL_PROFILE = Profile(
    questions_per_minute=10, hours_per_day=24, days_per_month=30, trainings_per_month=0
)
# « environ 1 300 $ (près de 1 200 €) »: the rate that the original converted by.
ORIGINAL_RATE = 1300 / 1200


@dataclass(frozen=True)
class Published:
    """A monthly amount of the original beside ours, for the same usage.

    Attributes:
        what: What it is the price of.
        theirs: What the original says.
        dollars: Ours, running costs alone.
        why: Where the difference comes from.
    """

    what: str
    theirs: str
    dollars: float
    why: str


def published(prices: Prices) -> list[Published]:
    """Return the original's four amounts beside what the price file gives for its own usage."""
    usage, rate = ORIGINAL_PROFILE, ORIGINAL_RATE
    asynchronous = comprehend_asynchronous(prices, usage).dollars("running")
    one_unit = usage.questions * prices.dollars("comprehend-asynchronous")
    ready_made = usage.questions * prices.dollars("comprehend-ready-made")
    hourly = prices.dollars("sagemaker-hosting", usage.hosting_instance)
    instance = hourly * MONTH_HOURS
    one_gigabyte = prices.dollars("sagemaker-serverless") * usage.questions
    return [
        Published(
            "Comprehend, 24/7",
            "1,300 $, almost 1,200 €",
            comprehend_always(prices, usage).dollars("running"),
            f"the same; the original's rate was about {rate:.2f} $ for a euro",
        ),
        Published(
            "Comprehend, asynchronous",
            "39 €",
            asynchronous,
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
