"""``make pipeline-demo``: a dataset put into S3 ends in a live endpoint, both ways, on one machine.

Terraform, the Lambda functions, the state machine and the container are those of the real pipeline;
AWS is the local one of ``infra/localaws``. Ends within five minutes on two processors.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bot import dataset as datasets
from bot.dataset import Dataset
from bot.errors import UserError
from bot.retraining import backends
from bot.retraining.registry import Registry, Run, Status, run_id
from bot.retraining.settings import Settings
from infra.localaws import LocalAWS
from infra.localaws.launcher import ROOT
from infra.localaws.terraform import Terraform, TerraformError

# A minute of AWS takes a second: Comprehend's half hour half a minute, each poll two seconds.
TIME_SCALE = 1 / 60
# As in the experiment that this project grew from.
EXAMPLES = 390
INTENTS = ("HOW_ARE_YOU", "WHO_IS", "WHO_KNOWS_ABOUT")
QUESTION = "Qui s'y connaît en Kubernetes à Nantes ?"
# The offline encoder, and few epochs: a demonstration, not the best model.
HYPERPARAMETERS = {"encoder": "models/encoders/e5-small-fr", "epochs": 2, "augmentation": 0}
SOLUTIONS = {"comprehend": "Amazon Comprehend", "sagemaker": "CamemBERT on Amazon SageMaker"}
PATIENCE = 240.0  # seconds for a retraining

Tell = Callable[[str], None]


@dataclasses.dataclass
class Stages:
    """Shows what is being done, and remembers how long it took."""

    console: Console
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Tell]:
        """Show a stage while it lasts; what is told appears beside its title."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[detail]}"),
            TimeElapsedColumn(),
        )
        begin = time.monotonic()
        quiet = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=quiet) as progress:
            task = progress.add_task(title, total=None, detail="")
            yield lambda detail: progress.update(task, detail=escape(detail))
        self.done(title, time.monotonic() - begin)

    def done(self, title: str, seconds: float) -> None:
        """Note a stage that has ended."""
        self.seconds[title] = seconds
        self.console.print(f"[green]✓[/] {title} [dim]{seconds:.0f} s[/]")

    def table(self) -> Table:
        """Return how long each stage took."""
        table = Table("Stage", "Seconds")
        for title, seconds in self.seconds.items():
            table.add_row(title, f"{seconds:.1f}")
        table.add_section()
        table.add_row("In all", f"{sum(self.seconds.values()):.1f}")
        return table


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


def retrain(stages: Stages, aws: LocalAWS, solution: str, outputs: dict[str, Any]) -> None:
    """Put the held-out set and a dataset; watch until the endpoint answers a question.

    Raises:
        UserError: The retraining ends otherwise; the message says why.
    """
    name = SOLUTIONS[solution]
    bucket, key = outputs["dataset_bucket"], "datasets/questions.json"
    s3 = aws.client("s3")
    measured_on = as_json(heldout(datasets.read(ROOT / "tests" / "data" / "heldout.yml")))
    s3.put_object(Bucket=bucket, Key="heldout/heldout.json", Body=measured_on)
    content = as_json(sample(datasets.read(ROOT / "data" / "dataset.json")))
    version = s3.put_object(Bucket=bucket, Key=key, Body=content)["VersionId"]
    registry = Registry(outputs["artifact_bucket"])
    with stages.stage(f"{name}: dataset → endpoint") as tell:
        run = _watch(registry, run_id(bucket, key, version), tell)
        backend = backends.create(Settings.from_json(run.settings), registry)
        (answer,) = backend.classify([QUESTION])
    for event, seconds in _durations(run):
        stages.console.print(f"    [dim]{event} {seconds:.0f} s[/]")
    stages.console.print(
        f"    macro-F1 {run.metrics['macro_f1']:.3f} on {run.metrics['test_examples']} held-out "
        f"texts; « {QUESTION} » → [bold]{answer}[/]"
    )


def _watch(registry: Registry, identity: str, tell: Tell) -> Run:
    tell("waiting for S3 to start the Lambda function")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        run = registry.find(identity)
        if run is not None:
            tell(run.status.value)
            if run.status is Status.DEPLOYED:
                return run
            if run.status.final:
                raise UserError(f"The retraining ended as {run.status.value}: {run.reason}")
        time.sleep(0.2)
    raise UserError(f"The retraining has not ended after {PATIENCE:.0f} s.")


def _durations(run: Run) -> Iterator[tuple[str, float]]:
    """Yield the events of a run's timeline with the seconds until the next one."""
    times = [datetime.datetime.fromisoformat(event["at"]) for event in run.timeline]
    for event, begin, end in zip(run.timeline, times, times[1:], strict=False):
        yield event["event"], (end - begin).total_seconds()


def _count(tell: Tell, ending: str) -> Tell:
    """Return what counts the lines of Terraform's that say a resource is done."""
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if ending in line:
            done += 1
            tell(f"{done} resources")

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
            aws = stack.enter_context(LocalAWS(time_scale=TIME_SCALE))
        os.environ.update(aws.environment())
        variables = {
            "lambda_zip": str(archive),
            "environment": "demo",
            "enable_comprehend": "comprehend" in solutions,
            "enable_sagemaker": "sagemaker" in solutions,
            "sagemaker": {"hyperparameters": HYPERPARAMETERS},
            "force_destroy": True,
            "max_retries": 2,
            "s3_use_path_style": True,
        }
        terraform = Terraform(ROOT / "infra" / "terraform", folder, aws.environment(), variables)
        with stages.stage("Terraform: apply") as tell:
            terraform.apply(_count(tell, "Creation complete"))
        outputs = terraform.outputs()
        for solution in solutions:
            retrain(stages, aws, solution, outputs[solution])
        with stages.stage("Terraform: destroy") as tell:
            terraform.destroy(_count(tell, "Destruction complete"))
    console.print(stages.table())


def main() -> int:
    """Run the demonstration that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m infra.demo", description=__doc__)
    parser.add_argument("--only", choices=list(SOLUTIONS), help="one solution instead of both")
    only = parser.parse_args().only
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        "The AWS of this demonstration is a stand-in on this machine, and a minute of it takes a "
        "second: see infra/localaws/README.md."
    )
    try:
        demonstrate([only] if only else list(SOLUTIONS), console)
    except (UserError, TerraformError) as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
