"""``bot comprehend …``: what an Amazon Comprehend endpoint does and costs."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from bot.retraining.registry import Run
    from components.comprehend.service import Comprehend, Endpoint, Version

app = typer.Typer(help="Amazon Comprehend, the other intent classifier.", no_args_is_help=True)
endpoint_app = typer.Typer(
    help="Start, stop and watch an endpoint: it is charged as long as it exists, used or not.",
    no_args_is_help=True,
)
app.add_typer(endpoint_app, name="endpoint")

Name = Annotated[
    str, typer.Option("--endpoint", envvar="COMPREHEND_ENDPOINT", help="Name of the endpoint.")
]
Classifier = Annotated[
    str | None,
    typer.Option(help="Name of the classifier; by default that of the endpoint."),
]
VersionName = Annotated[
    str | None,
    typer.Option(
        "--version",
        help="Name of the version; by default that which the pipeline says is live, and without "
        "a pipeline the last one trained.",
    ),
]
Units = Annotated[
    int | None,
    typer.Option(
        min=1, max=10, help="Inference units, each for 100 characters and 2 texts a second [1]."
    ),
]
Region = Annotated[str | None, typer.Option(help="AWS region; by default that of AWS's chain.")]
RoleArn = Annotated[
    str | None,
    typer.Option(help="Role that may create and delete the endpoint, for the scheduler."),
]
DataRoleArn = Annotated[
    str | None,
    typer.Option(
        "--data-access-role-arn",
        help="Role by which Comprehend decrypts the version, where a KMS key encrypts it.",
    ),
]

_DEFAULT = "skills-bot"


@app.command()
def train(
    config: Annotated[
        Path, typer.Option(envvar="BOT_CONFIG", help="The pipeline, with the endpoint's name.")
    ] = Path("config.comprehend.yml"),
    yes: Annotated[bool, typer.Option("--yes", help="Spend the money without asking.")] = False,
) -> None:
    """Train a version on data/nlu.yml and have the endpoint answer with it.

    Bucket and role are made where they are missing. The same examples are trained once.
    """
    from bot import comprehend

    comprehend.train_endpoint(config, Console(highlight=False, soft_wrap=True), yes=yes)


@endpoint_app.command()
def start(
    endpoint: Name = _DEFAULT,
    classifier: Classifier = None,
    version: VersionName = None,
    units: Units = None,
    data_role_arn: DataRoleArn = None,
    region: Region = None,
    wait: Annotated[bool, typer.Option(help="Wait until it answers.")] = True,
    poll_seconds: Annotated[float, typer.Option(help="Seconds between two looks.")] = 10,
    time_limit: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 3600,
) -> None:
    """Create the endpoint, or change the version or the units of one that exists."""
    from components.comprehend.documents import ENDPOINT_NAME_LENGTH, check_name
    from components.comprehend.endpoint import deploy
    from components.comprehend.service import FAILED, Comprehend

    check_name(endpoint, ENDPOINT_NAME_LENGTH, "the endpoint")
    service = Comprehend(region)
    found = service.endpoint(endpoint)
    if found and found.state != FAILED and not version:
        model_arn, default_units = found.desired_model_arn, found.units
    else:
        chosen = _servable(service, classifier or endpoint, version)
        model_arn = chosen.version.arn
        default_units = found.units if found else chosen.units
        data_role_arn = data_role_arn or chosen.data_role_arn
    wanted = units or default_units
    console = Console(highlight=False, soft_wrap=True)
    if wait:
        with console.status("") as status:
            started = deploy(
                service,
                endpoint,
                model_arn,
                wanted,
                status.update,
                role_arn=data_role_arn,
                poll_seconds=poll_seconds,
                time_limit=time_limit,
            )
    else:
        started = service.deploy(endpoint, model_arn, wanted, role_arn=data_role_arn)
    _show(started, console)


@endpoint_app.command()
def stop(
    endpoint: Name = _DEFAULT,
    region: Region = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the endpoint; the trained version stays."""
    from components.comprehend.service import Comprehend

    service = Comprehend(region)
    found = service.endpoint(endpoint)
    if found is None:
        typer.echo(f"There is no endpoint '{endpoint}' in {service.region}.")
        return
    if not yes:
        typer.confirm(
            f"Delete the endpoint '{endpoint}'? Bots that ask it then answer by their fallback, "
            "or not at all.",
            abort=True,
        )
    service.delete_endpoint(found.arn)
    typer.echo(f"The endpoint '{endpoint}' is being deleted. It cost about {_so_far(found)}.")


@endpoint_app.command()
def status(endpoint: Name = _DEFAULT, region: Region = None) -> None:
    """Show the state of the endpoint, its version and what it has cost."""
    from components.comprehend.office_hours import Schedules
    from components.comprehend.service import Comprehend

    console = Console(highlight=False, soft_wrap=True)
    service = Comprehend(region)
    found = service.endpoint(endpoint)
    if found:
        _show(found, console)
    else:
        console.print(f"There is no endpoint '{endpoint}' in {service.region}; none is charged.")
    for verb, entry in zip(("starts", "stops"), Schedules(region).get(endpoint), strict=True):
        if entry:
            console.print(f"Schedule  {verb} at {entry.expression}, {entry.timezone}")


@endpoint_app.command()
def schedule(
    endpoint: Name = _DEFAULT,
    classifier: Classifier = None,
    version: VersionName = None,
    units: Units = None,
    start: Annotated[str, typer.Option(help="When to create it; answers 15 min later.")] = "07:30",
    stop: Annotated[str, typer.Option(help="When to delete it.")] = "19:00",
    days: Annotated[str, typer.Option(help="Such as MON-FRI or MON,WED.")] = "MON-FRI",
    timezone: Annotated[str, typer.Option(help="IANA time zone.")] = "Europe/Paris",
    role_arn: RoleArn = None,
    data_role_arn: DataRoleArn = None,
    region: Region = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the schedule.")] = False,
) -> None:
    """Have the endpoint exist in office hours only, each day with the version that is live then."""
    from common.errors import UserError
    from components.comprehend.documents import ENDPOINT_NAME_LENGTH, check_name
    from components.comprehend.office_hours import (
        OfficeHours,
        Schedules,
        endpoint_targets,
        pipeline_targets,
    )
    from components.comprehend.service import Comprehend

    check_name(endpoint, ENDPOINT_NAME_LENGTH, "the endpoint")
    schedules = Schedules(region)
    if remove:
        removed = schedules.remove(endpoint)
        typer.echo("Schedule removed." if removed else f"'{endpoint}' had no schedule.")
        return
    if not role_arn:
        raise UserError(
            "Give --role-arn: the role by which EventBridge Scheduler creates and deletes the "
            "endpoint. docs/components/comprehend.md says what it must be allowed."
        )
    hours = OfficeHours(start, stop, days, timezone)
    chosen = _servable(Comprehend(region), classifier or endpoint, version)
    if chosen.run:
        if version or units or data_role_arn:
            raise UserError(
                "The pipeline says each morning which version is live, and with how many units: "
                "leave --version, --units and --data-access-role-arn out. `bot pipeline rollback` "
                "changes the one, Terraform's inference_units the other."
            )
        targets = pipeline_targets(chosen.run.settings["state_machine_arn"])
        what = "the version that is live then"
    else:
        targets = endpoint_targets(endpoint, chosen.version.arn, units or 1, data_role_arn)
        what = f"the version '{chosen.version.name}'"
    schedules.set(endpoint, hours, role_arn, targets)
    typer.echo(
        f"The endpoint '{endpoint}' is created with {what} at {start} and deleted at {stop}, "
        f"{days}, {timezone}."
    )


@dataclasses.dataclass(frozen=True)
class _Servable:
    """A version that may answer users.

    Attributes:
        version: The version.
        run: Its run, where a pipeline trained it.
    """

    version: Version
    run: Run | None = None

    @property
    def units(self) -> int:
        return int(self.run.settings.get("inference_units", 1)) if self.run else 1

    @property
    def data_role_arn(self) -> str | None:
        settings = self.run.settings if self.run else {}
        return settings["role_arn"] if settings.get("kms_key_arn") else None


def _servable(service: Comprehend, classifier: str, name: str | None) -> _Servable:
    """Return the version of this name, or the one to serve; of a pipeline's only one that was live.

    A pipeline is known by where its versions wrote their results, hence nobody goes round its gate
    by not naming its bucket.
    """
    from bot.retraining.registry import RUN_FOLDER, Registry
    from common.aws import split_s3_uri
    from common.errors import UserError
    from components.comprehend.service import READY

    versions = service.versions(classifier)
    ready = [one for one in versions if one.state == READY]
    places = (split_s3_uri(one.output_uri) for one in ready if one.output_uri)
    bucket = next((bucket for bucket, key in places if RUN_FOLDER.match(key)), None)
    registry = Registry(bucket) if bucket else None
    live = registry.pointer().live if registry else ""
    runs = {run.training.get("arn"): run for run in registry.runs()} if registry else {}
    for one in ready:
        run = runs.get(one.arn)
        if name is None and registry and (run is None or run.run_id != live):
            continue
        if name not in (None, one.name):
            continue
        if registry and run and not run.was_live:
            raise UserError(
                f"The version '{one.name}' is not to be served: its run is {run.status.value}"
                f"{f' ({run.reason})' if run.reason else ''}. To serve it all the same: bot "
                f"pipeline rollback --bucket {registry.bucket} --to {run.run_id}."
            )
        return _Servable(one, run)
    if registry and name is None:
        raise UserError(
            f"The pipeline of the bucket '{registry.bucket}' has no live model: nothing has passed "
            "its gate yet, or the live one was deleted. `bot pipeline history` tells."
        )
    listed = ", ".join(f"{one.name} ({one.status})" for one in versions) or "none"
    raise UserError(
        f"The classifier '{classifier}' has no trained version{f' {name!r}' if name else ''} in "
        f"{service.region}. Versions: {listed}. Train one with `bot comprehend train` or the "
        "pipeline, or choose another one: --classifier, --version, --region."
    )


def _show(endpoint: Endpoint, console: Console) -> None:
    from common import prices

    price = prices.read().find("comprehend-endpoint")
    rate = endpoint.units * price.price
    message = f" ({endpoint.message})" if endpoint.message else ""
    console.print(f"Endpoint  {endpoint.arn}")
    console.print(f"State     {endpoint.status}{message}", markup=False)
    console.print(f"Model     {endpoint.model_arn}")
    if endpoint.desired_model_arn != endpoint.model_arn:
        console.print(f"          changing to {endpoint.desired_model_arn}")
    console.print(f"Units     {endpoint.units}")
    console.print(f"Since     {endpoint.created.astimezone(datetime.timezone.utc):%F %H:%M} UTC")
    console.print(
        f"Cost      about {_so_far(endpoint)} so far, ${rate * 3600:.2f} an hour "
        f"(${price.price} a unit and second; {price.source}, {price.date})"
    )


def _so_far(endpoint: Endpoint) -> str:
    """Return what the endpoint has cost, as if its units had never changed."""
    from common import prices

    age = datetime.datetime.now(datetime.timezone.utc) - endpoint.created
    price = prices.read().find("comprehend-endpoint").price
    return f"${endpoint.units * age.total_seconds() * price:.2f}"
