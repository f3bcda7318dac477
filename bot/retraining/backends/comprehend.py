"""Amazon Comprehend: a version of one classifier a run, one endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.retraining.backends.base import Progress, State, patiently
from bot.retraining.dataset_check import Source
from bot.retraining.registry import Registry, Run
from bot.retraining.settings import Settings
from common.aws import AwsError
from common.confusion_matrix import ConfusionMatrix
from components.comprehend.documents import to_csv
from components.comprehend.service import Comprehend, Endpoint

_CHANGING = {"CREATING", "UPDATING", "DELETING"}
# What Comprehend answers while an earlier change of the endpoint is not through.
_BUSY = {"ResourceInUseException", "ResourceInUse", "ResourceUnavailableException"}


class ComprehendBackend:
    """See :class:`~bot.retraining.backends.base.Backend`.

    Args:
        settings: Names, role, inference units.
        registry: Where the files of the runs are.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._service = Comprehend()

    def files(self, dataset: Source, heldout: Source) -> Mapping[str, bytes]:
        """Return ``train.csv`` and ``test.csv``."""
        return {
            "train.csv": _csv(dataset, self._settings.minimum_examples),
            "test.csv": _csv(heldout, 1),
        }

    def start(self, run: Run) -> str:
        """Create the version, or find it."""
        version = self._service.start_training(
            self._settings.name,
            run.name,
            role_arn=self._settings.role_arn,
            train_uri=self._registry.uri(run.run_id, "train.csv"),
            test_uri=self._registry.uri(run.run_id, "test.csv"),
            output_uri=self._registry.uri(run.run_id, "output/"),
            language=run.dataset["language"],
            kms_key=self._settings.kms_key_arn or None,
            tags=self._settings.tags(run.run_id),
        )
        return version.arn

    def training_status(self, run: Run) -> Progress:
        """Read the version's status."""
        try:
            version = self._service.describe_version(run.training["arn"])
        except AwsError as error:
            if error.not_found:
                return Progress(State.FAILED, "DELETED", "The version was deleted.")
            raise
        return Progress(State(version.state), version.status, version.message)

    def metrics(self, run: Run) -> ConfusionMatrix:
        """Read the training's ``output.tar.gz``."""
        return self._service.confusion_matrix(self._service.describe_version(run.training["arn"]))

    def deploy(self, run: Run) -> str | None:
        """Create or update the endpoint; one that failed is deleted first."""
        arn = run.training["arn"]
        try:
            endpoint = self._service.endpoint(self._settings.name)
            if endpoint is None or endpoint.status not in _CHANGING:
                endpoint = self._service.deploy(
                    self._settings.name,
                    arn,
                    self._settings.inference_units,
                    role_arn=self._settings.role_arn if self._settings.kms_key_arn else None,
                    tags=self._settings.tags(),
                )
        except AwsError as error:
            if error.code in _BUSY:
                return None
            raise
        # One that is FAILED by now failed with this request: `endpoint_status` tells the reason.
        on_its_way = endpoint.status != "DELETING" and endpoint.desired_model_arn == arn
        return endpoint.arn if on_its_way else None

    def endpoint_status(self, run: Run) -> Progress:
        """Read the endpoint's status, and whose model it serves."""
        endpoint = self._service.endpoint(run.endpoint["arn"])
        if endpoint is None:
            return Progress(State.FAILED, "DELETED", "The endpoint was deleted.")
        state = State(endpoint.state)
        if state is State.READY and endpoint.model_arn != run.training["arn"]:
            if endpoint.desired_model_arn != run.training["arn"]:
                return Progress(State.FAILED, endpoint.status, _elsewhere(endpoint))
            state = State.IN_PROGRESS
        return Progress(state, endpoint.status, endpoint.message)

    def classify(self, texts: Sequence[str]) -> list[str | None]:
        """Ask the endpoint text by text, as Comprehend knows no batch for endpoints."""
        endpoint = self._service.endpoint(self._settings.name)
        if endpoint is None:
            name = self._settings.name
            raise AwsError(f"There is no endpoint '{name}'.", "ResourceNotFoundException")
        return [_best(patiently(self._service.classify, endpoint.arn, text)) for text in texts]

    def remove_endpoint(self) -> bool:
        """Delete the endpoint, once it is not being changed any more."""
        endpoint = self._service.endpoint(self._settings.name)
        if endpoint and endpoint.status not in _CHANGING:
            try:
                self._service.delete_endpoint(endpoint.arn)
            except AwsError as error:
                if error.code not in _BUSY:
                    raise
        return endpoint is None

    def prune(self, run: Run) -> bool:
        """Delete the version."""
        try:
            self._service.delete_version(run.training["arn"])
        except AwsError as error:
            if error.code in _BUSY:
                return False
            raise
        return True


def _csv(source: Source, minimum: int) -> bytes:
    examples = [(example.intent, example.text) for example in source.dataset.examples]
    return to_csv(examples, minimum=minimum).content


def _best(classes: list[tuple[str, float]]) -> str | None:
    return classes[0][0] if classes else None


def _elsewhere(endpoint: Endpoint) -> str:
    return endpoint.message or f"The endpoint serves {endpoint.model_arn}."
