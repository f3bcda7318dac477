"""A served model behind an Amazon SageMaker endpoint, in the JSON of our container.

A request is ``{"inputs": [text, …], "parameters": {"top_k": 0}}``, an answer ``{"predictions":
[{"intent_ranking": [{"name": …, "confidence": …}, …], …}, …]}``, one prediction an input; see
``infra/sagemaker`` for the other side. Free of Rasa.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from common.aws import AwsError, aws_errors, client
from common.errors import UserError
from components.remote import Fault, Ranking, RemoteClassifier, RemoteError, label_difference
from components.remote_aws import RenewedClient, client_options, connect

# Texts in one request; the container takes more, but an answer shall come within the deadline.
BATCH = 64
# What no tokeniser of ours looks beyond; it bounds a request.
_MAXIMUM_CHARACTERS = 10_000
_GONE = "Look at it with `aws sagemaker describe-endpoint`; the pipeline or Terraform makes it."


@dataclasses.dataclass(frozen=True)
class Served:
    """An endpoint that was in service at the time of training: ``sagemaker.json``.

    Attributes:
        endpoint: Its name.
        region: Its region.
        configuration: Name of its endpoint configuration, which says which model answered.
        labels: Its intents, sorted.
    """

    endpoint: str
    region: str
    configuration: str
    labels: list[str]


def find(endpoint: str, region: str | None) -> tuple[str, str]:
    """Return the region and the endpoint configuration of an endpoint in service.

    Args:
        endpoint: Name of the endpoint.
        region: Region; None takes that of AWS's chain.

    Raises:
        UserError: There is none, or it is not in service.
        AwsError: AWS refuses or cannot be reached.
    """
    sagemaker = client("sagemaker", region)
    region = sagemaker.meta.region_name
    try:
        with aws_errors(f"read the SageMaker endpoint '{endpoint}'"):
            found = sagemaker.describe_endpoint(EndpointName=endpoint)
    except AwsError as error:
        if error.code != "ValidationException":  # SageMaker's way to say that there is none
            raise
        raise UserError(
            f"There is no SageMaker endpoint '{endpoint}' in {region}. The pipeline makes it: see "
            "docs/components/sagemaker.md."
        ) from error
    if found["EndpointStatus"] != "InService":
        reason = f" ({found['FailureReason']})" if found.get("FailureReason") else ""
        raise UserError(
            f"The SageMaker endpoint '{endpoint}' is not in service: its status is "
            f"{found['EndpointStatus']}{reason}. Wait for it, or mend it."
        )
    return region, found["EndpointConfigName"]


def use_endpoint(endpoint: str, region: str | None, examples: Sequence[tuple[str, str]]) -> Served:
    """Check that an endpoint is in service and tells exactly the intents of the examples apart.

    Args:
        endpoint: Name of the endpoint.
        region: Region; None takes that of AWS's chain.
        examples: Pairs of intent and text, at least one; the first text is asked.

    Raises:
        UserError: It is not so; the message names the difference.
    """
    region, configuration = find(endpoint, region)
    # Long timeouts: a serverless endpoint may have to start first.
    runtime = client("sagemaker-runtime", region, read_timeout=70)
    try:
        (ranking,) = invoke(runtime, endpoint, [examples[0][1]])
    except RemoteError as error:
        raise UserError(f"The SageMaker endpoint '{endpoint}' does not answer: {error}") from error
    labels = sorted(name for name, _ in ranking)
    difference = label_difference({intent for intent, _ in examples}, labels)
    if difference:
        raise UserError(
            f"The SageMaker endpoint '{endpoint}' tells other intents apart than the training "
            f"data: {difference} Train its model on these data."
        )
    return Served(endpoint, region, configuration, labels)


def connect_to(served: Served, config: Mapping[str, Any]) -> RemoteClassifier:
    """Return the way to an endpoint; it is not asked for anything yet.

    Args:
        served: The endpoint.
        config: The component's configuration, see :data:`components.remote_aws.DEFAULTS`.
    """
    runtime: RenewedClient[Any] = RenewedClient(
        lambda: client("sagemaker-runtime", served.region, **client_options(config))
    )

    def ask(texts: Sequence[str]) -> list[Ranking]:
        with runtime.asking(gone=_GONE) as lent:
            return invoke(lent, served.endpoint, texts)

    name = f"The SageMaker endpoint '{served.endpoint}' in {served.region}"
    return connect(name, runtime, ask, served.labels, config, batch=BATCH)


def invoke(runtime: Any, endpoint: str, texts: Sequence[str]) -> list[Ranking]:
    """Ask ``endpoint`` with the boto3 client ``runtime``; return all intents of each text.

    Raises:
        AwsError: SageMaker refuses or does not answer.
        RemoteError: The container refuses the texts, or is not ours.
    """
    inputs = [text[:_MAXIMUM_CHARACTERS] for text in texts]
    with aws_errors(f"ask the SageMaker endpoint '{endpoint}'"):
        try:
            answer = runtime.invoke_endpoint(
                EndpointName=endpoint,
                ContentType="application/json",
                Accept="application/json",
                Body=json.dumps({"inputs": inputs, "parameters": {"top_k": 0}}),
            )["Body"].read()
        except runtime.exceptions.ModelError as error:
            status = error.response.get("OriginalStatusCode", 500)
            if status == 429 or not 400 <= status < 500:
                raise
            reason = f"The container refuses the request (status {status})."
            raise RemoteError(reason, Fault.INPUT, f"ModelError{status}") from error
    try:
        return [
            [(entry["name"], float(entry["confidence"])) for entry in prediction["intent_ranking"]]
            for prediction in json.loads(answer)["predictions"]
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise RemoteError(
            "The answer is none of our container's: another one is behind the endpoint.",
            Fault.PERMANENT,
            "WrongAnswer",
        ) from error
