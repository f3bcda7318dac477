"""What serving costs: the bills, the price file, the usage profile, ``bot cost``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bot import charts
from bot.cli import app
from common import prices
from common.errors import UserError
from comparison import cost
from comparison.cost import Costs
from comparison.usage import Profile

PRICES = prices.read()
ROUND_THE_CLOCK = Profile(hours_per_day=24, days_per_month=30)


def option(key: str, profile: Profile) -> cost.ServingOption:
    return cost.options(PRICES, profile)[key]


def running(key: str, profile: Profile) -> float:
    return option(key, profile).dollars("running")


# --- the bills --------------------------------------------------------------------------------


def test_comprehend_round_the_clock_is_the_known_1296_dollars() -> None:
    assert running("comprehend-always", Profile()) == pytest.approx(1296)
    assert running("comprehend-always", Profile()) == pytest.approx(0.0005 * 86_400 * 30)


def test_comprehend_in_office_hours_pays_for_starting_and_stopping() -> None:
    profile = Profile(hours_per_day=8, days_per_month=20, start_stop_minutes=30)

    assert running("comprehend-office", profile) == pytest.approx(20 * 8.5 * 3600 * 0.0005)


def test_office_hours_round_the_clock_cost_what_24_7_costs() -> None:
    assert running("comprehend-office", ROUND_THE_CLOCK) == pytest.approx(1296)


@pytest.mark.parametrize(("characters", "units"), [(1, 3), (38, 3), (300, 3), (301, 4), (1000, 10)])
def test_asynchronous_requests_are_billed_as_three_units_at_least(
    characters: int, units: int
) -> None:
    profile = ROUND_THE_CLOCK.copy(update={"mean_characters": characters})

    assert running("comprehend-asynchronous", profile) == pytest.approx(432_000 * units * 0.0005)


@pytest.mark.parametrize(
    ("per_minute", "characters", "units"),
    [
        (0, 38, 1),
        (120, 38, 1),  # 2 documents a second
        (121, 38, 2),
        (60, 200, 2),  # 200 characters a second
        (60, 201, 3),
    ],
)
def test_an_endpoint_has_the_units_that_characters_and_documents_need(
    per_minute: float, characters: float, units: int
) -> None:
    profile = Profile(questions_per_minute=per_minute, mean_characters=characters)

    assert running("comprehend-always", profile) == pytest.approx(units * 1296)


def test_more_units_than_an_endpoint_can_have_are_pointed_out() -> None:
    busy = option("comprehend-always", Profile(questions_per_minute=1260))

    assert busy.notes == ("11 inference units; one endpoint has at most 10",)


def test_a_real_time_endpoint_has_an_instance_for_each_question_at_a_time() -> None:
    def hosting(per_minute: float) -> cost.Line:
        profile = Profile(questions_per_minute=per_minute, answer_seconds=0.5)
        return option("sagemaker-ml.t2.medium", profile).lines[0]

    assert hosting(10).dollars == pytest.approx(720 * 0.056)
    assert hosting(120).dollars == pytest.approx(720 * 0.056)
    assert hosting(121).dollars == pytest.approx(2 * 720 * 0.056)
    assert hosting(121).how == "2 × 720 h × $0.056"


def test_serverless_is_paid_by_memory_and_by_the_measured_time() -> None:
    profile = ROUND_THE_CLOCK.copy(
        update={"kilobytes_per_question": 0, "serverless_seconds": {4: 0.1}}
    )

    def dollars(memory: int) -> float:
        return running(f"sagemaker-serverless-{memory}gb", profile)

    assert dollars(1) == pytest.approx(2.97, abs=0.005)
    assert dollars(3) == pytest.approx(8.92, abs=0.005)
    assert dollars(4) == pytest.approx(432_000 * 0.1 * 4 * 0.00002)


def test_data_in_and_out_of_an_endpoint_is_counted() -> None:
    profile = ROUND_THE_CLOCK.copy(update={"kilobytes_per_question": 1000})
    nothing = profile.copy(update={"kilobytes_per_question": 0})

    some, none = (option("sagemaker-serverless-1gb", one).dollars() for one in (profile, nothing))
    difference = some - none

    assert difference == pytest.approx(432 * 0.016)


def test_in_process_costs_nothing_more_and_says_so() -> None:
    ours = option("in-process", ROUND_THE_CLOCK)

    assert ours.dollars() == 0
    assert "no marginal cost" in ours.notes[0]


def test_training_and_storage_are_counted() -> None:
    profile = Profile(
        trainings_per_month=3, comprehend_training_minutes=20, sagemaker_training_minutes=10,
        models_kept=2, model_gb=0.5, images_gb=4,
    )  # fmt: skip
    comprehend = option("comprehend-asynchronous", profile)
    sagemaker = option("sagemaker-office", profile)

    assert comprehend.dollars("training") == pytest.approx(3.0)
    assert comprehend.dollars("storage") == pytest.approx(1.0)
    assert sagemaker.dollars("training") == pytest.approx(0.5 * 0.257)
    assert sagemaker.dollars("storage") == pytest.approx(1 * 0.023 + 4 * 0.1)


def test_an_instance_type_without_a_price_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'sagemaker-hosting ml\.t2\.medium'"):
        cost.options(PRICES, Profile(hosting_instance="ml.t2.medum"))


# --- the original's figures -------------------------------------------------------------------


def test_the_original_s_figures_stand_beside_ours() -> None:
    ours = {one.theirs: one for one in cost.published(PRICES)}

    assert ours["1,300 $, almost 1,200 €"].dollars == pytest.approx(1296)
    assert ours["39 €"].dollars == pytest.approx(648)
    assert "at least 3 units" in ours["39 €"].why
    assert "$43.20 (40 €)" in ours["39 €"].why
    assert ours["72 €"].dollars == pytest.approx(40.32)
    assert "two are $80.64 (74 €)" in ours["72 €"].why
    assert ours["a little over 2 €"].dollars == pytest.approx(2.97, abs=0.005)


# --- break-even -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs.of(PRICES, Profile())


def test_break_even_is_the_first_volume_that_costs_more(costs: Costs) -> None:
    assert costs.break_even
    for one in costs.break_even:
        before, there = (
            cost.options(PRICES, Profile().at(volume))
            for volume in (one.questions_per_day - 1, one.questions_per_day)
        )
        assert before[one.cheap].dollars() <= before[one.dear].dollars()
        assert there[one.cheap].dollars() > there[one.dear].dollars() == one.dollars


def test_break_even_of_the_two_modes_of_comprehend_follows_from_their_prices(costs: Costs) -> None:
    found = {(one.cheap, one.dear): one for one in costs.break_even}

    # 22 days of q questions at 3 × $0.0005 reach $1,296.
    assert found["comprehend-asynchronous", "comprehend-always"].questions_per_day == 39_273


def test_ways_that_never_cross_have_no_break_even(costs: Costs) -> None:
    assert not [one for one in costs.break_even if "in-process" in (one.cheap, one.dear)]
    assert not [one for one in costs.break_even if one.cheap == "comprehend-always"]


# --- the price file ---------------------------------------------------------------------------


@pytest.fixture
def document() -> dict[str, Any]:
    return yaml.safe_load(prices.DEFAULT.read_text(encoding="utf-8"))


def written(folder: Path, content: Any) -> Path:
    path = folder / "prices.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_every_shipped_price_names_its_source_and_date() -> None:
    assert all(one.source and one.date and one.region for one in PRICES.prices)


def test_a_region_s_own_price_goes_before_any_and_any_before_another_s(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    common = next(one for one in document["prices"] if one["key"] == "s3-storage")
    document["prices"] += [
        {**common, "region": "eu-central-1", "price": 0.0245},
        {**common, "region": "any", "price": 0.03},
    ]
    path = written(tmp_path, document)

    assert prices.read(path, "eu-central-1").dollars("s3-storage") == 0.0245
    assert prices.read(path).dollars("s3-storage") == 0.03
    assert PRICES.is_borrowed(PRICES.find("s3-storage"))
    assert not PRICES.is_borrowed(PRICES.find("comprehend-endpoint"))


def test_a_price_in_euros_is_converted(tmp_path: Path, document: dict[str, Any]) -> None:
    document["prices"][0] |= {"price": 0.001, "currency": "EUR"}
    document["exchange_rates"][0]["rate"] = 1.25

    found = prices.read(written(tmp_path, document))

    assert found.dollars("comprehend-endpoint") == pytest.approx(0.00125)
    assert found.euros(100) == pytest.approx(80)


@pytest.mark.parametrize("date", ["2026-11-23", "2026-11", "2026", 2026])
def test_dates_are_days_months_or_years(
    tmp_path: Path, document: dict[str, Any], date: str | int
) -> None:
    document["prices"][0]["date"] = date

    assert prices.read(written(tmp_path, document)).find("comprehend-endpoint").date == str(date)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": -1}, r"prices\[0\]: 'price' is -1; it must be greater than 0"),
        ({"price": float("nan")}, r"'price' is nan"),
        ({"price": "0.0005 $"}, r"'price' is '0.0005 \$'"),
        ({"date": "yesterday"}, r"'date' is 'yesterday'; it must be a day, month or year"),
        ({"date": "2026-13"}, r"'date' is '2026-13'"),
        ({"source": " "}, r"'source' is ' '; it must be a text that is not empty"),
        ({"key": "comprehend-endpont"}, r"'key' is 'comprehend-endpont'; it must be one of"),
        ({"unit": "hour"}, r"the unit of 'comprehend-endpoint' must be 'unit-second'"),
        ({"currency": "CHF"}, r"exchange_rates has none for CHF"),
        ({"instance": "ml.m5.large"}, r"'comprehend-endpoint' has no use for an 'instance'"),
        ({"prise": 1}, r"'prise' is not known. Did you mean 'price'\?"),
    ],
)
def test_a_wrong_price_is_refused(
    tmp_path: Path, document: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    document["prices"][0] |= change

    with pytest.raises(UserError, match=message):
        prices.read(written(tmp_path, document))


def test_all_faults_are_named_at_once(tmp_path: Path, document: dict[str, Any]) -> None:
    del document["prices"][0]["source"]
    document["prices"][3]["price"] = 0
    document["exchange_rates"][0]["rate"] = None

    with pytest.raises(UserError) as caught:
        prices.read(written(tmp_path, document))

    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must be a mapping"),
        ({"region": "eu-west-1"}, "'prices' is missing"),
        ({"region": "eu-west-1", "prices": [], "exchange_rates": []}, "at least 1 item"),
    ],
)
def test_what_is_no_price_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prices.read(written(tmp_path, content))


def test_a_missing_price_is_named(tmp_path: Path, document: dict[str, Any]) -> None:
    document["prices"] = [one for one in document["prices"] if one["key"] != "ecr-storage"]

    with pytest.raises(UserError, match="'ecr-storage' is missing"):
        prices.read(written(tmp_path, document))


def test_the_same_price_twice_is_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    document["prices"].append(document["prices"][0])

    with pytest.raises(UserError, match="twice for any"):
        prices.read(written(tmp_path, document))


def test_a_price_file_needs_the_euro(tmp_path: Path, document: dict[str, Any]) -> None:
    document["exchange_rates"][0]["currency"] = "CHF"

    with pytest.raises(UserError, match="none for EUR"):
        prices.read(written(tmp_path, document))


def test_what_is_no_yaml_is_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "prices.yml").write_text("region: x\nprices: [", encoding="utf-8")

    with pytest.raises(UserError, match="line 2"):
        prices.read(tmp_path / "prices.yml")
    with pytest.raises(UserError, match="cannot be read"):
        prices.read(tmp_path / "none.yml")


def test_an_unknown_region_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'eu-west-1'"):
        prices.read(region="eu-west-9")


# --- the profile ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hours_per_day": 25}, "'hours_per_day' is 25; it must be less than or equal to 24"),
        ({"days_per_month": 0}, "'days_per_month' is 0"),
        ({"mean_charaters": 20}, "Did you mean 'mean_characters'"),
        ({"serverless_memory_gb": 8}, "'serverless_memory_gb' is 8; it must be less"),
        ({"serverless_seconds": {7: 1.0}}, "each key: it must be less than or equal to 6"),
        ({"serverless_seconds": {1: 90}}, "'1' is 90; it must be less than or equal to 60"),
        ({"questions_per_minute": True}, "'questions_per_minute' is True"),
        (None, "must be a mapping"),
    ],
)
def test_a_wrong_profile_is_refused(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Profile().changed(values, "profile.yml")


def test_what_a_profile_leaves_out_stays() -> None:
    assert Profile(hours_per_day=8).changed({"days_per_month": 20}, "here") == Profile(
        hours_per_day=8, days_per_month=20
    )


def test_another_volume_is_spread_over_the_same_hours() -> None:
    profile = Profile().at(12_000)

    assert profile.questions_per_minute == pytest.approx(20)
    assert profile.questions_per_day == pytest.approx(12_000)
    assert profile.questions == pytest.approx(12_000 * 22)


# --- the command ------------------------------------------------------------------------------


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["cost", *arguments])


def test_the_command_prints_tables() -> None:
    output = run().stdout

    assert "Comprehend, 24/7" in output
    assert "$1,296.00" in output
    assert "Break-even" in output


def test_the_command_prints_json() -> None:
    figures = json.loads(run("--json").stdout)
    bills = {one["key"]: one for one in figures["options"]}

    assert bills["comprehend-always"]["dollars"] == pytest.approx(1301)
    assert bills["comprehend-always"]["euros"] == pytest.approx(1301 / 1.1761)
    assert figures["profile"]["mean_characters"] == 38
    assert {one["key"] for one in figures["prices"]} == set(prices.UNITS)
    assert len(figures["curves"]["questions_per_day"]) == len(
        figures["curves"]["dollars"]["in-process"]
    )


def test_the_command_prints_markdown() -> None:
    lines = run("--markdown").stdout.splitlines()
    table = [line for line in lines if line.startswith("|")]

    assert "|---|---:|---:|---:|---:|---:|" in table
    assert any("https://aws.amazon.com/comprehend/pricing/" in line for line in table)


def test_options_go_before_the_profile_file(tmp_path: Path) -> None:
    path = tmp_path / "profile.yml"
    path.write_text("hours_per_day: 8\ndays_per_month: 20\n", encoding="utf-8")

    figures = json.loads(run("--json", "--profile", str(path), "--hours-per-day", "4").stdout)

    assert figures["profile"]["hours_per_day"] == 4
    assert figures["profile"]["days_per_month"] == 20


def test_the_command_refuses_what_cannot_be() -> None:
    assert "'hours_per_day' is 30" in str(run("--hours-per-day", "30").exception)
    assert "either --json or --markdown" in str(run("--json", "--markdown").exception)


def test_the_command_writes_files_that_are_the_same_each_time(tmp_path: Path) -> None:
    run("--out", str(tmp_path / "one"))
    run("--out", str(tmp_path / "two"))
    names = sorted(path.name for path in (tmp_path / "one").iterdir())

    assert names == ["break-even.png", "break-even.svg", "cost.json", "cost.md"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_curves_stand_in_a_page_in_its_colours_and_without_addresses(
    costs: Costs, tmp_path: Path
) -> None:
    from comparison.charts import draw_break_even

    drawn = charts.save(
        "curves", 'Say "<cost>"', lambda axes: draw_break_even(axes, costs), tmp_path
    )
    element = drawn.inline()

    assert element.startswith('<svg role="img" aria-label="Say &quot;&lt;cost>&quot;"')
    assert "currentColor" in element
    assert "#ffffff" in drawn.svg
    assert "#ffffff" not in element
    assert "://" not in element
    names = re.findall(r'\bid="([^"]+)"', element)
    assert names
    assert all(name.startswith("curves-") for name in names)
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', element)
    assert {one or other for one, other in used} <= set(names)
