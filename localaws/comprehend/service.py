"""Amazon Comprehend's custom classification.

Operations, statuses and shapes are those of
https://docs.aws.amazon.com/comprehend/latest/APIReference/. Where that leaves something open, the
choice made here stands in README.md.
"""

from __future__ import annotations

import base64
import dataclasses
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from localaws import storage
from localaws.background import Background
from localaws.comprehend import model as learning
from localaws.comprehend.model import Document, Model, TrainingError
from localaws.faults import Faults
from localaws.protocol import AwsError, Call, offered_regions, operation, page, present
from localaws.settings import Settings

log = logging.getLogger(__name__)

_LANGUAGES = frozenset({"en", "es", "de", "it", "fr", "pt"})  # of a plain-text classifier
_MAXIMUM_TEXT_BYTES = 10 * 1024
_MAXIMUM_UNITS = 10
_DOCUMENTS_PER_UNIT, _CHARACTERS_PER_UNIT = 2, 100  # a second
_TRAINED = frozenset({"TRAINED", "TRAINED_WITH_WARNING"})
_ENDED = _TRAINED | {"IN_ERROR", "STOPPED"}


@dataclasses.dataclass(eq=False)
class Classifier:
    """A version of a classifier."""

    arn: str
    name: str
    region: str
    request: dict[str, Any]
    output_uri: str
    outcome: str = ""  # how a fault wants it to end
    status: str = "SUBMITTED"
    message: str = ""
    submitted: float = dataclasses.field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    model: Model | None = None

    def properties(self) -> dict[str, Any]:
        """Return the ``DocumentClassifierProperties``."""
        given = {
            key: self.request.get(key)
            for key in (
                "VersionName",
                "LanguageCode",
                "DataAccessRoleArn",
                "InputDataConfig",
                "VolumeKmsKeyId",
                "VpcConfig",
                "ModelKmsKeyId",
            )
        }
        output = self.request.get("OutputDataConfig") or {}
        return present(
            **given,
            DocumentClassifierArn=self.arn,
            Status=self.status,
            Message=self.message or None,
            Mode=self.request.get("Mode", "MULTI_CLASS"),
            SubmitTime=self.submitted,
            EndTime=self.ended,
            TrainingStartTime=self.started,
            TrainingEndTime=self.ended if self.started else None,
            OutputDataConfig={**output, "S3Uri": self.output_uri} if self.output_uri else output,
            ClassifierMetadata=self.model.metadata() if self.model else None,
        )


@dataclasses.dataclass(eq=False)
class Endpoint:
    """An endpoint; ``model`` answers, ``desired`` will when the change under way is through."""

    arn: str
    region: str
    request: dict[str, Any]
    model: Classifier
    desired: Classifier
    units: int
    desired_units: int
    rate: RateLimit
    status: str = "CREATING"
    message: str = ""
    created: float = dataclasses.field(default_factory=time.time)
    modified: float = dataclasses.field(default_factory=time.time)

    def properties(self) -> dict[str, Any]:
        """Return the ``EndpointProperties``."""
        return present(
            EndpointArn=self.arn,
            Status=self.status,
            Message=self.message or None,
            ModelArn=self.model.arn,
            DesiredModelArn=self.desired.arn,
            DesiredInferenceUnits=self.desired_units,
            CurrentInferenceUnits=None if self.status == "CREATING" else self.units,
            CreationTime=self.created,
            LastModifiedTime=self.modified,
            DataAccessRoleArn=self.request.get("DataAccessRoleArn"),
        )


class RateLimit:
    """What the inference units of an endpoint can do: two buckets, filled at a constant rate.

    A bucket holds what comes in a second; a text is let in while both hold something, and may
    leave debts, so that a text of more characters than come in a second gets through at all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._time = time.monotonic()
        self._levels: dict[str, float] = {}

    def admit(self, characters: int, rates: dict[str, float]) -> bool:
        """Return whether a text of ``characters`` is let in.

        Args:
            characters: Its length.
            rates: ``documents`` and ``characters`` a second.
        """
        with self._lock:
            now = time.monotonic()
            elapsed, self._time = now - self._time, now
            for name, rate in rates.items():
                self._levels[name] = min(rate, self._levels.get(name, rate) + rate * elapsed)
            if min(self._levels.values()) <= 0:
                return False
            self._levels["documents"] -= 1
            self._levels["characters"] -= characters
            return True


class Comprehend:
    """The service in all regions where it is offered."""

    def __init__(self, settings: Settings, faults: Faults, background: Background) -> None:
        self._settings = settings
        self._faults = faults
        self._background = background
        self._lock = threading.RLock()
        self._classifiers: dict[str, Classifier] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._tokens: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {}

    def reset(self) -> None:
        """Forget every classifier and endpoint."""
        with self._lock:
            for classifier in self._classifiers.values():
                classifier.status = "STOP_REQUESTED"  # so that its training ends
            for kept in (self._classifiers, self._endpoints, self._tags, self._tokens):
                kept.clear()

    # --- classifiers ---

    @operation
    def create_document_classifier(self, call: Call) -> dict[str, Any]:
        _check(call)
        params = call.params
        _check_classifier(params)
        name, version = params["DocumentClassifierName"], params.get("VersionName")
        arn = call.arn(f"document-classifier/{name}" + (f"/version/{version}" if version else ""))

        def create() -> dict[str, Any]:
            if arn in self._classifiers:
                raise AwsError("ResourceInUseException", f"There is a classifier {arn} already.")
            output = (params.get("OutputDataConfig") or {}).get("S3Uri", "").rstrip("/")
            owner = arn.split(":")[4]
            classifier = Classifier(
                arn,
                name,
                call.region,
                params,
                f"{output}/{owner}-CLR-{uuid.uuid4().hex}/output/output.tar.gz" if output else "",
            )
            fault = self._faults.outcome("comprehend", "CreateDocumentClassifier", arn)
            if fault:
                classifier.outcome, classifier.message = fault.outcome, fault.message
            self._classifiers[arn] = classifier
            self._tags[arn] = _tags(params)
            self._background.run(
                self._train,
                classifier,
                failed=lambda reason: self._end_training(classifier, "IN_ERROR", reason, None),
            )
            return {"DocumentClassifierArn": arn}

        return self._once(call, create)

    @operation
    def describe_document_classifier(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            classifier = self._classifier(call.params["DocumentClassifierArn"])
            return {"DocumentClassifierProperties": classifier.properties()}

    @operation
    def list_document_classifiers(self, call: Call) -> dict[str, Any]:
        _check(call)
        wanted = call.params.get("Filter") or {}
        with self._lock:
            found = [
                classifier.properties()
                for classifier in self._classifiers.values()
                if classifier.region == call.region
                and wanted.get("DocumentClassifierName") in (None, classifier.name)
                and wanted.get("Status") in (None, classifier.status)
                and wanted.get("SubmitTimeAfter", 0) < classifier.submitted
                and classifier.submitted < wanted.get("SubmitTimeBefore", float("inf"))
            ]
        items, token = page(found, call)
        return present(DocumentClassifierPropertiesList=items, NextToken=token)

    @operation
    def list_document_classifier_summaries(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            versions: dict[str, list[Classifier]] = {}
            for classifier in self._classifiers.values():
                if classifier.region == call.region:
                    versions.setdefault(classifier.name, []).append(classifier)
        summaries = [
            present(
                DocumentClassifierName=name,
                NumberOfVersions=len(group),
                LatestVersionCreatedAt=group[-1].submitted,
                LatestVersionName=group[-1].request.get("VersionName"),
                LatestVersionStatus=group[-1].status,
            )
            for name, group in versions.items()
        ]
        items, token = page(summaries, call)
        return present(DocumentClassifierSummariesList=items, NextToken=token)

    @operation
    def stop_training_document_classifier(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            classifier = self._classifier(call.params["DocumentClassifierArn"])
            if classifier.status in ("SUBMITTED", "TRAINING"):
                classifier.status = "STOP_REQUESTED"
        return {}

    @operation
    def delete_document_classifier(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            classifier = self._classifier(call.params["DocumentClassifierArn"])
            if classifier.status not in _ENDED:
                raise AwsError(
                    "ResourceUnavailableException",
                    f"The classifier cannot be deleted while it is {classifier.status}.",
                )
            for endpoint in self._endpoints.values():
                if classifier is endpoint.model or classifier is endpoint.desired:
                    raise AwsError(
                        "ResourceInUseException", f"The endpoint {endpoint.arn} uses it."
                    )
            classifier.status = "DELETING"
        self._background.after(
            self._settings.comprehend_deletion_seconds, self._forget, classifier.arn
        )
        return {}

    # --- endpoints ---

    @operation
    def create_endpoint(self, call: Call) -> dict[str, Any]:
        _check(call)
        params = call.params
        arn = call.arn(f"document-classifier-endpoint/{params['EndpointName']}")

        def create() -> dict[str, Any]:
            if arn in self._endpoints:
                raise AwsError("ResourceInUseException", f"There is an endpoint {arn} already.")
            classifier = self._deployable(params.get("ModelArn"))
            units = _units(params["DesiredInferenceUnits"])
            endpoint = Endpoint(
                arn, call.region, params, classifier, classifier, units, units, RateLimit()
            )
            self._endpoints[arn] = endpoint
            self._tags[arn] = _tags(params)
            self._change(endpoint, "CreateEndpoint")
            return {"EndpointArn": arn, "ModelArn": classifier.arn}

        return self._once(call, create)

    @operation
    def update_endpoint(self, call: Call) -> dict[str, Any]:
        _check(call)
        params = call.params
        with self._lock:
            endpoint = self._endpoint(params["EndpointArn"])
            if endpoint.status in ("CREATING", "UPDATING"):
                raise AwsError(
                    "ResourceInUseException", f"The endpoint is {endpoint.status}; wait for it."
                )
            if endpoint.status != "IN_SERVICE":
                raise AwsError(
                    "ResourceUnavailableException", f"The endpoint is {endpoint.status}."
                )
            desired = endpoint.model
            if params.get("DesiredModelArn"):
                desired = self._deployable(params["DesiredModelArn"])
            endpoint.desired_units = _units(params.get("DesiredInferenceUnits") or endpoint.units)
            endpoint.desired = desired
            if role := params.get("DesiredDataAccessRoleArn"):
                endpoint.request = {**endpoint.request, "DataAccessRoleArn": role}
            endpoint.status = "UPDATING"
            endpoint.modified = time.time()
            self._change(endpoint, "UpdateEndpoint")
            return {"DesiredModelArn": desired.arn}

    @operation
    def describe_endpoint(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            return {"EndpointProperties": self._endpoint(call.params["EndpointArn"]).properties()}

    @operation
    def list_endpoints(self, call: Call) -> dict[str, Any]:
        _check(call)
        wanted = call.params.get("Filter") or {}
        with self._lock:
            found = [
                endpoint.properties()
                for endpoint in self._endpoints.values()
                if endpoint.region == call.region
                and wanted.get("ModelArn") in (None, endpoint.model.arn)
                and wanted.get("Status") in (None, endpoint.status)
                and wanted.get("CreationTimeAfter", 0) < endpoint.created
                and endpoint.created < wanted.get("CreationTimeBefore", float("inf"))
            ]
        items, token = page(found, call)
        return present(EndpointPropertiesList=items, NextToken=token)

    @operation
    def delete_endpoint(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            endpoint = self._endpoint(call.params["EndpointArn"])
            if endpoint.status in ("CREATING", "UPDATING"):
                raise AwsError("ResourceInUseException", f"The endpoint is {endpoint.status}.")
            endpoint.status = "DELETING"
        self._background.after(
            self._settings.comprehend_deletion_seconds, self._forget, endpoint.arn
        )
        return {}

    @operation
    def classify_document(self, call: Call) -> dict[str, Any]:
        _check(call)
        text = _text(call.params)
        with self._lock:
            endpoint = self._endpoint(call.params["EndpointArn"])
            if endpoint.status not in ("IN_SERVICE", "UPDATING"):
                raise AwsError(
                    "ResourceUnavailableException", f"The endpoint is {endpoint.status}."
                )
            model, units = endpoint.model.model, endpoint.units
        factor = self._settings.comprehend_throughput * units
        rates = {
            "documents": _DOCUMENTS_PER_UNIT * factor,
            "characters": _CHARACTERS_PER_UNIT * factor,
        }
        if factor and not endpoint.rate.admit(len(text), rates):
            raise AwsError("ThrottlingException", "Rate exceeded")
        assert model is not None
        classes = model.classify(text)[: self._settings.comprehend_classes or None]
        return {"Classes": [{"Name": name, "Score": score} for name, score in classes]}

    # --- tags ---

    @operation
    def tag_resource(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            self._tags_of(call).update(_tags(call.params))
        return {}

    @operation
    def untag_resource(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            tags = self._tags_of(call)
            for key in call.params["TagKeys"]:
                tags.pop(key, None)
        return {}

    @operation
    def list_tags_for_resource(self, call: Call) -> dict[str, Any]:
        _check(call)
        with self._lock:
            tags = [{"Key": key, "Value": value} for key, value in self._tags_of(call).items()]
        return {"ResourceArn": call.params["ResourceArn"], "Tags": tags}

    # --- what takes time ---

    def _train(self, classifier: Classifier) -> None:
        """Take a classifier from SUBMITTED to its end."""
        self._background.wait(
            self._settings.comprehend_queue_seconds,
            going_on=lambda: classifier.status == "SUBMITTED",
        )
        begin = time.monotonic()
        status, message, model = "STOPPED", "", None
        with self._lock:
            if classifier.status == "SUBMITTED":
                classifier.status = "TRAINING"
                classifier.started = time.time()
        if classifier.status == "TRAINING":
            status, message, model = self._learn(classifier)
            self._background.wait(
                self._settings.comprehend_training_seconds,
                since=begin,
                going_on=lambda: classifier.status == "TRAINING",
            )
        if self._background.stopping.is_set():
            return
        self._end_training(classifier, status, message, model)

    def _end_training(
        self, classifier: Classifier, status: str, message: str, model: Model | None
    ) -> None:
        with self._lock:
            if classifier.status == "STOP_REQUESTED":
                status, message, model = "STOPPED", "", None
            if model and classifier.output_uri:
                try:
                    storage.write(classifier.output_uri, model.archive())
                except storage.StorageError as error:
                    status, model = "IN_ERROR", None
                    message = f"NO_WRITE_ACCESS_TO_OUTPUT: {error}."
            classifier.status, classifier.message, classifier.model = status, message, model
            classifier.ended = time.time()
        log.info("Comprehend: %s is %s %s", classifier.arn, status, message)

    def _learn(self, classifier: Classifier) -> tuple[str, str, Model | None]:
        """Return the status, message and model in which a training ends."""
        if classifier.outcome in ("IN_ERROR", "STOPPED"):
            return classifier.outcome, classifier.message, None
        data = classifier.request["InputDataConfig"]
        test = data.get("TestS3Uri")
        try:
            model = learning.train(_documents(data["S3Uri"]), _documents(test) if test else None)
        except TrainingError as error:
            return "IN_ERROR", str(error), None
        if classifier.outcome:
            return classifier.outcome, classifier.message, model
        return "TRAINED_WITH_WARNING" if model.warning else "TRAINED", model.warning, model

    def _change(self, endpoint: Endpoint, operation_name: str) -> None:
        """Let an endpoint become what is desired, in its time."""
        fault = self._faults.outcome("comprehend", operation_name, endpoint.arn)

        def end() -> None:
            with self._lock:
                endpoint.modified = time.time()
                if fault:
                    endpoint.status, endpoint.message = fault.outcome, fault.message
                else:
                    endpoint.status, endpoint.message = "IN_SERVICE", ""
                    endpoint.model, endpoint.units = endpoint.desired, endpoint.desired_units
            log.info("Comprehend: %s is %s", endpoint.arn, endpoint.status)

        self._background.after(self._settings.comprehend_endpoint_seconds, end)

    def _forget(self, arn: str) -> None:
        with self._lock:
            self._classifiers.pop(arn, None)
            self._endpoints.pop(arn, None)
            self._tags.pop(arn, None)

    # --- helpers ---

    def _once(self, call: Call, create: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what ``create`` makes, or what it made for the same ClientRequestToken."""
        token = call.params.get("ClientRequestToken")
        with self._lock:
            before = self._tokens.get((call.operation, token)) if token else None
            if before is not None:
                params, answer = before
                if params == call.params and self._exists(answer):
                    return answer
            answer = create()
            if token:
                self._tokens[call.operation, token] = (call.params, answer)
            return answer

    def _exists(self, answer: dict[str, Any]) -> bool:
        arn = answer.get("EndpointArn") or answer["DocumentClassifierArn"]
        return arn in self._endpoints or arn in self._classifiers

    def _classifier(self, arn: str) -> Classifier:
        if arn not in self._classifiers:
            raise _not_found()
        return self._classifiers[arn]

    def _endpoint(self, arn: str) -> Endpoint:
        if arn not in self._endpoints:
            raise _not_found()
        return self._endpoints[arn]

    def _deployable(self, arn: str | None) -> Classifier:
        if not arn:
            raise AwsError("InvalidRequestException", "ModelArn is missing.")
        classifier = self._classifier(arn)
        if classifier.status not in _TRAINED:
            raise AwsError(
                "ResourceUnavailableException", f"The classifier is {classifier.status}."
            )
        return classifier

    def _tags_of(self, call: Call) -> dict[str, str]:
        arn = call.params["ResourceArn"]
        if arn not in self._tags:
            raise _not_found()
        return self._tags[arn]


def _check(call: Call) -> None:
    """Refuse what the service would refuse before it looks at anything."""
    offered = offered_regions("comprehend")
    if call.region not in offered:
        raise AwsError(
            "InvalidRequestException",
            f"Amazon offers no Comprehend in {call.region} (the host name would not exist); choose "
            f"one of: {', '.join(sorted(offered))}.",
        )
    call.validate()


def _check_classifier(params: dict[str, Any]) -> None:
    if params["LanguageCode"] not in _LANGUAGES:
        raise AwsError(
            "UnsupportedLanguageException",
            f"A plain-text classifier has no language '{params['LanguageCode']}'; choose one of: "
            f"{', '.join(sorted(_LANGUAGES))}.",
        )
    data = params["InputDataConfig"]
    if params.get("Mode", "MULTI_CLASS") != "MULTI_CLASS":
        raise AwsError("InvalidRequestException", "The local AWS knows no mode but MULTI_CLASS.")
    if data.get("DataFormat", "COMPREHEND_CSV") != "COMPREHEND_CSV":
        raise AwsError("InvalidRequestException", "The local AWS knows no format but CSV.")
    if not data.get("S3Uri"):
        raise AwsError("InvalidRequestException", "InputDataConfig.S3Uri is missing.")


def _documents(uri: str) -> list[Document]:
    """Read a training file, or all below a prefix."""
    bucket, _ = storage.split(uri)
    try:
        found = [f"s3://{bucket}/{key}" for key in storage.keys(uri) if not key.endswith("/")]
    except storage.StorageError:
        found = []
    if not found:
        raise TrainingError(f"NO_READ_ACCESS_TO_INPUT: There is nothing to read at {uri}.")
    return [
        document for name in found for document in learning.read_documents(storage.read(name), name)
    ]


def _text(params: dict[str, Any]) -> str:
    content = params.get("Text")
    if content is None and params.get("Bytes"):
        content = base64.b64decode(params["Bytes"]).decode("utf-8", errors="replace")
    if content is None or not content.strip():
        raise AwsError("InvalidRequestException", "The request has no text to classify.")
    size = len(content.encode())
    if size > _MAXIMUM_TEXT_BYTES:
        raise AwsError(
            "TextSizeLimitExceededException",
            f"Input text size exceeds limit. Max length of request text allowed is "
            f"{_MAXIMUM_TEXT_BYTES} bytes while in this request the text size is {size} bytes",
        )
    return str(content)


def _units(units: int) -> int:
    if units > _MAXIMUM_UNITS:
        raise AwsError(
            "ResourceLimitExceededException",
            f"An endpoint has at most {_MAXIMUM_UNITS} inference units, not {units}.",
        )
    return units


def _tags(params: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags") or ()}


def _not_found() -> AwsError:
    return AwsError(
        "ResourceNotFoundException", "RESOURCE_NOT_FOUND: Could not find specified resource."
    )
