"""``make pipeline-demo``: a dataset put into S3 ends in a live endpoint, both ways, on one machine.

Then, the first way: a better dataset goes live, a bad one is rejected, and somebody rolls back.
Terraform, the Lambda functions, the state machine and the container are those of the real pipeline;
AWS is the local one of ``localaws``. Ends within five minutes on two processors.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bot import dataset as datasets
from bot.dataset import Dataset
from bot.processes import stopping_on_signals
from bot.retraining import backends, notifications
from bot.retraining.registry import Registry, Run, Status, run_id
from bot.retraining.settings import Settings
from common.errors import UserError
from comparison.local_aws import IMAGES
from localaws import LocalAWS
from localaws.terraform import Terraform, TerraformError

ROOT = Path(__file__).resolve().parents[1]
# A minute of AWS takes a second: Comprehend's half hour half a minute, each poll two seconds.
TIME_SCALE = 1 / 60
# About as many as in the experiment that this project grew from (390), and 50 of each intent, which
# Comprehend recommends.
EXAMPLES = 520
INTENTS = ("HOW_ARE_YOU", "WHO_IS", "WHO_KNOWS_ABOUT")
QUESTION = "Qui s'y connaît en Kubernetes à Nantes ?"
# The offline encoder, and few epochs: a demonstration, not the best model. One thread, since two
# that share their processors with everything else here wait for each other.
HYPERPARAMETERS = {
    "encoder": "models/encoders/e5-small-fr",
    "epochs": 2,
    "augmentation": 0,
    "refit": False,
    "threads": 1,
}
SOLUTIONS = {"comprehend": "Amazon Comprehend", "sagemaker": "CamemBERT on Amazon SageMaker"}
# Seconds for both retrainings; many times what they take, for machines that have more to do.
PATIENCE = 1800.0
LOG = ROOT / "results" / "pipeline-demo.log"
# Without a terminal something is said at least this often.
SILENCE_SECONDS = 15.0

Tell = Callable[[str], None]
DONE = object()


class Stages:
    """Shows what is being done, and remembers how long it took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.begin = time.monotonic()
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Tell]:
        """Show a stage while it lasts; what is told appears beside its title."""
        with self.stages(title) as (row,):
            yield row.tell
            row.done()

    @contextlib.contextmanager
    def stages(self, *titles: str) -> Iterator[list[Row]]:
        """Show several stages that go on at the same time, a row for each."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[detail]}"),
            TimeElapsedColumn(),
        )
        quiet = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=quiet) as progress:
            yield [Row(self, progress, title) for title in titles]

    def done(self, title: str, seconds: float) -> None:
        """Note a stage that has ended."""
        self._seconds[title] = seconds
        self.console.print(f"[green]✓[/] {title} [dim]{seconds:.0f} s[/]")

    def table(self) -> Table:
        """Return how long each stage took."""
        table = Table("Stage", "Seconds")
        for title, seconds in self._seconds.items():
            table.add_row(title, f"{seconds:.0f}")
        table.add_section()
        table.add_row("In all", f"{time.monotonic() - self.begin:.0f}")
        return table


class Row:
    """One stage in the display."""

    def __init__(self, stages: Stages, progress: Progress, title: str) -> None:
        self._stages, self._progress, self._title = stages, progress, title
        self._begin = self._told = time.monotonic()
        self._detail = ""
        self._task = progress.add_task(title, total=None, detail="")

    def tell(self, detail: str) -> None:
        """Show ``detail`` beside the title.

        Without a terminal it has a line of its own, if it is new or nothing was said for long.
        """
        self._progress.update(self._task, detail=escape(detail))
        now = time.monotonic()
        is_due = detail != self._detail or now - self._told >= SILENCE_SECONDS
        if is_due and not self._stages.console.is_terminal:
            seconds = f" [dim]{now - self._begin:.0f} s[/]"
            self._stages.console.print(f"  {self._title}: {escape(detail)}{seconds}")
            self._told = now
        self._detail = detail

    @property
    def said(self) -> str:
        """The last that was said."""
        return f"{self._title}: {self._detail}"

    def done(self, part: str = "") -> None:
        """End the stage, or a further part of it that began when the last one ended."""
        now = time.monotonic()
        self._stages.done(f"{self._title}, {part}" if part else self._title, now - self._begin)
        self._begin = now


def sample(dataset: Dataset, size: int = EXAMPLES, seed: int = 0) -> Dataset:
    """Return ``size`` examples of the intents above, with the shares that the intents have."""
    pool = [example for example in dataset.examples if example.intent in INTENTS]
    random.Random(seed).shuffle(pool)
    counts = Counter(example.intent for example in pool)
    wanted = {intent: round(size * count / len(pool)) for intent, count in counts.items()}
    chosen = []
    for example in pool:
        if wanted[example.intent] > 0:
            wanted[example.intent] -= 1
            chosen.append(example)
    return Dataset(chosen, language=dataset.language)


def confused(dataset: Dataset, seed: int = 0) -> Dataset:
    """Return the examples with each other's intents, as somebody who sorted one column alone."""
    intents = [example.intent for example in dataset.examples]
    random.Random(seed).shuffle(intents)
    chosen = [
        dataclasses.replace(example, intent=intent)
        for example, intent in zip(dataset.examples, intents, strict=True)
    ]
    return Dataset(chosen, language=dataset.language)


def heldout(dataset: Dataset) -> Dataset:
    """Return the held-out examples of the intents above."""
    chosen = [example for example in dataset.examples if example.intent in INTENTS]
    return Dataset(chosen, language=dataset.language)


def as_json(dataset: Dataset) -> bytes:
    """Return a dataset as it is delivered, texts and intents alone."""
    examples = [{"text": one.text, "intent": one.intent} for one in dataset.examples]
    content = {"version": datasets.VERSION, "language": dataset.language, "examples": examples}
    return json.dumps(content, ensure_ascii=False).encode()


def build_archive(folder: Path) -> Path:
    """Build the Lambdas' archive; return its path."""
    archive = folder / "lambda.zip"
    builder = ROOT / "infra" / "lambda" / "build.py"
    subprocess.run([sys.executable, builder, archive], check=True, capture_output=True)
    return archive


@dataclasses.dataclass(frozen=True)
class Story:
    """What happens to one solution.

    Attributes:
        aws: The local AWS.
        outputs: Terraform's, of the solution.
        row: Its row in the display.
        console: Where what came of it is shown.
    """

    aws: LocalAWS
    outputs: dict[str, Any]
    row: Row
    console: Console

    def tell(self, *, whole: bool) -> Iterator[None]:
        """Go on as far as AWS has come, each time that the next item is asked for.

        Args:
            whole: Whether a second dataset, a bad one and a rollback follow the first.

        Raises:
            UserError: Something ended otherwise; the message says why.
        """
        delivered = datasets.read(ROOT / "data" / "dataset.json")
        measured_on = heldout(datasets.read(ROOT / "tests" / "data" / "heldout.yml"))
        self._put("heldout/heldout.json", measured_on)
        first = self._put("datasets/questions.json", sample(delivered))
        run = yield from self._end_of(first, Status.DEPLOYED)
        backend = backends.create(Settings.from_json(run.settings), self._registry)
        (answer,) = backend.classify([QUESTION])
        self.row.done()
        self._show(run)
        self.console.print(f"  « {QUESTION} » → [bold]{answer}[/]")
        if not whole:
            return
        more = sample(delivered, EXAMPLES + 100)
        newer = self._put("datasets/more.json", more)
        bad = self._put("datasets/mixed-up.json", confused(more))
        self._show((yield from self._end_of(newer, Status.DEPLOYED)))
        self._show((yield from self._end_of(bad, Status.REJECTED)))
        yield from self._roll_back()
        if (live := self._registry.pointer().live) != first:
            raise UserError(f"After the rollback {live} is live, and not {first}.")
        self.row.done("second dataset, bad dataset, rollback")

    @property
    def _registry(self) -> Registry:
        return Registry(self.outputs["artifact_bucket"])

    def _put(self, key: str, content: Dataset) -> str:
        """Put a dataset, the rest happens by itself; return the run that comes of it."""
        bucket = self.outputs["dataset_bucket"]
        answer = self.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=as_json(content))
        return run_id(bucket, key, answer["VersionId"])

    def _end_of(self, identity: str, expected: Status) -> Generator[None, None, Run]:
        while (run := self._registry.find(identity)) is None or not run.status.final:
            key = run.dataset["key"] if run else "waiting for S3 to start the Lambda function"
            self.row.tell(f"{key} {run.status.value}" if run else key)
            yield
        if run.status is not expected:
            raise UserError(f"{identity} ended as {run.status.value}: {run.reason}")
        return run

    def _show(self, run: Run) -> None:
        """Show what came of a run: how long it took, its figures, its endpoint, the notice."""
        line = ", ".join(f"{name} {s:.0f} s" for name, s in _durations(run))
        self.console.print(f"  [bold]{run.dataset['key']}[/]: {run.status.value} [dim]{line}")
        self.console.print(
            f"  macro-F1 {run.metrics['macro_f1']:.3f} on {run.metrics['test_examples']} held-out "
            "texts. The notice:"
        )
        settings = Settings.from_json(run.settings)
        words = notifications.message(settings, run, self._registry.bucket)
        for line in (notifications.subject(settings, run), *words.splitlines()):
            self.console.print(f"  [dim]| {escape(line)}")

    def _roll_back(self) -> Iterator[None]:
        command = ("rollback", "--yes", "--every", "0.5")
        self.console.print(f"  [bold]$ bot pipeline {' '.join(command)}[/]")
        said = concurrent.futures.ThreadPoolExecutor(1).submit(_bot, self.outputs, *command)
        while not said.done():
            self.row.tell("rollback")
            yield
        for line in said.result().splitlines():
            self.console.print(f"  [dim]| {escape(line)}")


def _bot(outputs: dict[str, Any], *command: str) -> str:
    """Run a command of ``bot pipeline``; return what it writes.

    Raises:
        UserError: It fails.
    """
    done = subprocess.run(
        [Path(sys.executable).with_name("bot"), "pipeline", *command],
        env={**os.environ, "ARTIFACT_BUCKET": outputs["artifact_bucket"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise UserError(f"`bot pipeline {' '.join(command)}` failed: {done.stdout}")
    return done.stdout


def retrain(stages: Stages, aws: LocalAWS, outputs: dict[str, dict[str, Any]]) -> None:
    """Retrain each way, at the same time, until each endpoint has answered a question.

    Args:
        stages: The display.
        aws: The local AWS.
        outputs: Solution to Terraform's outputs for it.

    Raises:
        UserError: A retraining ends otherwise, or not in time.
    """
    titles = [f"{SOLUTIONS[solution]}: dataset → endpoint" for solution in outputs]
    with stages.stages(*titles) as rows:
        pending = [
            Story(aws, given, row, stages.console).tell(whole=row is rows[0])
            for given, row in zip(outputs.values(), rows, strict=True)
        ]
        deadline = time.monotonic() + PATIENCE
        while pending := [story for story in pending if next(story, DONE) is not DONE]:
            if time.monotonic() > deadline:
                said = "; ".join(row.said for row in rows)
                raise UserError(f"It has not ended after {PATIENCE:.0f} s. {said}")
            time.sleep(0.2)


def _durations(run: Run) -> Iterator[tuple[str, float]]:
    """Yield the events of a run's timeline with the seconds until the next one."""
    times = [datetime.datetime.fromisoformat(event["at"]) for event in run.timeline]
    for event, begin, end in zip(run.timeline, times, times[1:], strict=False):
        yield event["event"], (end - begin).total_seconds()


def _live(outputs: dict[str, Any]) -> str:
    """Say what is live at the end, and where its record is."""
    registry = Registry(outputs["artifact_bucket"])
    run = registry.run(registry.pointer().live)
    return (
        f"Live was {run.run_id} ({run.dataset['key']}, macro-F1 {run.metrics['macro_f1']:.3f}) at "
        f"{run.endpoint['arn']}"
    )


def _count(tell: Tell, ending: str) -> Tell:
    """Return what counts the lines of Terraform's that say a resource is done."""
    done = 0

    def count(line: str) -> None:
        nonlocal done
        done += ending in line
        tell(f"{done - done % 10} resources")

    return count


def demonstrate(solutions: list[str], console: Console) -> None:
    """Build, apply, retrain each way, destroy.

    Raises:
        UserError: A retraining fails.
        TerraformError: Terraform fails.
    """
    stages = Stages(console)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        with stages.stage("Lambda functions: archive"):
            archive = build_archive(folder)
        with stages.stage("Local AWS: start"):
            LOG.parent.mkdir(exist_ok=True)
            aws = stack.enter_context(LocalAWS(images=IMAGES, time_scale=TIME_SCALE, log=LOG))
        os.environ.update(aws.environment())
        variables = {
            "lambda_zip": str(archive),
            "environment": "demo",
            "enable_comprehend": "comprehend" in solutions,
            "enable_sagemaker": "sagemaker" in solutions,
            "sagemaker": {"hyperparameters": HYPERPARAMETERS},
            "force_destroy": True,
            "gate": {"max_loss": 0.05},  # the models are small
            "max_retries": 2,
            "s3_use_path_style": True,
        }
        terraform = Terraform(ROOT / "infra" / "terraform", folder, aws.environment(), variables)
        with stages.stage("Terraform: apply") as tell:
            terraform.apply(_count(tell, "Creation complete"))
        outputs = terraform.outputs()
        retrain(stages, aws, {solution: outputs[solution] for solution in solutions})
        live = [_live(outputs[solution]) for solution in solutions]
        with stages.stage("Endpoints and models: bot pipeline teardown") as tell:
            for solution in solutions:
                tell(SOLUTIONS[solution])
                _bot(outputs[solution], "teardown", "--yes", "--every", "0.5")
        with stages.stage("Terraform: destroy") as tell:
            terraform.destroy(_count(tell, "Destruction complete"))
    console.print(stages.table())
    for line in live:
        console.print(line)
    console.print(
        "Next: docs/aws.md does the same by hand (`bot pipeline watch`, `history`, `rollback`); "
        "`make retrain-demo` shows a takeover and a rollback without any cloud."
    )


def main() -> int:
    """Run the demonstration that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m infra.demo", description=__doc__)
    parser.add_argument("--only", choices=list(SOLUTIONS), help="one solution instead of both")
    only = parser.parse_args().only
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        "The AWS of this demonstration is a stand-in on this machine, and a minute of it takes a "
        "second: see localaws/README.md."
    )
    try:
        with stopping_on_signals():
            demonstrate([only] if only else list(SOLUTIONS), console)
    except (UserError, TerraformError) as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}")
        console.print(f"The log of the local AWS: {LOG}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; nothing is left of it.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
