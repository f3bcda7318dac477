"""``make aws-smoke``: Comprehend on the AWS that your credentials open, from examples to an answer.

What the local AWS cannot show: that Amazon takes our files, names and permissions, how long that
lasts, and how well and how fast its model answers. Skipped without credentials; asks before it
spends money; removes what it made, whatever happens.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm

from bot import dataset as datasets
from bot.processes import stopping_on_signals
from common import prices
from common.aws import AwsError, aws_errors, client
from common.errors import UserError
from common.prices import Prices
from components.comprehend.config import TRAIN_DEFAULTS
from components.comprehend.endpoint import train, wait
from components.comprehend.resources import ensure_bucket, ensure_role
from components.comprehend.service import IN_PROGRESS, Comprehend, Endpoint, Version
from infra.demo import ROOT, heldout, sample

# What the run takes at most; Comprehend needed 35 minutes in all in the original experiment.
TRAINING_HOURS = 1.0
ENDPOINT_HOURS = 1.0
# The protocol of the original experiment: series of questions, so many seconds apart.
SERIES, QUESTIONS = 4, 10


def estimate(price_list: Prices) -> float:
    """Return what a run costs at most, in dollars."""
    training = TRAINING_HOURS * price_list.dollars("comprehend-training")
    endpoint = ENDPOINT_HOURS * 3600 * price_list.dollars("comprehend-endpoint")
    return training + endpoint + price_list.dollars("comprehend-model")


@contextlib.contextmanager
def _bucket(name: str) -> Iterator[str]:
    """A private bucket that is emptied and deleted at the end."""
    ensure_bucket(name)
    s3 = client("s3")
    try:
        yield name
    finally:
        with aws_errors(f"delete the bucket '{name}'; do so by hand"):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
                for item in page.get("Contents", []):
                    s3.delete_object(Bucket=name, Key=item["Key"])
            s3.delete_bucket(Bucket=name)


@contextlib.contextmanager
def _role(name: str, bucket: str, delay: float) -> Iterator[str]:
    """The ARN of a role by which Comprehend reads and writes ``bucket``; deleted at the end."""
    iam = client("iam")
    try:
        yield ensure_role(name, bucket, delay)
    finally:
        with aws_errors(f"delete the role '{name}'; do so by hand"):
            with contextlib.suppress(iam.exceptions.NoSuchEntityException):
                iam.delete_role_policy(RoleName=name, PolicyName="data")
            with contextlib.suppress(iam.exceptions.NoSuchEntityException):
                iam.delete_role(RoleName=name)


@contextlib.contextmanager
def _removed(
    service: Comprehend, name: str, poll_seconds: float, console: Console
) -> Iterator[None]:
    """Delete endpoint and versions of the name at the end; none of them is no error."""
    try:
        yield
    finally:
        console.print(
            f"Removing what was made. The endpoint is billed until it is gone; by hand: "
            f"bot comprehend endpoint stop --yes --endpoint {name} --region {service.region}"
        )

        def gone() -> bool | None:
            endpoint = service.endpoint(name)
            # One that is being made cannot be deleted before it is there.
            if endpoint and endpoint.state != IN_PROGRESS and endpoint.status != "DELETING":
                service.delete_endpoint(endpoint.arn)
            versions = service.versions(name)
            for version in versions:
                if version.state == IN_PROGRESS:
                    service.stop_training(version.arn)
                elif endpoint is None:
                    service.delete_version(version.arn)
            return None if endpoint or versions else True

        try:
            wait(gone, lambda text: None, poll_seconds, 2 * 3600, "removal")
        except KeyboardInterrupt:
            endpoint = service.endpoint(name)
            left: list[Endpoint | Version] = [*([endpoint] if endpoint else [])]
            for one in [*left, *service.versions(name)]:
                console.print(f"[bold red]Left, and billed:[/] {one.arn} ({one.status})")
            raise


def replay(
    service: Comprehend, endpoint_arn: str, questions: Sequence[str], pause: float
) -> dict[str, list[float]]:
    """Ask as the original experiment did; return milliseconds for each answer.

    Args:
        service: Comprehend in the endpoint's region.
        endpoint_arn: The endpoint.
        questions: At least ``QUESTIONS`` texts.
        pause: Seconds between two questions of a series.
    """

    def ask(text: str) -> float:
        begin = time.perf_counter()
        service.classify(endpoint_arn, text)
        return 1000 * (time.perf_counter() - begin)

    spaced = []
    for _ in range(SERIES):
        for question in questions[:QUESTIONS]:
            spaced.append(ask(question))
            time.sleep(pause)
    return {"one second apart": spaced, "back to back": [ask(one) for one in questions[:QUESTIONS]]}


def smoke(console: Console, poll_seconds: float, pause: float, delay: float) -> None:
    """Train, ask and remove.

    Args:
        console: Where progress is shown.
        poll_seconds: Between two looks at Comprehend.
        pause: Between two questions, in seconds.
        delay: Until a new role is used, in seconds.

    Raises:
        UserError: AWS refuses; what was made is removed all the same.
    """
    name = f"skills-bot-smoke-{uuid.uuid4().hex[:8]}"
    console.print(f"Everything is called {name}.")
    examples = sample(datasets.read(ROOT / "data" / "dataset.json")).examples
    test = heldout(datasets.read(ROOT / "tests" / "data" / "heldout.yml")).examples
    service = Comprehend(attempts=8)
    begin = time.monotonic()
    with (
        _bucket(name) as bucket,
        _role(name, bucket, delay) as role_arn,
        _removed(service, name, poll_seconds, console),
    ):
        settings = {
            **TRAIN_DEFAULTS,
            "s3_uri": f"s3://{bucket}/smoke",
            "role_arn": role_arn,
            "classifier": name,
            "poll_seconds": poll_seconds,
        }
        pairs = [(example.intent, example.text) for example in examples]
        said: list[str] = []

        def show(text: str) -> None:
            if said[-1:] != [text]:
                said.append(text)
                console.print(f"  {text} [dim]{time.monotonic() - begin:.0f} s[/]")

        trained = train(service, name, pairs, settings, show)
        console.print(
            f"Live after {time.monotonic() - begin:.0f} s; accuracy "
            f"{trained.metrics['accuracy']:.3f} on the {trained.metrics['test_examples']} examples "
            "that Comprehend held out."
        )
        times = replay(service, trained.endpoint_arn, [one.text for one in test], pause)
        for title, milliseconds in times.items():
            console.print(
                f"{len(milliseconds)} questions {title}: "
                f"{statistics.mean(milliseconds):.0f} ± {statistics.stdev(milliseconds):.0f} ms"
            )
    console.print("Removed: endpoint, versions, role, bucket.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the smoke test that the command line asks for; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="spend the money without asking")
    parser.add_argument("--poll-seconds", type=float, default=30, help="between two looks")
    parser.add_argument("--pause", type=float, default=1, help="seconds between two questions")
    parser.add_argument(
        "--role-delay", type=float, default=15, help="seconds until a new role is known everywhere"
    )
    given = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        with aws_errors("find out who you are"):
            identity = client("sts").get_caller_identity()
    except AwsError as error:
        console.print(f"Skipped: {escape(str(error))}")
        return 0
    try:
        price_list = prices.read()
        region = client("comprehend").meta.region_name
        console.print(
            f"Account {identity['Account']}, {region}. This costs at most "
            f"${estimate(price_list):.2f} (list prices of {prices.DEFAULT.name}; check them) and "
            "takes about 40 minutes on the real AWS."
        )
        if not given.yes and not Confirm.ask("Go on?", console=console, default=False):
            return 0
        with stopping_on_signals():
            smoke(console, given.poll_seconds, given.pause, given.role_delay)
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130
    except UserError as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
