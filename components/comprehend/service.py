"""The operations of Amazon Comprehend's custom classification that a bot needs, without Rasa.

Every operation can be repeated: what exists already is found, not made twice. The Rasa component
and the retraining pipeline both work through it.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

from common.aws import AwsError, aws_errors, client, split_s3_uri
from common.confusion_matrix import ConfusionMatrix
from common.errors import UserError
from components.comprehend.documents import (
    CLASSIFIER_NAME_LENGTH,
    ENDPOINT_NAME_LENGTH,
    VERSION_NAME_LENGTH,
    check_name,
)

IN_PROGRESS, READY, FAILED = "IN_PROGRESS", "READY", "FAILED"
_TRAINING_STATES = {
    "SUBMITTED": IN_PROGRESS,
    "TRAINING": IN_PROGRESS,
    "STOP_REQUESTED": IN_PROGRESS,
    "TRAINED": READY,
    "TRAINED_WITH_WARNING": READY,
}
_ENDPOINT_STATES = {"CREATING": IN_PROGRESS, "UPDATING": IN_PROGRESS, "IN_SERVICE": READY}


@dataclasses.dataclass(frozen=True)
class Version:
    """A trained, or not yet trained, version of a classifier.

    Attributes:
        arn: Its ARN.
        name: Its version name.
        status: Comprehend's status, such as ``TRAINED_WITH_WARNING``.
        message: Comprehend's explanation, empty where it gives none.
        output_uri: The ``output.tar.gz`` of the training in S3; None before its end.
        labels: Number of intents; 0 before the end of the training.
        submitted: When training was asked for.
    """

    arn: str
    name: str
    status: str
    message: str
    output_uri: str | None
    labels: int
    submitted: datetime.datetime

    @property
    def state(self) -> str:
        """``IN_PROGRESS``, ``READY`` or ``FAILED``."""
        return _TRAINING_STATES.get(self.status, FAILED)


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An endpoint that answers, or will.

    Attributes:
        arn: Its ARN.
        name: Its name.
        status: Comprehend's status, such as ``IN_SERVICE``.
        message: Comprehend's explanation, empty where it gives none.
        model_arn: The version that answers.
        desired_model_arn: The version that will answer when an update is through.
        units: Inference units; each is billed as long as the endpoint exists.
        created: When it was made.
    """

    arn: str
    name: str
    status: str
    message: str
    model_arn: str
    desired_model_arn: str
    units: int
    created: datetime.datetime

    @property
    def state(self) -> str:
        """``IN_PROGRESS``, ``READY`` or ``FAILED``."""
        return _ENDPOINT_STATES.get(self.status, FAILED)


class Comprehend:
    """Custom classification in one region.

    Args:
        region: Region; None takes that of AWS's chain.
        options: Timeouts and attempts, see :func:`common.aws.client`.

    Attributes:
        region: The region.

    Raises:
        UserError: No region is set, or Comprehend is not offered there.
    """

    def __init__(self, region: str | None = None, **options: Any) -> None:
        self._client = client("comprehend", region, **options)
        self.region: str = self._client.meta.region_name

    @functools.cached_property
    def _s3_client(self) -> Any:
        # On demand: classifying needs none.
        return client("s3", self.region)

    # --- versions ---

    def start_training(
        self,
        classifier: str,
        version: str,
        *,
        role_arn: str,
        train_uri: str,
        output_uri: str,
        test_uri: str | None = None,
        language: str = "fr",
        kms_key: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """Start to train a version, or find it where it exists.

        Args:
            classifier: Name of the classifier.
            version: Name of the version.
            role_arn: Role by which Comprehend reads and writes in S3.
            train_uri: CSV file in S3, see :mod:`components.comprehend.documents`.
            output_uri: Folder in S3 for the result.
            test_uri: CSV file to measure on; None leaves a tenth of the examples to that.
            language: Language of the texts.
            kms_key: Key that encrypts the result and the model; None takes AWS's own.
            tags: Tags of the version.

        Raises:
            UserError: A name that Comprehend does not take.
            AwsError: Comprehend refuses.
        """
        check_name(classifier, CLASSIFIER_NAME_LENGTH, "the classifier")
        check_name(version, VERSION_NAME_LENGTH, "the version")
        data = {"DataFormat": "COMPREHEND_CSV", "S3Uri": train_uri}
        if test_uri:
            data["TestS3Uri"] = test_uri
        output = {"S3Uri": output_uri}
        request: dict[str, Any] = {
            "DocumentClassifierName": classifier,
            "VersionName": version,
            "DataAccessRoleArn": role_arn,
            "InputDataConfig": data,
            "OutputDataConfig": output,
            "LanguageCode": language,
            "Mode": "MULTI_CLASS",
            "ClientRequestToken": _token(classifier, version, train_uri),
            "Tags": [{"Key": key, "Value": value} for key, value in (tags or {}).items()],
        }
        if kms_key:
            output["KmsKeyId"] = kms_key
            request["ModelKmsKeyId"] = kms_key
        try:
            with aws_errors(f"train version '{version}' of the classifier '{classifier}'"):
                arn = self._client.create_document_classifier(**request)["DocumentClassifierArn"]
        except AwsError as error:
            existing = self.version(classifier, version) if error.exists else None
            if existing is None:
                raise
            return existing
        return self.describe_version(arn)

    def describe_version(self, arn: str) -> Version:
        """Return a version.

        Raises:
            AwsError: There is none (``not_found``), or Comprehend refuses.
        """
        with aws_errors(f"read the classifier '{arn}'"):
            answer = self._client.describe_document_classifier(DocumentClassifierArn=arn)
        return _version(answer["DocumentClassifierProperties"])

    def versions(self, classifier: str) -> list[Version]:
        """Return the versions of a classifier, newest first."""
        with aws_errors(f"list the versions of the classifier '{classifier}'"):
            pages = self._client.get_paginator("list_document_classifiers").paginate(
                Filter={"DocumentClassifierName": classifier}
            )
            found = [
                _version(item)
                for page in pages
                for item in page["DocumentClassifierPropertiesList"]
            ]
        return sorted(found, key=lambda item: item.submitted, reverse=True)

    def version(self, classifier: str, name: str) -> Version | None:
        """Return a version by its name; None where there is none."""
        return next((item for item in self.versions(classifier) if item.name == name), None)

    def confusion_matrix(self, version: Version) -> ConfusionMatrix:
        """Return how a trained version did on its test examples.

        Raises:
            UserError: The training has not ended, or its result in S3 is not what it should be.
            AwsError: The result cannot be read.
        """
        if version.output_uri is None:
            raise UserError(f"'{version.arn}' has no result yet: its status is {version.status}.")
        bucket, key = split_s3_uri(version.output_uri)
        with aws_errors(f"read the training's result '{version.output_uri}'"):
            archive = self._s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return read_confusion_matrix(archive, version.output_uri)

    def upload(self, uri: str, content: bytes, kms_key: str | None = None) -> None:
        """Write a file to S3, as ``s3://BUCKET/KEY``; an existing one is replaced.

        Args:
            uri: Where to.
            content: The file.
            kms_key: Key that encrypts it; None leaves that to the bucket.

        Raises:
            AwsError: S3 refuses.
        """
        bucket, key = split_s3_uri(uri)
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        with aws_errors(f"write '{uri}'"):
            self._s3_client.put_object(Bucket=bucket, Key=key, Body=content, **encryption)

    def stop_training(self, arn: str) -> None:
        """Ask a training to stop; one that has ended, or is gone, is no error."""
        try:
            with aws_errors(f"stop the training of '{arn}'"):
                self._client.stop_training_document_classifier(DocumentClassifierArn=arn)
        except AwsError as error:
            if not error.not_found and error.code != "InvalidRequestException":
                raise

    def delete_version(self, arn: str) -> None:
        """Delete a version; none, or one that is gone already, is no error."""
        try:
            with aws_errors(f"delete the classifier '{arn}'"):
                self._client.delete_document_classifier(DocumentClassifierArn=arn)
        except AwsError as error:
            if not error.not_found:
                raise

    # --- endpoints ---

    def endpoints(self) -> list[Endpoint]:
        """Return every endpoint of the account in this region."""
        with aws_errors("list the endpoints"):
            pages = self._client.get_paginator("list_endpoints").paginate()
            return [_endpoint(item) for page in pages for item in page["EndpointPropertiesList"]]

    def endpoint(self, name_or_arn: str) -> Endpoint | None:
        """Return an endpoint by name or ARN; None where there is none."""
        if not name_or_arn.startswith("arn:"):  # AWS has no filter by name
            return next((one for one in self.endpoints() if one.name == name_or_arn), None)
        try:
            with aws_errors(f"read the endpoint '{name_or_arn}'"):
                answer = self._client.describe_endpoint(EndpointArn=name_or_arn)
        except AwsError as error:
            if error.not_found:
                return None
            raise
        return _endpoint(answer["EndpointProperties"])

    def deploy(
        self,
        name: str,
        model_arn: str,
        units: int = 1,
        *,
        role_arn: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Endpoint:
        """Create the endpoint, or move it to another version without a gap in service.

        An endpoint that failed to start is deleted; call again when it is gone.

        Args:
            name: Name of the endpoint.
            model_arn: The version that shall answer.
            units: Inference units, 1 to 10 (each 100 characters and 2 texts a second).
            role_arn: Role by which Comprehend decrypts the model, where a KMS key encrypts it.
            tags: Tags of a new endpoint.

        Returns:
            The endpoint; its ``state`` is ``IN_PROGRESS`` until the version answers.

        Raises:
            UserError: A name that Comprehend does not take.
            AwsError: Comprehend refuses, or is still busy with the last change (``exists``).
        """
        check_name(name, ENDPOINT_NAME_LENGTH, "the endpoint")
        role = {"DataAccessRoleArn": role_arn} if role_arn else {}
        found = self.endpoint(name)
        if found is None:
            with aws_errors(f"create the endpoint '{name}'"):
                arn = self._client.create_endpoint(
                    EndpointName=name,
                    ModelArn=model_arn,
                    DesiredInferenceUnits=units,
                    # Botocore sends a ClientRequestToken of its own; the name makes it unique.
                    Tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()],
                    **role,
                )["EndpointArn"]
        elif found.state == FAILED:
            self.delete_endpoint(found.arn)
            arn = found.arn
        elif (found.desired_model_arn, found.units) != (model_arn, units):
            with aws_errors(f"update the endpoint '{name}'"):
                self._client.update_endpoint(
                    EndpointArn=found.arn,
                    DesiredModelArn=model_arn,
                    DesiredInferenceUnits=units,
                    **({"DesiredDataAccessRoleArn": role_arn} if role_arn else {}),
                )
            arn = found.arn
        else:
            return found
        endpoint = self.endpoint(arn)
        if endpoint is None:
            raise AwsError(f"The endpoint '{name}' is being deleted; try again.", "ResourceInUse")
        return endpoint

    def delete_endpoint(self, arn: str) -> None:
        """Delete an endpoint; one that is gone already is no error."""
        try:
            with aws_errors(f"delete the endpoint '{arn}'"):
                self._client.delete_endpoint(EndpointArn=arn)
        except AwsError as error:
            if not error.not_found:
                raise

    def classify(self, endpoint_arn: str, text: str) -> list[tuple[str, float]]:
        """Return the intents of a text with their scores (0 to 1), best first.

        Raises:
            AwsError: Comprehend refuses or does not answer.
        """
        with aws_errors("classify a text"):
            answer = self._client.classify_document(EndpointArn=endpoint_arn, Text=text)
        classes = [(item["Name"], float(item["Score"])) for item in answer.get("Classes", [])]
        return sorted(classes, key=lambda item: item[1], reverse=True)


def read_confusion_matrix(archive: bytes, name: str) -> ConfusionMatrix:
    """Read ``confusion_matrix.json`` out of a training's ``output.tar.gz``.

    Args:
        archive: The file's content.
        name: Where it comes from, for the message.

    Raises:
        UserError: The archive or the matrix in it is damaged or missing.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            for member in files:
                file = files.extractfile(member)
                if file and member.name.rsplit("/", 1)[-1] == "confusion_matrix.json":
                    return ConfusionMatrix.from_json(json.load(file))
    except (tarfile.TarError, EOFError, OSError, ValueError, TypeError) as error:
        raise UserError(f"'{name}' is damaged ({error}): train again.") from error
    raise UserError(f"'{name}' holds no confusion_matrix.json: train again.")


def _version(properties: Mapping[str, Any]) -> Version:
    arn = properties["DocumentClassifierArn"]
    return Version(
        arn=arn,
        name=properties.get("VersionName") or _name(arn),
        status=properties["Status"],
        message=properties.get("Message", ""),
        output_uri=(
            properties.get("OutputDataConfig", {}).get("S3Uri")
            if _TRAINING_STATES.get(properties["Status"]) == READY
            else None
        ),
        labels=properties.get("ClassifierMetadata", {}).get("NumberOfLabels", 0),
        submitted=properties["SubmitTime"],
    )


def _endpoint(properties: Mapping[str, Any]) -> Endpoint:
    arn = properties["EndpointArn"]
    return Endpoint(
        arn=arn,
        name=_name(arn),
        status=properties["Status"],
        message=properties.get("Message", ""),
        model_arn=properties["ModelArn"],
        desired_model_arn=properties.get("DesiredModelArn") or properties["ModelArn"],
        units=properties.get("DesiredInferenceUnits", 1),
        created=properties["CreationTime"],
    )


def _name(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _token(*parts: str) -> str:
    """Return a ClientRequestToken: the same request twice is one to AWS."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
