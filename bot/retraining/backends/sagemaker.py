"""Amazon SageMaker: a training job, a model and an endpoint configuration a run, one endpoint.

Plain boto3: SageMaker's own SDK is too heavy for a Lambda. The contract of the images (channels,
results, JSON) is that of ``infra/sagemaker``.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bot.retraining import metrics
from bot.retraining.backends.base import Progress, State, patiently
from bot.retraining.dataset_check import Source
from bot.retraining.registry import DATASET_FILE, HELDOUT_FILE, Registry, Run
from bot.retraining.settings import Settings
from common.aws import AwsError, aws_errors, client
from common.confusion_matrix import ConfusionMatrix
from common.errors import UserError
from components.comprehend.service import read_confusion_matrix

_BATCH = 32
_WATCHED_SECONDS = 300
_VARIANT = "AllTraffic"
_ECR_IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.[^/]+/([^:@]+):([^:@]+)")
_TRAINING_STATES = {
    "InProgress": State.IN_PROGRESS,
    "Stopping": State.IN_PROGRESS,
    "Completed": State.READY,
}
_ENDPOINT_STATES = {
    "Creating": State.IN_PROGRESS,
    "Updating": State.IN_PROGRESS,
    "SystemUpdating": State.IN_PROGRESS,
    "RollingBack": State.IN_PROGRESS,
    "InService": State.READY,
}


class SageMakerBackend:
    """See :class:`~bot.retraining.backends.base.Backend`.

    Args:
        settings: Names, role, images, machines.
        registry: Where the files of the runs are.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._client = client("sagemaker")
        self._ecr = client("ecr")
        self._quotas = client("service-quotas")
        self._runtime = client("sagemaker-runtime", read_timeout=60)

    def files(self, dataset: Source, heldout: Source) -> Mapping[str, bytes]:
        """Return nothing: the container reads datasets as they are."""
        return {}

    def start(self, run: Run) -> str:
        """Create the training job, or find it.

        Raises:
            UserError: SageMaker would not take an image.
        """
        for image in (self._settings.training_image, self._settings.inference_image):
            self._check_image(image)
        settings, name = self._settings, self._name(run)
        kms = settings.kms_key_arn
        request = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": settings.training_image,
                "TrainingInputMode": "File",
                "MetricDefinitions": metrics.definitions(),
            },
            "RoleArn": settings.role_arn,
            "HyperParameters": {
                key: value if isinstance(value, str) else json.dumps(value)
                for key, value in json.loads(settings.hyperparameters).items()
            },
            "InputDataConfig": [
                self._channel(run, "train", DATASET_FILE),
                self._channel(run, "test", HELDOUT_FILE),
            ],
            "OutputDataConfig": {
                "S3OutputPath": self._registry.uri(run.run_id, "output"),
                **({"KmsKeyId": kms} if kms else {}),
            },
            "ResourceConfig": {
                "InstanceType": settings.training_instance_type,
                "InstanceCount": 1,
                "VolumeSizeInGB": settings.training_volume_gb,
                **({"VolumeKmsKeyId": kms} if kms else {}),
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": settings.training_max_seconds},
            "EnableNetworkIsolation": True,  # the image has all that it needs
            "Tags": self._tags(run.run_id),
        }
        try:
            with aws_errors(f"create the training job '{name}'"):
                arn: str = self._client.create_training_job(**request)["TrainingJobArn"]
        except AwsError as error:
            job = self._job(run) if _exists(error) else None
            if job is None:
                raise
            return str(job["TrainingJobArn"])
        return arn

    def training_status(self, run: Run) -> Progress:
        """Read the job's status."""
        job = self._job(run)
        if job is None:
            return Progress(State.FAILED, "Deleted", "The training job does not exist.")
        status = job["TrainingJobStatus"]
        state = _TRAINING_STATES.get(status, State.FAILED)
        return Progress(state, status, job.get("FailureReason", ""))

    def metrics(self, run: Run) -> ConfusionMatrix:
        """Read the job's ``output.tar.gz``."""
        file = f"output/{self._name(run)}/output/output.tar.gz"
        content = self._registry.get(run.run_id, file)
        return read_confusion_matrix(content, self._registry.uri(run.run_id, file))

    def deploy(self, run: Run) -> str | None:
        """Create or update the endpoint; one that failed is deleted first."""
        self._create_model(run)
        self._create_endpoint_config(run)
        name, config = self._settings.name, self._name(run)
        found = self._endpoint()
        if found is None:
            with aws_errors(f"create the endpoint '{name}'"):
                answer = self._client.create_endpoint(
                    EndpointName=name, EndpointConfigName=config, Tags=self._tags()
                )
            return str(answer["EndpointArn"])
        state = _ENDPOINT_STATES.get(found["EndpointStatus"], State.FAILED)
        if state is not State.FAILED and _desired(found) == config:
            return str(found["EndpointArn"])
        if state is State.READY:
            self._check_room_for_update(found["EndpointConfigName"])
            with aws_errors(f"update the endpoint '{name}'"):
                self._client.update_endpoint(
                    EndpointName=name, EndpointConfigName=config, **self._guarded()
                )
            return str(found["EndpointArn"])
        if state is State.FAILED and found["EndpointStatus"] != "Deleting":
            # SageMaker allows nothing else with an endpoint that failed.
            with aws_errors(f"delete the endpoint '{name}'"):
                self._client.delete_endpoint(EndpointName=name)
        return None

    def endpoint_status(self, run: Run) -> Progress:
        """Read the endpoint's status, and whose model it serves."""
        found = self._endpoint()
        if found is None:
            return Progress(State.FAILED, "Deleted", "The endpoint was deleted.")
        status, reason = found["EndpointStatus"], found.get("FailureReason", "")
        state = _ENDPOINT_STATES.get(status, State.FAILED)
        if state is State.READY and found["EndpointConfigName"] != self._name(run):
            # After a failed update SageMaker goes back to what it served before.
            reason = reason or f"The endpoint serves {found['EndpointConfigName']}."
            return Progress(State.FAILED, status, reason)
        return Progress(state, status, reason)

    def classify(self, texts: Sequence[str]) -> list[str | None]:
        """Ask the endpoint in batches."""
        if self._endpoint() is None:
            name = self._settings.name
            raise AwsError(f"There is no endpoint '{name}'.", "ResourceNotFoundException")
        answers: list[str | None] = []
        for begin in range(0, len(texts), _BATCH):
            answers += patiently(self._classify, list(texts[begin : begin + _BATCH]))
        return answers

    def remove_endpoint(self) -> bool:
        """Delete the endpoint, once it is not being changed any more."""
        found, name = self._endpoint(), self._settings.name
        settled = (State.READY, State.FAILED)
        if (
            found
            and found["EndpointStatus"] != "Deleting"
            and _ENDPOINT_STATES.get(found["EndpointStatus"], State.FAILED) in settled
        ):
            with aws_errors(f"delete the endpoint '{name}'"):
                self._client.delete_endpoint(EndpointName=name)
        return found is None

    def prune(self, run: Run) -> bool:
        """Delete the endpoint configuration, the model and its file; the job itself stays."""
        name = self._name(run)
        endpoint = self._endpoint()
        # SageMaker itself would delete a model that an endpoint needs for its next instance.
        if endpoint and name in (endpoint["EndpointConfigName"], _desired(endpoint)):
            return False
        for what, delete, key in (
            ("endpoint configuration", self._client.delete_endpoint_config, "EndpointConfigName"),
            ("model", self._client.delete_model, "ModelName"),
        ):
            try:
                with aws_errors(f"delete the {what} '{name}'"):
                    delete(**{key: name})
            except AwsError as error:
                if not _missing(error):
                    raise
        self._registry.delete(run.run_id, self._model_file(run))
        return True

    def _check_image(self, image: str) -> None:
        """Refuse an image in OCI's format now, and not after a training that is paid."""
        if not (match := _ECR_IMAGE.fullmatch(image)):
            return
        account, repository, tag = match.groups()
        try:
            with aws_errors(f"look at the image '{image}'"):
                (found,) = self._ecr.describe_images(
                    registryId=account, repositoryName=repository, imageIds=[{"imageTag": tag}]
                )["imageDetails"]
        except AwsError as error:
            if error.bad_credentials or "NotFound" in error.code:
                return  # somebody else's repository, or SageMaker says what is missing
            raise
        kind = found.get("imageManifestMediaType", "")
        if kind.startswith("application/vnd.oci."):
            raise UserError(
                f"SageMaker does not take the image '{image}': its manifest is of the type {kind}. "
                "Build and push it with infra/sagemaker/push.sh under a new tag (image_tag)."
            )

    def _check_room_for_update(self, old_config: str) -> None:
        """Refuse an update whose new instances have no room beside the old ones.

        Who may not look at the quotas, or is limited in the rate, learns of it from SageMaker.

        Raises:
            AwsError: ``ResourceLimitExceeded``, as SageMaker would say in the middle of it.
        """
        settings, quota = self._settings, None
        if settings.serverless_memory_mb:
            return
        name = f"{settings.endpoint_instance_type} for endpoint usage"
        with contextlib.suppress(AwsError), aws_errors("look at the quotas"):
            (old,) = self._client.describe_endpoint_config(EndpointConfigName=old_config)[
                "ProductionVariants"
            ]
            needed = settings.endpoint_instance_count
            if old.get("InstanceType") == settings.endpoint_instance_type:
                needed += old["InitialInstanceCount"]
            pages = self._quotas.get_paginator("list_service_quotas").paginate(
                ServiceCode="sagemaker"
            )
            all_quotas = (one for page in pages for one in page["Quotas"])
            quota = next((one for one in all_quotas if one["QuotaName"] == name), None)
        if quota and quota["Value"] < needed:
            raise AwsError(
                f"The quota '{name}' ({quota['QuotaCode']}) is {quota['Value']:.0f}, and this "
                f"update needs {needed}: the new instances start beside the old ones.",
                "ResourceLimitExceeded",
            )

    def _guarded(self) -> dict[str, Any]:
        """Return how an update is watched.

        The old instances stay for some minutes, and answer again where an alarm goes off.
        """
        alarms = [name for name in self._settings.rollback_alarms.split(",") if name]
        if not alarms or self._settings.serverless_memory_mb:
            return {}
        routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": _WATCHED_SECONDS}
        return {
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": one} for one in alarms]},
            }
        }

    def _classify(self, texts: list[str]) -> list[str | None]:
        with aws_errors("classify texts"):
            answer = self._runtime.invoke_endpoint(
                EndpointName=self._settings.name,
                ContentType="application/json",
                Body=json.dumps({"inputs": texts, "parameters": {"top_k": 1}}).encode(),
            )
            predictions = json.loads(answer["Body"].read())["predictions"]
        return [prediction["intent"]["name"] or None for prediction in predictions]

    def _create_model(self, run: Run) -> None:
        name = self._name(run)
        with _or_existing(f"create the model '{name}'"):
            self._client.create_model(
                ModelName=name,
                ExecutionRoleArn=self._settings.role_arn,
                PrimaryContainer={
                    "Image": self._settings.inference_image,
                    "ModelDataUrl": self._registry.uri(run.run_id, self._model_file(run)),
                },
                # Serverless endpoints do not know it.
                EnableNetworkIsolation=not self._settings.serverless_memory_mb,
                Tags=self._tags(run.run_id),
            )

    def _create_endpoint_config(self, run: Run) -> None:
        settings, name = self._settings, self._name(run)
        variant: dict[str, Any] = {"VariantName": _VARIANT, "ModelName": name}
        volume_key: dict[str, str] = {}
        if settings.serverless_memory_mb:
            variant["ServerlessConfig"] = {
                "MemorySizeInMB": settings.serverless_memory_mb,
                "MaxConcurrency": settings.serverless_concurrency,
            }
        else:
            variant["InstanceType"] = settings.endpoint_instance_type
            variant["InitialInstanceCount"] = settings.endpoint_instance_count
            if settings.kms_key_arn:
                volume_key["KmsKeyId"] = settings.kms_key_arn
        with _or_existing(f"create the endpoint configuration '{name}'"):
            self._client.create_endpoint_config(
                EndpointConfigName=name,
                ProductionVariants=[variant],
                Tags=self._tags(run.run_id),
                **volume_key,
            )

    def _job(self, run: Run) -> dict[str, Any] | None:
        name = self._name(run)
        return _unless_missing(
            f"read the training job '{name}'",
            lambda: self._client.describe_training_job(TrainingJobName=name),
        )

    def _endpoint(self) -> dict[str, Any] | None:
        name = self._settings.name
        return _unless_missing(
            f"read the endpoint '{name}'",
            lambda: self._client.describe_endpoint(EndpointName=name),
        )

    def _channel(self, run: Run, name: str, file: str) -> dict[str, Any]:
        return {
            "ChannelName": name,
            "ContentType": "application/json",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": self._registry.uri(run.run_id, file),
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }

    def _name(self, run: Run) -> str:
        return f"{self._settings.name}-{run.name}"

    def _model_file(self, run: Run) -> str:
        return f"output/{self._name(run)}/output/model.tar.gz"

    def _tags(self, run_id: str = "") -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self._settings.tags(run_id).items()]


def _desired(endpoint: Mapping[str, Any]) -> str:
    pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
    return str(pending or endpoint["EndpointConfigName"])


@contextlib.contextmanager
def _or_existing(doing: str) -> Iterator[None]:
    """Let a thing be there already: its name is that of the run, hence it is the same thing."""
    try:
        with aws_errors(doing):
            yield
    except AwsError as error:
        if not _exists(error):
            raise


def _unless_missing(doing: str, read: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    try:
        with aws_errors(doing):
            return read()
    except AwsError as error:
        if _missing(error):
            return None
        raise


# SageMaker says most of it by the text of a ValidationException.


def _exists(error: AwsError) -> bool:
    return error.exists or "already exist" in str(error)


def _missing(error: AwsError) -> bool:
    text = str(error).lower()
    return error.code in ("ResourceNotFound", "ValidationException") and (
        "could not find" in text or "not found" in text
    )
