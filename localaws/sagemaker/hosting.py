"""SageMaker's models and endpoints: ``serve`` of a container as a child process.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import logging
import time
from http.client import HTTPMessage
from typing import Any

from werkzeug.wrappers import Response

from localaws import cloudwatch_logs, storage
from localaws.faults import Fault
from localaws.protocol import ACCOUNT, AwsError, Call, operation, present
from localaws.sagemaker.containers import ContainerError, Serving
from localaws.sagemaker.resources import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    MODEL,
    Resource,
    Resources,
    invalid,
)
from localaws.sagemaker.service import ContainerService

log = logging.getLogger(__name__)

_INVOCATION_SECONDS = 60
_CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@dataclasses.dataclass(eq=False)
class Endpoint(Resource):
    """An endpoint; ``container`` answers, whatever is being changed."""

    status: str = "Creating"
    config: Resource | None = None
    variant: dict[str, Any] = dataclasses.field(default_factory=dict)
    pending: Resource | None = None
    failure: str = ""
    modified: float = dataclasses.field(default_factory=time.time)
    container: Serving | None = None


class Hosting(ContainerService):
    """Models, endpoint configurations and endpoints."""

    # --- models and endpoint configurations ---

    @operation
    def create_model(self, call: Call) -> dict[str, Any]:
        call.validate()
        params = call.params
        containers = _containers(params)
        for container in containers:
            uri = container.get("ModelDataUrl")
            if uri and not _exists(uri):
                raise invalid(f"Could not find model data at {uri}.")
            _check_manifest(call.region, container.get("Image", ""))
            container.setdefault("Mode", "SingleModel")
        params.setdefault("EnableNetworkIsolation", False)
        return {"ModelArn": self._resources.add(call, MODEL, params["ModelName"], Resource).arn}

    @operation
    def describe_model(self, call: Call) -> dict[str, Any]:
        model = self._model(call, call.params["ModelName"])
        return {**model.given, "ModelArn": model.arn, "CreationTime": model.created}

    @operation
    def list_models(self, call: Call) -> dict[str, Any]:
        return self._resources.listed(
            call,
            MODEL,
            "Models",
            lambda item: {"ModelName": item.name, "ModelArn": item.arn},
        )

    @operation
    def delete_model(self, call: Call) -> None:
        self._resources.remove(self._model(call, call.params["ModelName"]))

    @operation
    def create_endpoint_config(self, call: Call) -> dict[str, Any]:
        call.validate()
        for variant in call.params["ProductionVariants"]:
            self._model(call, variant["ModelName"])
            if ("InstanceType" in variant) == ("ServerlessConfig" in variant):
                raise invalid(
                    "A production variant has either an InstanceType or a ServerlessConfig."
                )
            variant.setdefault("InitialVariantWeight", 1.0)
        name = call.params["EndpointConfigName"]
        return {"EndpointConfigArn": self._resources.add(call, ENDPOINT_CONFIG, name, Resource).arn}

    @operation
    def describe_endpoint_config(self, call: Call) -> dict[str, Any]:
        config = self._config(call)
        return {**config.given, "EndpointConfigArn": config.arn, "CreationTime": config.created}

    @operation
    def list_endpoint_configs(self, call: Call) -> dict[str, Any]:
        return self._resources.listed(
            call,
            ENDPOINT_CONFIG,
            "EndpointConfigs",
            lambda item: {"EndpointConfigName": item.name, "EndpointConfigArn": item.arn},
        )

    @operation
    def delete_endpoint_config(self, call: Call) -> None:
        self._resources.remove(self._config(call))

    # --- endpoints ---

    @operation
    def create_endpoint(self, call: Call) -> dict[str, Any]:
        call.validate()
        params = call.params
        config = self._config(call)
        with self._resources.lock:
            self._check_quota(call, config)
            endpoint = self._resources.add(call, ENDPOINT, params["EndpointName"], Endpoint)
            endpoint.config, endpoint.variant = config, config.request["ProductionVariants"][0]
            self._deploy(endpoint, config, "CreateEndpoint")
        return {"EndpointArn": endpoint.arn}

    @operation
    def update_endpoint(self, call: Call) -> dict[str, Any]:
        call.validate()
        config = self._config(call)
        with self._resources.lock:
            endpoint = self._endpoint(call)
            _check_settled(endpoint)
            if endpoint.status == "Failed":
                raise invalid(f'The endpoint "{endpoint.arn}" is Failed; it can only be deleted.')
            self._check_quota(call, config)  # the old instances answer until the new ones do
            endpoint.status, endpoint.failure = "Updating", ""
            endpoint.pending, endpoint.modified = config, time.time()
            self._deploy(endpoint, config, "UpdateEndpoint")
        return {"EndpointArn": endpoint.arn}

    @operation
    def describe_endpoint(self, call: Call) -> dict[str, Any]:
        with self._resources.lock:
            endpoint = self._endpoint(call)
            assert endpoint.config is not None
            pending = None
            if endpoint.pending:
                pending = {
                    "EndpointConfigName": endpoint.pending.name,
                    "StartTime": endpoint.modified,
                }
            return present(
                EndpointName=endpoint.name,
                EndpointArn=endpoint.arn,
                EndpointConfigName=endpoint.config.name,
                ProductionVariants=[_variant_summary(endpoint.variant)],
                DataCaptureConfig=_data_capture(endpoint.config.request),
                EndpointStatus=endpoint.status,
                FailureReason=endpoint.failure or None,
                PendingDeploymentSummary=pending,
                CreationTime=endpoint.created,
                LastModifiedTime=endpoint.modified,
            )

    @operation
    def list_endpoints(self, call: Call) -> dict[str, Any]:
        return self._resources.listed(
            call,
            ENDPOINT,
            "Endpoints",
            lambda item: {
                "EndpointName": item.name,
                "EndpointArn": item.arn,
                "LastModifiedTime": item.modified,
                "EndpointStatus": item.status,
            },
        )

    @operation
    def delete_endpoint(self, call: Call) -> None:
        with self._resources.lock:
            endpoint = self._endpoint(call)
            _check_settled(endpoint)
            endpoint.status = "Deleting"
        if endpoint.container:
            endpoint.container.remove()
        self._background.after(
            self._settings.sagemaker_deletion_seconds, self._resources.remove, endpoint
        )

    def _check_quota(self, call: Call, config: Resource) -> None:
        """Refuse more instances than the account may have, the old ones of an update included."""

        def instances(variant: dict[str, Any]) -> int:
            return int(variant.get("InitialInstanceCount", 0))

        wanted = config.request["ProductionVariants"][0]
        endpoints = self._resources.all(call.region, ENDPOINT, Endpoint)
        self._settings.check_quota(
            "sagemaker_endpoint_instances",
            f"{wanted.get('InstanceType')} for endpoint usage",
            sum(instances(one.variant) for one in endpoints),
            instances(wanted),
        )

    # --- what takes time ---

    def _deploy(self, endpoint: Endpoint, config: Resource, operation_name: str) -> None:
        fault = self._faults.outcome("sagemaker", operation_name, endpoint.arn)
        self._background.after(
            self._settings.sagemaker_start_seconds,
            self._start,
            endpoint,
            config,
            fault,
            failed=lambda reason: self._settle(endpoint, config, None, reason),
        )

    def _start(self, endpoint: Endpoint, config: Resource, fault: Fault | None) -> None:
        """Start a new container."""
        container, failure = None, fault.message if fault else ""
        if fault is None:
            try:
                container = self._serve(endpoint, config.request["ProductionVariants"][0])
            except ContainerError as error:
                failure = str(error)
        self._settle(endpoint, config, container, failure)

    def _settle(
        self, endpoint: Endpoint, config: Resource, container: Serving | None, failure: str
    ) -> None:
        """End a change: a new container takes the place of the one that answers, or none does."""
        with self._resources.lock:
            before = None
            known = self._resources.find(endpoint.region, ENDPOINT, endpoint.name, Endpoint)
            if known is not endpoint:
                before, container = container, None  # the server was reset
            elif container:
                before, endpoint.container = endpoint.container, container
                endpoint.config = config
                endpoint.variant = config.request["ProductionVariants"][0]
            # A failed update leaves what there was.
            endpoint.status = "InService" if endpoint.container else "Failed"
            endpoint.failure, endpoint.pending = failure, None
            endpoint.modified = time.time()
        if before:
            before.retire(_INVOCATION_SECONDS)
        log.info("SageMaker: %s is %s %s", endpoint.arn, endpoint.status, failure)

    def _serve(self, endpoint: Endpoint, variant: dict[str, Any]) -> Serving:
        """Return a container that is healthy.

        Raises:
            ContainerError: There is none.
        """
        model = self._resources.find(endpoint.region, MODEL, variant["ModelName"], Resource)
        if model is None:
            raise ContainerError(f"The model {variant['ModelName']} does not exist.")
        spec = _containers(model.request)[0]
        sink = cloudwatch_logs.line_sink(
            endpoint.region,
            f"/aws/sagemaker/Endpoints/{endpoint.name}",
            f"{variant['VariantName']}/i-{time.time_ns():x}",
        )
        container = self._host.serving(spec.get("Image", ""), spec.get("Environment") or {}, sink)
        try:
            container.serve(spec.get("ModelDataUrl"))
            patience = variant.get(
                "ContainerStartupHealthCheckTimeoutInSeconds",
                self._settings.sagemaker_health_patience,
            )
            if not container.wait_until_healthy(patience):
                raise ContainerError(
                    f"The primary container for production variant {variant['VariantName']} did "
                    "not pass the ping health check. Please check CloudWatch logs for this "
                    "endpoint."
                )
        except BaseException:
            container.remove()
            raise
        return container

    def _model(self, call: Call, name: str) -> Resource:
        return self._resources.get(call, MODEL, name, Resource)

    def _config(self, call: Call) -> Resource:
        name = call.params["EndpointConfigName"]
        return self._resources.get(call, ENDPOINT_CONFIG, name, Resource)

    def _endpoint(self, call: Call) -> Endpoint:
        return self._resources.get(call, ENDPOINT, call.params["EndpointName"], Endpoint)


class Runtime:
    """The service that answers for endpoints.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @operation
    def invoke_endpoint(self, call: Call) -> Response:
        name = call.path["EndpointName"]
        with contextlib.ExitStack() as in_use:
            with self._resources.lock:
                endpoint = self._resources.find(call.region, ENDPOINT, name, Endpoint)
                if endpoint is None or endpoint.container is None:
                    raise AwsError(
                        "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found."
                    )
                container = in_use.enter_context(endpoint.container.in_use())
                variant = endpoint.variant["VariantName"]
            status, headers, body = _pass_on(call, container)
        if status >= 400:
            kind = "client" if status < 500 else "server"
            text = body.decode("utf-8", errors="replace")
            message = f'Received {kind} error ({status}) from primary with message "{text}"'
            raise _model_error(name, message, status, text)
        answer = Response(body, status, content_type=headers.get("Content-Type"))
        answer.headers["x-Amzn-Invoked-Production-Variant"] = variant
        if _CUSTOM_ATTRIBUTES in headers:
            answer.headers[_CUSTOM_ATTRIBUTES] = headers[_CUSTOM_ATTRIBUTES]
        return answer


def _pass_on(call: Call, container: Serving) -> tuple[int, HTTPMessage, bytes]:
    """Return a container's status, headers and body.

    Raises:
        AwsError: It does not answer.
    """
    given = call.request.headers
    passed_on = [name for name in ("Content-Type", "Accept", _CUSTOM_ATTRIBUTES) if name in given]
    try:
        return container.request(
            "POST",
            "/invocations",
            call.request.get_data(),
            {name: given[name] for name in passed_on},
            _INVOCATION_SECONDS,
        )
    except TimeoutError:
        message = "Your invocation timed out while waiting for a response from container primary"
    except (OSError, http.client.HTTPException) as error:
        message = f"The container primary does not answer ({error})"
    raise _model_error(call.path["EndpointName"], message)


def _check_settled(endpoint: Endpoint) -> None:
    if endpoint.status not in ("InService", "Failed"):
        raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _check_manifest(region: str, image: str) -> None:
    """Refuse an image whose manifest is OCI's, if it is in the registry at all."""
    from moto.ecr.models import ecr_backends

    name, _, tag = image.partition("/")[2].partition(":")
    repository = ecr_backends[ACCOUNT][region].repositories.get(name)
    for one in repository.images if repository else ():
        kind = one.image_manifest_media_type or ""
        if tag in one.image_tags and kind.startswith("application/vnd.oci."):
            raise invalid(f"Unsupported manifest media type {kind} for image {image}.")


def _containers(params: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of a model, the primary one first."""
    primary = params.get("PrimaryContainer")
    containers = [primary] if primary else list(params.get("Containers") or ())
    if not containers:
        raise invalid("A model needs a container.")
    return containers


def _variant_summary(variant: dict[str, Any]) -> dict[str, Any]:
    weight = variant["InitialVariantWeight"]
    serverless, count = variant.get("ServerlessConfig"), variant.get("InitialInstanceCount")
    return present(
        VariantName=variant["VariantName"],
        CurrentWeight=weight,
        DesiredWeight=weight,
        CurrentInstanceCount=count,
        DesiredInstanceCount=count,
        CurrentServerlessConfig=serverless,
        DesiredServerlessConfig=serverless,
    )


def _data_capture(config: dict[str, Any]) -> dict[str, Any] | None:
    given = config.get("DataCaptureConfig")
    if not given:
        return None
    enabled = given.get("EnableCapture", False)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": given["InitialSamplingPercentage"],
        "DestinationS3Uri": given["DestinationS3Uri"],
        "KmsKeyId": given.get("KmsKeyId", ""),
    }


def _exists(uri: str) -> bool:
    try:
        storage.read(uri)
    except storage.StorageError:
        return False
    return True


def _model_error(endpoint: str, message: str, status: int = 500, text: str = "") -> AwsError:
    return AwsError(
        "ModelError",
        f"{message}. See the log group /aws/sagemaker/Endpoints/{endpoint} for more information.",
        424,
        OriginalStatusCode=status,
        OriginalMessage=text,
    )
