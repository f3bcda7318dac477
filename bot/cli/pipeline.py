"""``bot pipeline …``: see what the retraining does, and go back to an earlier model."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bot.retraining.backends import Backend
    from bot.retraining.deployment import Deployment
    from bot.retraining.registry import Pointer, Registry, Run
    from bot.retraining.settings import Settings

app = typer.Typer(help="Follow the retraining; go back to an earlier model.", no_args_is_help=True)

Bucket = Annotated[
    str,
    typer.Option(
        envvar="ARTIFACT_BUCKET",
        help="The pipeline's artifact bucket; its folder where there is no AWS, with a slash.",
    ),
]
Every = Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")]
Patience = Annotated[float, typer.Option(min=0, help="Minutes to wait at most.")]


@app.command()
def run(
    dataset: Annotated[
        Path | None, typer.Argument(help="Dataset; without one the folder is watched.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="Where it is trained; Terraform makes the others: docs/aws.md.")
    ] = "local",
    folder: Annotated[
        Path, typer.Option(envvar="PIPELINE_FOLDER", help="Where datasets, runs and models are.")
    ] = Path("pipeline"),
    config: Annotated[Path, typer.Option(help="The configuration of the bot.")] = Path(
        "config.yml"
    ),
    heldout: Annotated[
        Path | None, typer.Option(help="Held-out set to measure on from now on.")
    ] = None,
) -> None:
    """Retrain on this machine: check, train, measure, judge, and have running bots take it over."""
    import os
    import shutil

    from bot.processes import stopping_on_signals
    from bot.retraining.local import LocalPipeline
    from bot.retraining.registry import Status
    from bot.retraining.settings import Settings

    if backend != "local":
        raise UserError(
            f"'{backend}' is trained by what Terraform makes: aws s3 cp {dataset or 'FILE'} "
            "s3://DATASET_BUCKET/datasets/, then bot pipeline watch. docs/aws.md has it all."
        )
    place = {"BACKEND": "local", "ARTIFACT_BUCKET": str(folder), "TRAINING_CONFIG": str(config)}
    pipeline = LocalPipeline(Settings.from_environment({**os.environ, **place}))
    console = _console()
    if heldout:
        target = pipeline.folder / pipeline.settings.heldout_key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(heldout, target)
    if dataset is None:
        console.print(f"Datasets dropped into {folder}/datasets are taken in; Ctrl-C ends it.")
        with contextlib.suppress(KeyboardInterrupt), stopping_on_signals():
            pipeline.watch(lambda text: console.print(escape(text)), lambda: False)
        return
    with console.status("Training"):
        ended = pipeline.take(pipeline.put(dataset))
    if ended is None:
        raise UserError(f"{dataset} is no dataset by its name: it must end in .json.")
    for line in ended.timeline:
        console.print(f"{_clock(line['at'])}  {line['event']}")
    console.print(f"{_described(ended)}: [bold]{ended.status.value}[/]")
    if ended.reason:
        console.print(escape(ended.reason))
    if ended.status not in (Status.DEPLOYED, Status.AWAITING_APPROVAL, Status.NOTHING_NEW):
        raise typer.Exit(1)


@app.command()
def status(bucket: Bucket) -> None:
    """Show the live model, its endpoint, and the runs under way."""
    from rich.table import Table

    from bot.retraining.backends import State
    from bot.retraining.registry import Registry, Status

    registry = Registry(bucket)
    runs = _runs(registry)
    pointer = registry.pointer()
    table = Table(show_header=False, box=None)
    for title, identity in (
        ("Live", pointer.live),
        ("Previous", pointer.previous),
        ("Being deployed", pointer.deploying),
    ):
        run = next((run for run in runs if run.run_id == identity), None)
        table.add_row(title, _described(run) if run else "none")
    if pointer.live:
        progress = _parts(registry, runs)[0].endpoint_status(registry.run(pointer.live))
        message = f": {progress.message}" if progress.message else ""
        # In service, and failed for this run: it answers with something else.
        wrong = progress.state is State.FAILED and "SERVICE" in progress.status.upper()
        table.add_row("Endpoint", escape(f"{progress.status}{message}"))
        if wrong:
            table.add_row("", f"Not the live model: bot pipeline rollback --to {pointer.live}")
    for run in runs:
        if run.status is Status.AWAITING_APPROVAL:
            table.add_row("Waits", f"{_described(run)}: bot pipeline approve {run.run_id}")
        elif not run.status.final:
            table.add_row("Under way", f"{_described(run)}: {run.status.value}")
    _console().print(table)


@app.command()
def history(
    bucket: Bucket,
    limit: Annotated[int, typer.Option(min=1, help="Newest runs shown.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="The whole records, as JSON.")] = False,
) -> None:
    """List what was trained on which data, and how it ended; newest first."""
    import json as json_format

    from bot.retraining.registry import Registry

    registry = Registry(bucket)
    runs = _runs(registry)[:limit]
    if json:
        records = [run.to_json() for run in runs]
        typer.echo(json_format.dumps(records, ensure_ascii=False, indent=1))
    else:
        _print_history(runs, registry.pointer())


@app.command()
def rollback(
    bucket: Bucket,
    to: Annotated[str, typer.Option(help="Run to go back to; default: the previous one.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    every: Every = 10,
    patience: Patience = 60,
) -> None:
    """Let the endpoint serve an earlier model again; it keeps answering meanwhile."""
    from bot.retraining.backends import State
    from bot.retraining.registry import Registry

    registry = Registry(bucket)
    _, deployment = _parts(registry, _runs(registry))
    run = _target(registry, to)
    if deploying := deployment.busy():
        raise UserError(f"{deploying} is being deployed; wait for it: bot pipeline watch.")
    console = _console()
    console.print(f"Back to {_described(run)}")
    if not yes:
        typer.confirm("Go back to it?", abort=True)
    deadline = time.monotonic() + patience * 60
    with console.status("The endpoint changes; it keeps answering meanwhile"):
        while not deployment.restore(run.run_id):
            _pause(every, deadline, "the endpoint")
        while (progress := deployment.restored(run.run_id)).state is State.IN_PROGRESS:
            _pause(every, deadline, "the endpoint")
    if progress.state is State.FAILED:
        raise UserError(f"The endpoint is {progress.status}: {progress.message}")
    console.print(f"[green]{run.run_id} is live.[/]")


@app.command()
def retry(
    bucket: Bucket,
    run: Annotated[str, typer.Argument(help="The run.")],
) -> None:
    """Take up a run that failed where it stopped: nothing is trained twice that was trained."""
    from bot.retraining import executions
    from bot.retraining.registry import Registry

    registry = Registry(bucket)
    settings = _settings(_runs(registry))
    _followed(settings, executions.resume(registry, settings, run))


@app.command()
def approve(
    bucket: Bucket,
    run: Annotated[str, typer.Argument(help="The run.")],
) -> None:
    """Let a run go live that passed the gate and waits for that (setting APPROVAL=manual)."""
    from bot.retraining import executions
    from bot.retraining.registry import Registry

    registry = Registry(bucket)
    settings = _settings(_runs(registry))
    who = _who(settings)
    _followed(settings, executions.resume(registry, settings, run, approved_by=who))


@app.command()
def teardown(
    bucket: Bucket,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    every: Every = 10,
    patience: Patience = 60,
) -> None:
    """Delete the endpoint, its office hours and all models; records and datasets stay."""
    from bot.retraining.registry import Registry
    from components.comprehend.office_hours import Schedules

    registry = Registry(bucket)
    runs = _runs(registry)
    deployment = _parts(registry, runs)[1]
    if under_way := [run.run_id for run in runs if not run.status.final]:
        raise UserError(
            f"{', '.join(under_way)} would make models and an endpoint again: wait for the end "
            "(bot pipeline watch RUN), or stop the execution in Step Functions."
        )
    name = _settings(runs).name
    if not yes:
        typer.confirm(
            f"Delete the endpoint '{name}' and every model? Bots that ask it then answer by their "
            "fallback, or not at all.",
            abort=True,
        )
    console = _console()
    if _settings(runs).backend == "comprehend" and Schedules().remove(name):
        console.print("The office hours are removed.")
    deadline = time.monotonic() + patience * 60
    with console.status(f"The endpoint '{name}' is being deleted"):
        while not deployment.teardown():
            _pause(every, deadline, "the endpoint")
    console.print(
        f"There is no endpoint '{name}' and no model any more. What is left costs cents: datasets, "
        "records and Lambdas; terraform destroy."
    )


@app.command()
def watch(
    bucket: Bucket,
    run: Annotated[str, typer.Argument(help="Run to follow; default: the newest one.")] = "",
    dataset: Annotated[
        str, typer.Option(help="Follow the run of this dataset, s3://BUCKET/KEY, as it is now.")
    ] = "",
    ask: Annotated[str, typer.Option(help="Text to classify at the end.")] = "",
    every: Every = 2,
    patience: Patience = 120,
) -> None:
    """Follow a run to its end, waiting for it to begin; exit status 1 if it fails."""
    from bot.retraining.registry import Registry, Status

    registry = Registry(bucket)
    deadline = time.monotonic() + patience * 60
    followed = _follow(registry, run or (_run_of(dataset) if dataset else ""), every, deadline)
    well = (Status.DEPLOYED, Status.SUPERSEDED, Status.AWAITING_APPROVAL, Status.NOTHING_NEW)
    if followed.status not in well:
        raise UserError(f"{followed.run_id} is {followed.status.value}: {followed.reason}")
    if followed.status is Status.AWAITING_APPROVAL:
        _console().print(f"To make it live: bot pipeline approve {followed.run_id}")
    elif followed.reason:
        _console().print(escape(followed.reason))
    if ask and registry.pointer().live:
        answer = _parts(registry, [followed])[0].classify([ask])[0]
        _console().print(f"« {escape(ask)} » → [bold]{answer}[/]")


def _follow(registry: Registry, run_id: str, every: float, deadline: float) -> Run:
    """Print what happens to a run as it happens; return it at its end."""
    console, shown = _console(), 0
    with console.status("Waiting for a run to begin") as spinner:
        while True:
            found = registry.find(run_id) if run_id else next(iter(registry.runs()), None)
            if found:
                run_id = found.run_id
                if not shown:
                    console.print(_described(found))
                for line in found.timeline[shown:]:
                    console.print(f"{_clock(line['at'])}  {line['event']}")
                shown = len(found.timeline)
                if found.status.final:
                    return found
                spinner.update(f"{found.run_id}: {found.status.value}")
            _pause(every, deadline, f"the run {run_id}" if run_id else "a run to begin")


def _print_history(runs: Sequence[Run], pointer: Pointer) -> None:
    from rich.table import Table

    table = Table("Run", "Dataset put", "Dataset", "Examples", "Macro-F1", "Accuracy", "End")
    for run in runs:
        role = {pointer.live: " [green]live[/]", pointer.previous: " previous"}
        end = run.status.value + role.get(run.run_id, "") + (" pruned" if run.pruned_at else "")
        table.add_row(
            run.run_id,
            _date(run.created_at),
            escape(run.dataset["key"]),
            str(run.dataset["examples"]),
            f"{run.metrics['macro_f1']:.3f}" if run.metrics else "",
            f"{run.metrics['accuracy']:.3f}" if run.metrics else "",
            end,
        )
    _console().print(table)


def _runs(registry: Registry) -> list[Run]:
    runs = registry.runs()
    if not runs:
        raise UserError(f"No dataset has been put yet: the bucket '{registry.bucket}' has no run.")
    return runs


def _parts(registry: Registry, runs: Sequence[Run]) -> tuple[Backend, Deployment]:
    """Return the pipeline as its newest run was configured."""
    from bot.retraining import backends
    from bot.retraining.deployment import Deployment

    settings = _settings(runs)
    backend = backends.create(settings, registry)
    return backend, Deployment(settings, registry, backend)


def _who(settings: Settings) -> str:
    """Return who asks, as AWS or this machine knows them."""
    import getpass

    from common.aws import aws_errors, client

    if settings.backend == "local":
        return getpass.getuser()
    with aws_errors("find out who you are"):
        return str(client("sts").get_caller_identity()["Arn"])


def _followed(settings: Settings, run: Run) -> None:
    """Without AWS, take a run to its end; else say how to see that."""
    if settings.backend != "local":
        _console().print(f"{_described(run)} goes on: bot pipeline watch {run.run_id}")
        return
    from bot.retraining.local import LocalPipeline

    ended = LocalPipeline(settings).follow(run)
    _console().print(f"{_described(ended)}: [bold]{ended.status.value}[/] {escape(ended.reason)}")


def _settings(runs: Sequence[Run]) -> Settings:
    from bot.retraining.settings import Settings

    return Settings.from_json(runs[0].settings)


def _target(registry: Registry, to: str) -> Run:
    pointer = registry.pointer()
    wanted = to or pointer.previous
    if not wanted:
        raise UserError("There is no previous model; name one of `bot pipeline history` with --to.")
    run = registry.run(wanted)
    if run.pruned_at:
        raise UserError(f"The model of {wanted} was deleted on {_date(run.pruned_at)}.")
    if not run.metrics:
        raise UserError(f"{wanted} has no trained model: its status is {run.status.value}.")
    return run


def _run_of(dataset: str) -> str:
    """Return the run id of the current version of a dataset in S3."""
    from bot.retraining.registry import run_id
    from common.aws import AwsError, aws_errors, client, split_s3_uri

    bucket, key = split_s3_uri(dataset)
    try:
        with aws_errors(f"read '{dataset}'"):
            head = client("s3").head_object(Bucket=bucket, Key=key)
    except AwsError as error:
        if error.code not in ("404", "NoSuchKey"):
            raise
        raise UserError(
            f"There is no '{dataset}'; put it there first: aws s3 cp FILE '{dataset}'."
        ) from error
    return run_id(bucket, key, head.get("VersionId") or head["ETag"].strip('"'))


def _described(run: Run) -> str:
    measured = f", macro-F1 {run.metrics['macro_f1']:.3f}" if run.metrics else ""
    return escape(f"{run.run_id} ({run.uri} of {_date(run.created_at)}{measured})")


def _date(timestamp: str) -> str:
    return timestamp[:16].replace("T", " ")


def _clock(timestamp: str) -> str:
    return timestamp[11:19]


def _pause(seconds: float, deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise UserError(
            f"Waited long enough for {what}. It goes on at AWS; look with `bot pipeline status`, "
            "or wait longer with --patience."
        )
    time.sleep(seconds)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)
