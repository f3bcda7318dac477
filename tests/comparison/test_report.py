"""The report of a comparison, from figures made by hand: tables, page, facts, pictures."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bot import charts
from common import prices
from common.errors import UserError
from comparison import charts as pictures
from comparison import (
    decision,
    one_page,
    report,
    report_page,
    report_tables,
    results,
    scoring,
    settings,
)
from comparison.cost import Costs
from comparison.report import Report
from comparison.report_page import Page
from comparison.results import CROSS_VALIDATION, HELD_OUT, Confusion, Interval
from comparison.usage import Profile
from tests.support import comparison_results as made

LABEL = "Comprehend (stand-in)"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs.of(prices.read(), Profile())


@pytest.fixture(scope="module")
def whole(costs: Costs) -> Report:
    return report.build(made.results(), costs)


@pytest.fixture(scope="module")
def folder(whole: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    report_page.write(whole, path)
    return path


@pytest.fixture(scope="module")
def page(whole: Report) -> Page:
    """The report without pictures, which take their time."""
    return report_page.compose(whole, {})


# --- marks ------------------------------------------------------------------------------------


def test_candidates_are_marked_by_the_protocol_that_all_have(costs: Costs) -> None:
    fixed = report.build(made.results(), costs)
    trained = report.build(made.results(made.camembert(), made.diet()), costs)

    assert fixed.protocol == HELD_OUT
    assert trained.protocol == CROSS_VALIDATION
    assert fixed.assessments[0].values["macro_f1"].value == pytest.approx(0.94)
    assert trained.assessments[0].values["macro_f1"].value == pytest.approx(0.96)


def test_marks_follow_from_the_figures(whole: Report) -> None:
    values = whole.assessments[0].values
    marks = whole.assessments[0].marks

    # p95 of 6.5 and 7.15 ms and, with 16 clients in line, of 104 ms: 5, 5 and 4.
    assert values["p95_load"].value == pytest.approx(0.104)
    assert marks["speed"].value == pytest.approx(14 / 3)
    # Macro-F1 94 % counts twice, false accepts 8 %, calibration error 3 %.
    assert marks["performance"].value == pytest.approx((4 + 4 + 4 + 4) / 4)
    assert marks["performance"].low < 4 < marks["performance"].high
    assert marks["cost"].value == 5


def test_each_way_to_serve_has_its_bill_and_its_facts(whole: Report, costs: Costs) -> None:
    served = {one.candidate.key: (one.route, one.bill) for one in whole.assessments}

    assert served == {
        "camembert-int8": ("in-process", "in-process"),
        "diet": ("in-process", "in-process"),
        "comprehend": ("comprehend", "comprehend-always"),
        "transformers": ("transformers", "in-process"),
    }


@pytest.mark.parametrize(
    ("definition", "route", "bill"),
    [
        ({"pipeline": []}, "in-process", "in-process"),
        ({"transformers": {}}, "transformers", "in-process"),
        ({"service": "SageMaker"}, "sagemaker", "sagemaker-ml.t2.medium"),
        ({"service": "Comprehend"}, "comprehend", "comprehend-always"),
        ({"service": "Other", "route": "comprehend"}, "comprehend", "comprehend-always"),
        (
            {"route": "sagemaker", "cost": "sagemaker-serverless-3gb"},
            "sagemaker",
            "sagemaker-serverless-3gb",
        ),
    ],
)
def test_a_candidate_s_definition_tells_its_facts_and_its_bill(
    costs: Costs, definition: dict[str, Any], route: str, bill: str
) -> None:
    assert scoring.route_of(definition) == route
    assert scoring.bill_of(definition, costs) == bill


def test_what_the_report_could_not_tell_apart_or_find_is_refused_before_anything_is_measured(
    costs: Costs,
) -> None:
    pipeline = [{"name": "KeywordIntentClassifier"}]
    candidates = {
        "one": settings.Spec(name="Same", route="sagemakr", pipeline=pipeline),
        "two": settings.Spec(name="Same", cost="comprehend-office-hours", pipeline=pipeline),
    }

    with pytest.raises(UserError) as caught:
        scoring.check(candidates, costs)

    twice, first, second = str(caught.value).splitlines()
    assert "2 of them are called 'Same'" in twice
    assert "candidates, one: no 'route' is called 'sagemakr'. Did you mean 'sagemaker'?" in first
    assert "candidates, two: no 'cost' is called 'comprehend-office-hours'" in second


def test_the_shipped_configuration_has_facts_bills_and_the_default_weights(costs: Costs) -> None:
    shipped = settings.read(ROOT / "compare.yml")

    scoring.check(shipped.candidates, costs)
    assert decision.weights_of(shipped.weights, "compare.yml") == scoring.DEFAULT_WEIGHTS
    assert Profile().changed(shipped.profile, "compare.yml") == Profile()


def test_a_failed_candidate_is_not_ranked_and_the_report_says_why(
    whole: Report, page: Page
) -> None:
    assert whole.decision.unranked == {
        "transformers pipeline": "no mark for inference speed, model performance"
    }
    text = page.to_markdown()
    assert "## What failed" in text
    assert "MemoryError: <no> room" in text
    assert "Not ranked: transformers pipeline" in text


def test_a_report_without_failures_has_no_section_for_them(costs: Costs) -> None:
    content = report_page.compose(report.build(made.results(made.camembert()), costs), {})

    assert "failures" not in [section.key for section in content.sections]


def test_nothing_measured_is_still_a_report(costs: Costs) -> None:
    nothing = report.build(made.results(made.failed()), costs)

    assert "**Result:** nobody can be ranked, since each lacks a mark." in said(nothing)
    assert "–" in report_page.compose(nothing, {}).to_markdown()


def test_weights_decide(costs: Costs) -> None:
    """Comprehend, asked at Amazon, is the more accurate of the two, and the dearer one."""
    real = dataclasses.replace(made.comprehend(), stand_in=None)
    figures = made.results(made.diet(), real)
    nothing = dict.fromkeys(scoring.DEFAULT_WEIGHTS, 0.0)

    accurate = report.build(figures, costs, {**nothing, "performance": 1})
    cheap = report.build(figures, costs, {**nothing, "cost": 1})

    assert accurate.decision.winners == ["Comprehend"]
    assert cheap.decision.winners == ["DIETClassifier"]


def test_equal_candidates_share_the_first_place(costs: Costs) -> None:
    twin = dataclasses.replace(made.diet(), key="twin", name="Twin")

    shared = report.build(made.results(made.diet(), twin), costs)

    assert any("DIETClassifier and Twin share the first place" in one for one in said(shared))


# --- what the tables say ----------------------------------------------------------------------


def test_a_stand_in_is_named_everywhere_and_ranked_nowhere(whole: Report, page: Page) -> None:
    text = page.to_markdown()

    # Without the mark, the name stands in a row of the original's matrix alone.
    assert len(re.findall(r"^\| \**Comprehend\** +[|¹²]", text, re.MULTILINE)) == 1
    assert text.count(made.STAND_IN) == 1
    assert LABEL not in [one.candidate for one in whole.decision.ranking]
    assert LABEL not in [row[0] for row in report_tables.summary(whole).rows]
    assert [row[0] for row in report_tables.stand_ins(whole).rows] == [LABEL]


def test_an_encoder_that_stands_in_is_named_in_every_table_and_picture(costs: Costs) -> None:
    note = results.ENCODER_STANDS_IN.format(used="models/encoders/small", asked="big/one")
    figures = made.results(
        dataclasses.replace(made.camembert(), encoder="models/encoders/small", notes=[note]),
        made.diet(),
    )
    other = report.build(figures, costs)

    text = report_page.compose(other, {}).to_markdown()
    assert "| CamemBERT int8 |" not in text
    assert text.count("CamemBERT int8 (small)") > 10
    assert "`bot compare --encoder big/one`" in text
    assert set(other.decision.near) == {"CamemBERT int8 (small)", "DIETClassifier"}


# --- the first page ---------------------------------------------------------------------------


def said(of: Report, language: str = "en") -> list[str]:
    return one_page.paragraphs(of, language)


def test_the_first_page_says_what_wins_whether_surely_what_it_costs_and_what_to_do(
    whole: Report,
) -> None:
    text = "\n".join(said(whole))

    assert "4 intent classifiers, trained on 390 messages of 4 intents, scored on 420" in text
    assert "Comprehend: answered by a local stand-in" in text
    assert "CamemBERT int8 comes first with 83.9 of 90 points" in text
    assert "before DIETClassifier" in text
    assert "Yes: CamemBERT int8 is right more often than DIETClassifier" in text
    assert "by 7.0 points (held-out, p = 0.0004)" in text
    assert "in the bot's process 0 €" in text
    assert "take CamemBERT int8, the default: it comes first" in text


def test_the_first_page_is_there_in_french(whole: Report) -> None:
    text = "\n".join(said(whole, "fr"))

    assert "CamemBERT int8 est premier avec 83,9 points sur 90" in text
    assert "prendre CamemBERT int8, le choix par défaut" in text
    assert not re.search(r"\{|\d\.\d", text)


def test_a_default_that_is_not_first_is_weighed_against_the_first(costs: Costs) -> None:
    best = dataclasses.replace(made.camembert(), is_default=False)
    default = dataclasses.replace(made.diet(), is_default=True)

    far = said(report.build(made.results(best, default), costs))
    near = dataclasses.replace(default, held_out=best.held_out, cross_validation=None)
    close = said(report.build(made.results(best, near), costs))

    assert any("take CamemBERT int8 instead of the default, DIETClassifier" in one for one in far)
    assert any("keep it, unless what sets the two apart" in one for one in close)


def test_a_winner_that_is_the_slower_one_question_at_a_time_is_said_to_be(costs: Costs) -> None:
    loads = [made.Load(16, 5.0, 10.0, made.latency(1.5))]
    quick, slow = made.speed(0.011), dataclasses.replace(made.speed(0.010), load=loads)
    figures = made.results(
        dataclasses.replace(made.camembert(), speed=quick),
        dataclasses.replace(made.diet(), speed=slow),
    )

    text = "\n".join(said(report.build(figures, costs)))

    assert "CamemBERT int8 is not the faster of the two (p95 14.3 ms against 13 ms)" in text


def test_the_report_names_machine_date_and_versions(page: Page) -> None:
    text = page.to_markdown()

    assert (
        "Measured on 2026-11-23 on 2 cores of Test Processor with 8 GiB, Linux 6.1, Python 3.10.20."
        in text
    )
    assert "| rasa | 3.6.21 |" in text
    assert "tests/data/heldout.yml" in text
    assert "A remark." in text


def test_a_quick_run_is_called_one(costs: Costs) -> None:
    figures = made.results(made.camembert())
    quick = dataclasses.replace(figures, protocol=dataclasses.replace(figures.protocol, quick=True))

    assert "A quick run" in report_page.compose(report.build(quick, costs), {}).subtitle


def test_the_published_rules_stand_in_the_report(page: Page) -> None:
    text = page.to_markdown()

    for measure in scoring.MEASURES:
        assert measure.rule() in text
        assert measure.why in text


def test_the_notes_of_a_candidate_stand_below_its_scores(whole: Report) -> None:
    table = report_tables.scores(whole, HELD_OUT, "Held-out")

    assert [row[0] for row in table.rows] == ["CamemBERT int8 ¹", "DIETClassifier", f"{LABEL} ²"]
    assert "¹ The offline encoder, not camembert-base." in table.notes


def test_times_stand_beside_those_of_the_original(whole: Report) -> None:
    table = report_tables.latency(whole, "Spaced", "spaced")

    ours = {row[0]: row for row in table.rows}
    measured = next(one.speed for one in whole.results.candidates if one.name == "CamemBERT int8")
    assert measured is not None
    latency = measured.spaced
    assert ours["CamemBERT int8"][-1] == f"{latency.unanswered} of {latency.count}"
    assert [row[:2] for row in table.rows[-2:]] == [
        ("Original (2022): Comprehend", "106 ms ± 64 ms"),
        ("Original (2022): CamemBERT on SageMaker", "344 ms ± 82 ms"),
    ]


def test_tables_begin_with_the_winner(whole: Report) -> None:
    summary, matrix = report_tables.summary(whole), report_tables.matrix(whole)

    assert summary.rows[0][:3] == ("CamemBERT int8", "1", "83.9")
    assert summary.rows[-1][:3] == ("transformers pipeline", "–", "–")
    assert [row[0] for row in matrix.rows] == ["CamemBERT int8", "DIETClassifier"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.00512, "5.12 ms"), (0.344, "344 ms"), (1.2, "1.2 s"), (119, "119 s"), (720, "12 min")],
)
def test_times_in_the_unit_that_suits_them(seconds: float, words: str) -> None:
    assert report_tables.duration(seconds) == words


def test_shares_with_and_without_an_interval() -> None:
    assert report_tables.percents(Interval(0.935, 0.912, 0.957)) == "93.5 % (91.2–95.7)"
    assert report_tables.percents(Interval(0.935, 0.935, 0.935)) == "93.5 %"
    assert report_tables.percents(None) == "–"


# --- the page ---------------------------------------------------------------------------------


class Outline(html.parser.HTMLParser):
    """Checks that elements close in order; collects what they are and refer to."""

    VOID = frozenset({"meta", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action", "srcset"):
                self.targets.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    return parser


def test_the_page_is_well_formed_and_needs_nothing_from_outside(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = outline(text)

    assert found.open == []
    assert [name for name, count in Counter(found.ids).items() if count > 1] == []
    inside = [target for target in found.targets if not target.startswith("data:image/png;")]
    assert all(target.startswith("#") for target in inside)
    assert {target[1:] for target in inside} <= set(found.ids)
    assert not {"link", "img", "iframe", "base"} & set(found.tags)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest", text)
    assert found.tags["svg"] == 4


def test_the_page_suits_dark_screens_phones_and_screen_readers(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = outline(text)

    assert "prefers-color-scheme: dark" in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert '<html lang="en">' in text
    assert text.count("<caption>") == found.tags["table"] > 15
    assert text.count('<svg role="img" aria-label=') == found.tags["svg"]
    assert text.count('scope="row"') == text.count("<tr><th") + text.count('"winner"><th') - (
        text.count("<thead>")
    )


def test_texts_cannot_break_the_page(costs: Costs) -> None:
    wicked = dataclasses.replace(made.camembert(), name="</script><b>|`", notes=["<i> & |"])
    content = report_page.compose(report.build(made.results(wicked), costs), {})

    text = content.to_html()
    found = outline(text)
    assert found.open == []
    assert not {"b", "i"} & set(found.tags)
    assert json.loads(re.findall(r'id="marks">(.*?)</script>', text)[0]).keys() == {
        "</script><b>|`"
    }
    assert "\\|" in content.to_markdown()


def test_the_sliders_begin_with_the_weights_of_the_decision(costs: Costs) -> None:
    weights = {**scoring.DEFAULT_WEIGHTS, "cost": 12.5}
    text = report_page.compose(report.build(made.results(), costs, weights), {}).to_html()

    sliders = re.findall(r'max="([\d.]+)" step="any" value="([\d.]+)" name="(\w+)"', text)
    assert [(name, float(value)) for _, value, name in sliders] == list(weights.items())
    assert ("12.5", "12.5", "cost") in sliders


# --- files ------------------------------------------------------------------------------------


def test_what_is_written(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    drawn = ("break-even", "confusion-camembert-int8", "latency-accuracy", "learning-curves")

    assert names == {
        "report.html",
        "report.md",
        "report.json",
        *(f"pictures/{name}.{suffix}" for name in drawn for suffix in ("svg", "png")),
    }
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", markdown)
    assert len(pictures) == 4
    assert all((folder / path).exists() for path in pictures)


def test_figures_follow_as_json(folder: Path, whole: Report) -> None:
    figures = json.loads((folder / "report.json").read_text(encoding="utf-8"))

    assert figures["protocol_marked"] == HELD_OUT
    assert figures["decision"]["ranking"][0]["candidate"] == "CamemBERT int8"
    assert figures["decision"]["weights"] == scoring.DEFAULT_WEIGHTS
    first = figures["candidates"][0]
    assert first["marks"]["cost"]["value"] == 5
    assert first["facts"]["minutes_to_live"]["value"] == pytest.approx(70 / 60)
    assert figures["candidates"][2]["stand_in"] == made.STAND_IN
    assert figures["cost"]["profile"]["questions_per_minute"] == 10


def test_the_same_figures_give_the_same_bytes(folder: Path, costs: Costs, tmp_path: Path) -> None:
    report_page.write(report.build(made.results(), costs), tmp_path)

    for path in tmp_path.rglob("*.*"):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), path.name


def test_an_interval_beside_its_value_can_be_drawn(tmp_path: Path) -> None:
    points = {
        "one": pictures.Point(0.01, 0.95, 0.96, 0.97),
        "two": pictures.Point(1, 0.9, 0.9, 0.9),
    }
    drawn = charts.save(
        "points",
        "Points",
        lambda axes: pictures.draw_latency_accuracy(
            axes, points, charts.styles(list(points)), hollow={"two"}
        ),
        tmp_path,
    )

    assert "hollow: something stands in" in drawn.svg


def test_names_in_a_picture_hide_neither_each_other_nor_the_points() -> None:
    from matplotlib.figure import Figure

    points = {
        f"A candidate with a long name {number}": pictures.Point(x, y, y - 0.02, y + 0.02)
        for number, (x, y) in enumerate(
            [(0.002, 0.93), (0.003, 0.931), (0.0031, 0.86), (0.02, 0.93), (0.05, 0.92)]
        )
    }
    axes = Figure(figsize=(7.6, 4.6), layout="constrained").add_subplot()
    pictures.draw_latency_accuracy(axes, points, charts.styles(list(points)), hollow=set())

    names = [text for text in axes.texts if text.get_text() in points]
    boxes = [text.get_window_extent() for text in names]
    places = axes.transData.transform([(point.x * 1e3, point.y * 100) for point in points.values()])
    assert len(boxes) == len(points)
    assert not any(
        one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[:index]
    )
    assert not any(box.contains(*place) for box in boxes for place in places)
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_each_candidate_has_a_look_of_its_own() -> None:
    looks = charts.styles([str(number) for number in range(40)])

    assert len({(one["color"], one["marker"]) for one in looks.values()}) == 40


def test_a_published_report_is_whole_and_nothing_of_an_earlier_one_stays(
    whole: Report, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "confusion-gone.svg").write_text("")
    results.write(whole.results, folder)

    report_page.publish(folder, tmp_path)

    text = (tmp_path / "report.md").read_text()
    shown = set(re.findall(r"\]\((pictures/[^)]+)\)", text))
    kept = {str(path.relative_to(tmp_path)) for path in (tmp_path / "pictures").iterdir()}
    assert shown == kept
    assert (tmp_path / "report.html").read_text() == (folder / "report.html").read_text()
    assert results.read(tmp_path / results.FILE) == whole.results


def test_sixty_intents_are_drawn_too(costs: Costs, tmp_path: Path) -> None:
    labels = [f"intent_{number:02}" for number in range(60)]
    confusion = Confusion(labels, [[int(row == column) for column in range(60)]
                                   for row in range(60)])  # fmt: skip
    drawn = charts.save(
        "sixty", "Sixty", lambda axes: charts.draw_confusion(
            axes, confusion.labels, confusion.counts, "Sixty"
        ), tmp_path, (12.0, 11.0),
    )  # fmt: skip

    assert (tmp_path / "sixty.png").stat().st_size > 0
    # Names of the labels, but no number in each of the 3,600 cells.
    assert drawn.svg.count('<g id="text_') < 200


# --- facts ------------------------------------------------------------------------------------


def lines_of(*files: Path) -> int:
    """Count lines that are neither blank nor a comment beginning with ``#``."""
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#")
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
    )


def terraform_of(module: Path) -> tuple[set[Path], int, set[str]]:
    """Count a module with those that it calls: files once, resources each time, services."""
    files, resources, services = set(module.glob("*.tf")), 0, set[str]()
    for path in sorted(files):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r'^resource\s+"[a-z]+_([a-z0-9]+)', text, re.MULTILINE)
        resources, services = resources + len(found), services | set(found)
        for source in re.findall(r'^\s*source\s*=\s*"(\.\.?/[^"]+)"', text, re.MULTILINE):
            called = terraform_of((module / source).resolve())
            files, resources = files | called[0], resources + called[1]
            services |= called[2]
    return files, resources, services


@pytest.mark.parametrize(
    ("route", "more"),
    [
        ("comprehend", []),
        ("sagemaker", ["infra/sagemaker/*.py", "infra/sagemaker/Dockerfile*"]),
    ],
)
def test_the_facts_about_infrastructure_are_those_of_the_repository(
    route: str, more: list[str]
) -> None:
    stated = scoring.EFFORT[route]
    files, resources, services = terraform_of(ROOT / f"infra/terraform/modules/{route}_pipeline")
    lines = lines_of(*files, *(path for pattern in more for path in ROOT.glob(pattern)))

    assert stated["resources"]["value"] == resources
    assert stated["services"]["items"] == sorted({route, *services})
    # A line more or less is no other effort: within a twentieth, and of the same mark.
    rule = next(one for one in scoring.MEASURES if one.key == "infrastructure_lines")
    value = stated["infrastructure_lines"]["value"]
    assert value == pytest.approx(lines, rel=0.05)
    assert rule.mark(value) == rule.mark(lines)


def test_the_facts_about_code_are_those_of_the_code() -> None:
    from components.camembert.training import MINIMUM_EXAMPLES
    from components.comprehend.documents import MINIMUM_DOCUMENTS

    least = {route: facts["minimum_examples"]["value"] for route, facts in scoring.EFFORT.items()}
    assert least["in-process"] == least["sagemaker"] == MINIMUM_EXAMPLES
    assert least["comprehend"] == MINIMUM_DOCUMENTS
    script = ROOT / "comparison" / "torch_pipeline.py"
    assert scoring.EFFORT["transformers"]["creation_lines"]["value"] == lines_of(script)


@pytest.mark.parametrize("route", ["in-process", "transformers", "comprehend", "sagemaker"])
def test_every_fact_that_is_stated_belongs_to_a_rule_and_has_a_source(route: str) -> None:
    entries = scoring.EFFORT[route]

    assert set(entries) == {one.key for one in scoring.MEASURES if one.criterion in scoring.EASE}
    for entry in entries.values():
        assert entry == {"measured": True} or (
            entry["source"] and ("value" in entry) != ("items" in entry)
        )
