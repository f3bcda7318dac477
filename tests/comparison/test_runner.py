"""A whole comparison: what is kept, what is measured again, what fails aloud."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from bot.cli import app
from bot.runtime.rasa_cli import PROJECT_ROOT
from common.errors import UserError
from comparison import measurements, results, runner, settings, splits
from comparison.measurements import LEARNING, SPEED, Cell, Record
from comparison.results import CROSS_VALIDATION, HELD_OUT, Failure
from comparison.scores import Run
from tests.support import comparison_results
from tests.support.comparison_results import SENTENCES

COUNTED = """
      - name: WhitespaceTokenizer
      - name: CountVectorsFeaturizer
        analyzer: char_wb
        min_ngram: 1
        max_ngram: 3
      - name: LogisticRegressionClassifier
"""
CONFIG = f"""
material: {{train: train.csv, held_out: null, off_topic: other}}
splits: {{folds: 2, seeds: [0, 1], learning_sizes: [5, 1000]}}
speed: {{threads: 1, clients: [1, 2], load_seconds: 0.1}}
candidates:
  counted:
    name: Counted
    pipeline: {COUNTED}
  broken:
    name: Broken
    pipeline: [{{name: LogisticRegressionClassifier}}]
"""


def write_project(folder: Path, config: str = CONFIG) -> Path:
    lines = [
        f"{text.format(number)},{intent}"
        for intent, text in SENTENCES.items()
        for number in range(15)
    ]
    (folder / "train.csv").write_text("\n".join(["text,intent", *lines]) + "\n")
    (folder / "compare.yml").write_text(config)
    return folder


def compare(folder: Path, *options: str) -> Result:
    out = str(folder / "out")
    arguments = ["compare", "--config", "compare.yml", "--out", out, "--quick", *options]
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything was measured once, with a candidate that fails."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def first(project: Path) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return compare(project)


@pytest.fixture
def figures(project: Path, first: Result) -> results.Results:
    return results.read(project / "out" / results.FILE)


def test_a_failing_training_fails_the_run_after_the_others(
    first: Result, figures: results.Results
) -> None:
    assert first.exit_code == 1, first.output
    counted, broken = figures.candidates
    assert counted.failures == []
    assert counted.cross_validation is not None
    assert broken.cross_validation is None
    assert broken.held_out is None
    assert broken.speed is None
    # Held-out seeds, speed, folds × seeds, one learning size × seeds.
    assert len(broken.failures) == 2 + 1 + 4 + 2
    failure = broken.failures[0]
    assert failure.cell == "held-out seed 0"
    assert failure.error.startswith("ValueError: Found array with 0 feature(s)")
    assert "in fit" in failure.traceback
    assert "9 measurements failed" in first.output
    assert "Broken" in first.output


def test_the_figures_are_complete(first: Result, figures: results.Results) -> None:
    counted = figures.candidates[0]
    assert counted.cross_validation is not None
    assert (counted.cross_validation.protocol, counted.cross_validation.runs) == (
        CROSS_VALIDATION,
        4,
    )
    assert counted.held_out is not None
    assert (counted.held_out.protocol, counted.held_out.runs) == (HELD_OUT, 2)
    assert counted.held_out.off_topic_auroc is not None
    assert [point.examples_per_intent for point in counted.learning_curve] == [5, None]
    assert counted.speed is not None
    assert [load.clients for load in counted.speed.load] == [1, 2]
    assert counted.training is not None
    assert counted.training.model_bytes > 0
    assert (counted.service, counted.stand_in) == (None, None)
    assert figures.train.intents == {"greet": 12, "other": 12, "who": 12}
    assert figures.held_out.examples == 9
    assert figures.protocol.learning_sizes == [5]
    assert figures.significance == []  # there is no second one
    assert any("put aside" in note for note in figures.protocol.notes)


def test_the_report_is_there(project: Path, first: Result) -> None:
    for name in ("report.html", "report.md", "report.json"):
        assert (project / "out" / name).stat().st_size > 1000


def test_progress_is_shown_with_what_remains(first: Result) -> None:
    assert "[1/18] counted, held-out seed 0: " in first.output
    assert "[18/18] " in first.output
    assert " left)" in first.output


def test_trainings_at_once_give_the_same(
    tmp_path: Path, project: Path, first: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_project(tmp_path))
    result = compare(tmp_path, "--measure", "splits", "--measure", "learning", "--jobs", "3")
    assert result.exit_code == 1, result.output  # one candidate fails
    assert "[12/12] " in result.output
    one = comparison(tmp_path)
    mine, theirs = (measurements.Store(folder / "out" / "cells") for folder in (tmp_path, project))
    for spec in one.settings.candidates.values():
        for cell in one.cells_of(spec):
            if cell.kind in (CROSS_VALIDATION, LEARNING):
                ours, other = mine.get(cell), theirs.get(cell)
                assert ours is not None
                assert other is not None
                assert ours.run == other.run
                assert (ours.failure is None) == (other.failure is None)


def test_a_process_that_does_not_start_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path)
    (tmp_path / "rasa.py").write_text("raise ImportError('rasa is broken')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = compare(tmp_path, "--measure", "learning", "--only", "counted", "--seeds", "0")
    assert result.exit_code == 1, result.output
    assert "1 measurements failed" in result.output
    assert "rasa is broken" in result.output


# --- what is kept; without running anything ---------------------------------------------------


def comparison(folder: Path, **options: object) -> runner.Comparison:
    found = settings.read(folder / "compare.yml")
    data = splits.load(
        found.material.copy(update={"train": str(folder / "train.csv")}), found.splits.folds
    )
    return runner.Comparison(found, data, folder / "out", runner.Options(**options))  # type: ignore[arg-type]


def planned(one: runner.Comparison) -> list[Cell]:
    return one.plan()


def finish(one: runner.Comparison, chosen: Sequence[Cell], failure: bool = False) -> None:
    """Write records as a run would, with a right answer to each example."""
    store = measurements.Store(one.out / "cells")
    for cell in chosen:
        train, test = one._examples(cell)
        ones = [1.0] * len(test)
        run = Run(test.intents, test.intents, ones, ones, ones, len(train))
        record = Record(one._fingerprint(cell), 2.0, "2026-01-01", run)
        if failure:
            record = dataclasses.replace(record, run=None, failure=Failure(cell.title, "e", "t"))
        store.put(cell, record)


def test_an_interrupted_run_ends_what_it_has_started_and_goes_on_later(tmp_path: Path) -> None:
    write_project(tmp_path)
    command = [sys.executable, "-m", "bot", "compare", "--out", "out", "--measure", "splits"]
    process = subprocess.Popen(
        [*command, "--only", "counted", "--jobs", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
    )
    kept = tmp_path / "out" / "cells" / "counted"
    while process.poll() is None and not list(kept.glob("*.json")):
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "The same command goes on" in output
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    rest = planned(comparison(tmp_path, only=["counted"], kinds=[CROSS_VALIDATION]))
    assert len(rest) == 4 - len(list(kept.glob("*.json")))


def test_phases_come_one_after_the_other(tmp_path: Path) -> None:
    kinds = [cell.kind for cell in planned(comparison(write_project(tmp_path), quick=True))]
    assert kinds == [*[HELD_OUT] * 4, *[SPEED] * 2, *([CROSS_VALIDATION] * 4 + [LEARNING] * 2) * 2]


def test_finished_cells_are_not_measured_again(tmp_path: Path) -> None:
    one = comparison(write_project(tmp_path))
    everything = planned(one)
    done = [cell for cell in everything if cell.candidate == "counted" and cell.kind != SPEED]
    finish(one, done[:3])
    assert planned(comparison(tmp_path)) == [
        cell for cell in everything if cell not in done[1:3]
    ]  # the model of the first is gone, and the measurement of speed needs it
    (tmp_path / "out" / "models" / "counted").mkdir(parents=True)
    assert planned(comparison(tmp_path)) == [cell for cell in everything if cell not in done[:3]]


def test_failed_cells_are_tried_again(tmp_path: Path) -> None:
    one = comparison(write_project(tmp_path))
    everything = planned(one)
    finish(one, everything[-2:], failure=True)
    assert planned(comparison(tmp_path)) == everything


def test_a_damaged_cell_is_measured_again(tmp_path: Path) -> None:
    one = comparison(write_project(tmp_path))
    everything = planned(one)
    finish(one, everything[-2:])
    path = tmp_path / "out" / "cells" / everything[-1].path
    path.write_text(path.read_text()[:40])
    assert planned(comparison(tmp_path)) == everything[:-2] + everything[-1:]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda text: text.replace("max_ngram: 3", "max_ngram: 4"), {"counted"}),
        (lambda text: text.replace("name: Counted", "name: Other"), set()),
        (lambda text: text.replace("seeds: [0, 1]", "seeds: [0]"), set()),
        (lambda text: text.replace("off_topic: other", "off_topic: null"), {"counted", "broken"}),
    ],
)
def test_only_what_a_change_touches_is_measured_again(
    tmp_path: Path, change: Callable[[str], str], again: set[str]
) -> None:
    one = comparison(write_project(tmp_path))
    finish(one, planned(one))
    for key in ("counted", "broken"):
        (tmp_path / "out" / "models" / key).mkdir(parents=True)
    assert planned(comparison(tmp_path)) == []
    (tmp_path / "compare.yml").write_text(change(CONFIG))
    assert {cell.candidate for cell in planned(comparison(tmp_path))} == again


def test_speed_is_never_measured_on_the_model_of_another_description(tmp_path: Path) -> None:
    one = comparison(write_project(tmp_path))
    finish(one, planned(one))
    (tmp_path / "out" / "models" / "counted").mkdir(parents=True)
    assert planned(comparison(tmp_path, only=["counted"], kinds=[SPEED])) == []
    (tmp_path / "compare.yml").write_text(CONFIG.replace("max_ngram: 3", "max_ngram: 4"))
    again = planned(comparison(tmp_path, only=["counted"], kinds=[SPEED]))
    assert again == [Cell("counted", HELD_OUT, 0), Cell("counted", SPEED)]


# --- the report of what is there --------------------------------------------------------------


def reported(folder: Path, patch: pytest.MonkeyPatch, *options: str) -> results.Results:
    patch.chdir(folder)
    result = compare(folder, "--report", *options)
    assert result.exit_code == 0, result.output
    return results.read(folder / "out" / results.FILE)


def of_counted(one: runner.Comparison) -> list[Cell]:
    return [cell for cell in planned(one) if cell.candidate == "counted" and cell.kind != SPEED]


def test_a_report_takes_what_is_there_and_names_the_seeds_that_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = comparison(write_project(tmp_path))
    late = Cell("counted", CROSS_VALIDATION, 1, 1)
    finish(one, [cell for cell in of_counted(one) if cell != late])
    (counted,) = reported(tmp_path, monkeypatch).candidates
    assert counted.cross_validation is not None
    assert counted.held_out is not None
    # Half a cross-validation is none; the whole one of the other seed counts.
    assert (counted.cross_validation.runs, counted.held_out.runs) == (2, 2)
    assert counted.notes == ["Cross-validation: seed 1 not measured yet, or not as a whole."]
    assert not (tmp_path / "out" / "logs").exists()
    assert not (tmp_path / "out" / "models").exists()
    (counted,) = reported(tmp_path, monkeypatch, "--seeds", "0").candidates
    assert counted.notes == []


def test_what_has_failed_is_never_left_out_of_a_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = comparison(write_project(tmp_path))
    finish(one, of_counted(one))
    finish(one, [Cell("counted", CROSS_VALIDATION, 1, 1)], failure=True)
    monkeypatch.chdir(tmp_path)
    result = compare(tmp_path, "--report")
    (counted,) = results.read(tmp_path / "out" / results.FILE).candidates
    assert result.exit_code == 1
    assert counted.cross_validation is None
    assert counted.held_out is not None


def test_a_report_can_be_weighed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = comparison(write_project(tmp_path))
    finish(one, of_counted(one))
    (tmp_path / "weights.yml").write_text(
        "{speed: 0, performance: 0, cost: 7, creation: 0, industrialisation: 0}"
    )
    reported(tmp_path, monkeypatch, "--weights", "weights.yml")
    decided = json.loads((tmp_path / "out" / "report.json").read_text())["decision"]
    assert decided["weights"]["cost"] == 7
    # In the bot's process nothing is paid: a mark of 5.
    assert [one["total"] for one in decided["ranking"]] == [7 * 5]


def test_what_is_of_earlier_code_is_reported_on_demand_and_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = comparison(write_project(tmp_path))
    finish(one, of_counted(one))
    (tmp_path / "compare.yml").write_text(CONFIG.replace("max_ngram: 3", "max_ngram: 4"))
    monkeypatch.chdir(tmp_path)
    refused = compare(tmp_path, "--report")
    assert "8 measurements are left out" in refused.output
    assert "--outdated takes those that fit" in refused.output
    (counted,) = reported(tmp_path, monkeypatch, "--outdated").candidates
    assert counted.held_out is not None
    assert counted.notes == [
        "Measured with earlier code, settings or libraries: held-out, cross-validation, learning "
        "curve."
    ]
    # Of other examples, nothing fits.
    with (tmp_path / "train.csv").open("a") as file:
        file.write("coucou,greet\n")
    assert isinstance(compare(tmp_path, "--report", "--outdated").exception, UserError)


def test_other_examples_make_everything_new(tmp_path: Path) -> None:
    one = comparison(write_project(tmp_path))
    everything = planned(one)
    finish(one, everything)
    with (tmp_path / "train.csv").open("a") as file:
        file.write("coucou,greet\n")
    assert planned(comparison(tmp_path)) == everything


def test_one_candidate_and_one_kind_can_be_chosen(tmp_path: Path) -> None:
    write_project(tmp_path)
    chosen = planned(comparison(tmp_path, only=["broken"], kinds=[HELD_OUT]))
    assert {(cell.candidate, cell.kind) for cell in chosen} == {("broken", HELD_OUT)}
    with pytest.raises(UserError, match="There is no candidate brokn"):
        comparison(tmp_path, only=["brokn"])


SERVED = """
  behind:
    name: Behind
    service: sagemaker
    local_model: full
    pipeline: [{name: components.camembert.CamembertIntentClassifier, sagemaker_endpoint: x}]
  full:
    name: Full
    pipeline: [{name: components.camembert.CamembertIntentClassifier, precision: fp32}]
"""


def test_a_service_is_scored_on_the_held_out_set_alone_after_what_it_serves(
    tmp_path: Path,
) -> None:
    config = CONFIG.partition("  counted:")[0] + SERVED
    one = comparison(write_project(tmp_path, config))
    mine = [cell for cell in planned(one) if cell.candidate == "behind"]
    assert [cell.kind for cell in mine] == [HELD_OUT, SPEED]
    trained = [cell.candidate for cell in one.plan() if cell.kind == HELD_OUT]
    assert trained == ["full", "full", "behind"]
    # Its endpoint ends with the local AWS, and it needs the model that is served there.
    again = planned(comparison(tmp_path, only=["behind"], kinds=[SPEED]))
    assert [(cell.candidate, cell.kind) for cell in again] == [
        ("full", HELD_OUT),
        ("behind", HELD_OUT),
        ("behind", SPEED),
    ]


def test_time_that_remains_is_estimated_from_the_nearest_cells() -> None:
    def record(seconds: float) -> Record:
        return Record("", seconds, "2026-01-01")

    records = {
        Cell("slow", CROSS_VALIDATION, 0, 0): record(100),
        Cell("slow", SPEED): record(50),
        Cell("fast", CROSS_VALIDATION, 0, 0): record(2),
    }
    pending = [Cell("slow", CROSS_VALIDATION, 0, 1), Cell("fast", SPEED), Cell("new", SPEED)]
    assert runner._remaining(pending, records) == 100 + 2 + 50
    assert runner._remaining([], records) == 0
    assert runner._remaining(pending, {}) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nobody"], "There is no candidate nobody"),
        (["--measure", "everything"], "--measure everything"),
        (["--dataset", "nothing.csv"], "nothing.csv"),
        (["--seeds", "0;1"], "--seeds 0;1: it takes whole numbers"),
        (["--seeds", "1,1"], "'seeds' is [1, 1]; it must be a list without repetitions"),
        (["--folds", "1"], "'folds' is 1"),
        (["--weights", "nothing.yml"], "nothing.yml"),
        (["--outdated"], "--outdated goes with --report"),
        (["--report"], "Nothing is measured"),
    ],
)
def test_wrong_options_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(write_project(tmp_path))
    result = compare(tmp_path, *options)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_where_nothing_is_measured_the_published_figures_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_project(tmp_path))
    published = tmp_path / "docs" / "comparison"
    published.mkdir(parents=True)
    made = comparison_results
    results.write(made.results(made.camembert(), made.diet()), published)

    shown = compare(tmp_path, "--report")

    assert shown.exit_code == 0, shown.output
    assert "this is the report of docs/comparison/results.json" in shown.output
    assert "CamemBERT int8 comes first" in (tmp_path / "out" / "report.md").read_text()


def test_amazon_is_not_asked_before_somebody_has_agreed_to_pay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_project(tmp_path))

    asked = compare(tmp_path, "--real-aws")

    assert asked.exit_code == 1
    assert re.search(r"\$1\.80 an hour for its endpoint", asked.output.replace("\n", " "))
    assert not (tmp_path / "out").exists()
