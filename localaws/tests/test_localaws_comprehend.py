"""The local Comprehend, through boto3."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import tarfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws import LocalAWS
from localaws.settings import Settings
from localaws.tests.conftest import eventually, standstill

ROLE = "arn:aws:iam::123456789012:role/comprehend"
ENDED = {"TRAINED", "TRAINED_WITH_WARNING", "IN_ERROR", "STOPPED"}
NAMES = ("Paul Martin", "Léa Dubois", "Anne Petit", "Luc Moreau", "Zoé Roux", "Éric Blanc")
SKILLS = ("Java", "Python", "le C++", "Terraform", "React", "l'anglais")
PEOPLE = ("Qui est {}", "Parle-moi de {}", "C'est qui, {} ?")
EXPERTS = ("Qui s'y connaît en {}", "Qui maîtrise {} ?", "Un expert de {}, svp")


def documents(times: int = 3) -> list[tuple[str, str]]:
    """``18 × times`` documents of each of two classes."""
    rows = []
    for index in range(times):
        prefix = "Bonjour, " * index
        rows += [("WHO_IS", prefix + form.format(name)) for form in PEOPLE for name in NAMES]
        rows += [
            ("WHO_KNOWS_ABOUT", prefix + form.format(skill)) for form in EXPERTS for skill in SKILLS
        ]
    return rows


def to_csv(rows: list[tuple[str, str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()


@pytest.fixture
def comprehend(aws: LocalAWS) -> Any:
    return aws.client("comprehend", retries={"total_max_attempts": 1})


class Setup:
    """A bucket and a client, and what most tests do with them."""

    def __init__(self, comprehend: Any, s3: Any, bucket: str) -> None:
        self.client, self.s3, self.bucket = comprehend, s3, bucket

    def start(self, content: bytes | None = None, **changes: Any) -> str:
        """Start a training and return the ARN."""
        content = to_csv(documents()) if content is None else content
        self.s3.put_object(Bucket=self.bucket, Key="train.csv", Body=content)
        request = {
            "DocumentClassifierName": "skills-bot",
            "VersionName": "v1",
            "DataAccessRoleArn": ROLE,
            "InputDataConfig": {"S3Uri": f"s3://{self.bucket}/train.csv"},
            "OutputDataConfig": {"S3Uri": f"s3://{self.bucket}/runs/"},
            "LanguageCode": "fr",
            "Mode": "MULTI_CLASS",
        }
        response = self.client.create_document_classifier(**(request | changes))
        return str(response["DocumentClassifierArn"])

    def describe(self, arn: str) -> dict[str, Any]:
        response = self.client.describe_document_classifier(DocumentClassifierArn=arn)
        return dict(response["DocumentClassifierProperties"])

    def train(self, content: bytes | None = None, **changes: Any) -> dict[str, Any]:
        """Train to the end and return the properties."""
        arn = self.start(content, **changes)
        return dict(eventually(lambda: self.describe(arn), lambda it: it["Status"] in ENDED))

    def endpoint(self, arn: str) -> dict[str, Any]:
        return dict(self.client.describe_endpoint(EndpointArn=arn)["EndpointProperties"])

    def settled(self, arn: str) -> dict[str, Any]:
        return dict(
            eventually(
                lambda: self.endpoint(arn), lambda it: it["Status"] not in ("CREATING", "UPDATING")
            )
        )

    def deploy(self, model_arn: str, name: str = "skills-bot", units: int = 10) -> str:
        """Create an endpoint, wait for it, and return its ARN."""
        arn = str(
            self.client.create_endpoint(
                EndpointName=name, ModelArn=model_arn, DesiredInferenceUnits=units
            )["EndpointArn"]
        )
        assert self.settled(arn)["Status"] == "IN_SERVICE"
        return arn

    def classify(self, arn: str, text: str) -> list[dict[str, Any]]:
        return list(self.client.classify_document(EndpointArn=arn, Text=text)["Classes"])


@pytest.fixture
def setup(comprehend: Any, s3: Any, bucket: str) -> Setup:
    return Setup(comprehend, s3, bucket)


def refused(code: str, match: str = "") -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\).*{match}")


# --- training ---


def test_a_classifier_learns_and_answers(setup: Setup) -> None:
    properties = setup.train()
    arn = properties["DocumentClassifierArn"]
    assert arn == (
        "arn:aws:comprehend:eu-west-1:123456789012:document-classifier/skills-bot/version/v1"
    )
    assert properties["Status"] == "TRAINED"
    endpoint = setup.deploy(arn)
    assert endpoint == (
        "arn:aws:comprehend:eu-west-1:123456789012:document-classifier-endpoint/skills-bot"
    )
    classes = setup.classify(endpoint, "Qui est Marie Curie")
    assert [item["Name"] for item in classes] == ["WHO_IS", "WHO_KNOWS_ABOUT"]
    assert classes[0]["Score"] > 0.8
    assert sum(item["Score"] for item in classes) == pytest.approx(1)
    assert setup.classify(endpoint, "Qui s'y connaît en Rust")[0]["Name"] == "WHO_KNOWS_ABOUT"


def test_without_a_version_the_arn_has_none(setup: Setup, comprehend: Any) -> None:
    setup.s3.put_object(Bucket=setup.bucket, Key="train.csv", Body=to_csv(documents()))
    arn = comprehend.create_document_classifier(
        DocumentClassifierName="skills-bot",
        DataAccessRoleArn=ROLE,
        InputDataConfig={"S3Uri": f"s3://{setup.bucket}/train.csv"},
        LanguageCode="fr",
    )["DocumentClassifierArn"]
    assert arn.endswith(":document-classifier/skills-bot")
    properties = eventually(lambda: setup.describe(arn), lambda it: it["Status"] in ENDED)
    assert properties["Status"] == "TRAINED"
    assert "S3Uri" not in properties["OutputDataConfig"]


def test_a_tenth_is_kept_to_measure(setup: Setup) -> None:
    properties = setup.train()
    metadata = properties["ClassifierMetadata"]
    assert metadata["NumberOfLabels"] == 2
    assert metadata["NumberOfTrainedDocuments"] == 98
    assert metadata["NumberOfTestDocuments"] == 10
    assert set(metadata["EvaluationMetrics"]) == {
        "Accuracy",
        "Precision",
        "Recall",
        "F1Score",
        "MicroPrecision",
        "MicroRecall",
        "MicroF1Score",
        "HammingLoss",
    }
    assert properties["SubmitTime"] < properties["TrainingStartTime"] < properties["EndTime"]


def test_the_confusion_matrix_is_written(setup: Setup) -> None:
    properties = setup.train()
    uri = properties["OutputDataConfig"]["S3Uri"]
    key = uri.removeprefix(f"s3://{setup.bucket}/")
    assert key.startswith("runs/123456789012-CLR-")
    assert key.endswith("/output/output.tar.gz")
    archive = setup.s3.get_object(Bucket=setup.bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        file = files.extractfile("output/confusion_matrix.json")
        assert file is not None
        matrix = json.load(file)
    assert set(matrix) == {"type", "confusion_matrix", "labels", "all_labels"}
    assert matrix["type"] == "multi_class"
    assert matrix["labels"] == matrix["all_labels"] == ["WHO_IS", "WHO_KNOWS_ABOUT"]
    counts = matrix["confusion_matrix"]
    assert sum(map(sum, counts)) == 10
    right = sum(counts[index][index] for index in range(2))
    metrics = properties["ClassifierMetadata"]["EvaluationMetrics"]
    assert metrics["Accuracy"] == pytest.approx(right / 10)


def test_it_is_measured_on_the_test_set_where_one_is_given(setup: Setup) -> None:
    # Every expectation is wrong, which only the test set can show.
    wrong = [("WHO_IS", "Qui maîtrise Java ?"), ("WHO_KNOWS_ABOUT", "Qui est Paul Martin")] * 4
    setup.s3.put_object(Bucket=setup.bucket, Key="test.csv", Body=to_csv(wrong))
    properties = setup.train(
        InputDataConfig={
            "DataFormat": "COMPREHEND_CSV",
            "S3Uri": f"s3://{setup.bucket}/train.csv",
            "TestS3Uri": f"s3://{setup.bucket}/test.csv",
        }
    )
    metadata = properties["ClassifierMetadata"]
    assert metadata["NumberOfTrainedDocuments"] == 108
    assert metadata["NumberOfTestDocuments"] == 8
    assert metadata["EvaluationMetrics"]["Accuracy"] == 0
    assert metadata["EvaluationMetrics"]["HammingLoss"] == 1


def test_few_documents_are_a_warning(setup: Setup) -> None:
    properties = setup.train(to_csv(documents(times=1)))
    assert properties["Status"] == "TRAINED_WITH_WARNING"
    assert "WHO_IS, WHO_KNOWS_ABOUT" in properties["Message"]
    assert setup.classify(setup.deploy(properties["DocumentClassifierArn"]), "Qui est Paul")


def test_what_the_format_allows(setup: Setup) -> None:
    rows = [(label, f'{text}, dit "{text}"') for label, text in documents()]
    content = to_csv(rows).replace(b"\n", b"\r\n").rstrip()
    assert setup.train(content)["Status"] == "TRAINED"


GOOD = to_csv(documents())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + "WHO_IS,Qui est Léa\n".encode("latin-1"), r"not encoded in UTF-8 \(line 109\)"),
        (b"CLASS,text\n" + GOOD, r"at least 10 documents: 'CLASS' \(1\)"),
        (b"\xef\xbb\xbf" + GOOD, r"at least 10 documents: '\ufeffWHO_IS' \(1\)"),
        (GOOD + b"WHO_IS ,qui\n", r"at least 10 documents: 'WHO_IS ' \(1\)"),
        (GOOD + b'WHO_IS,"Qui est\nPaul"\n', "line 110 .* contains a line break"),
        (GOOD + b"WHO_IS,Qui est Paul, svp\n", "line 109 .* has 3 columns"),
        (GOOD + b"WHO_IS\n", "line 109 .* has 1 columns"),
        (GOOD + b"WHO_IS,\n", "line 109 .* has an empty class or text"),
        (GOOD + b'WHO_IS,"Qui est "Paul""\n', "line 109 .* is no valid CSV"),
        (to_csv(documents()[:9]), "less than 2 classes"),
        (b"", "less than 2 classes"),
    ],
)
def test_a_bad_file_ends_in_error(setup: Setup, content: bytes, message: str) -> None:
    properties = setup.train(content)
    assert properties["Status"] == "IN_ERROR"
    assert re.search(message, properties["Message"]), properties["Message"]
    assert "ClassifierMetadata" not in properties


def test_a_test_set_must_have_the_classes(setup: Setup) -> None:
    data = {"S3Uri": f"s3://{setup.bucket}/train.csv", "TestS3Uri": f"s3://{setup.bucket}/t.csv"}
    setup.s3.put_object(Bucket=setup.bucket, Key="t.csv", Body=b"WHO_IS,qui\n")
    properties = setup.train(InputDataConfig=data)
    assert properties["Status"] == "IN_ERROR"
    assert "it lacks WHO_KNOWS_ABOUT" in properties["Message"]
    setup.s3.put_object(Bucket=setup.bucket, Key="t.csv", Body=GOOD + b"OTHER,quoi\n")
    properties = setup.train(InputDataConfig=data, VersionName="v2")
    assert "it adds OTHER" in properties["Message"]


def test_an_unforeseen_failure_ends_in_error(setup: Setup) -> None:
    without_words = to_csv([(name, "!") for name in ("WHO_IS", "HOW_ARE_YOU")] * 12)
    properties = setup.train(without_words)
    assert properties["Status"] == "IN_ERROR"
    assert "ValueError: empty vocabulary" in properties["Message"]


def test_missing_buckets_end_in_error(setup: Setup) -> None:
    properties = setup.train(InputDataConfig={"S3Uri": "s3://none-such/train.csv"})
    assert properties["Status"] == "IN_ERROR"
    assert "nothing to read at s3://none-such/train.csv" in properties["Message"]
    properties = setup.train(OutputDataConfig={"S3Uri": "s3://none-such/"}, VersionName="v2")
    assert properties["Status"] == "IN_ERROR"
    assert "NO_WRITE_ACCESS_TO_OUTPUT" in properties["Message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DocumentClassifierName": "skills_bot"}, "'documentClassifierName'.*regular expression"),
        ({"DocumentClassifierName": "a" * 64}, "length less than or equal to 63"),
        ({"VersionName": "-v1"}, "'versionName'.*regular expression"),
        ({"DataAccessRoleArn": "arn:aws:iam::1:user/me-and-you"}, "'dataAccessRoleArn'"),
        ({"InputDataConfig": {"S3Uri": "train.csv"}}, r"'inputDataConfig\.s3Uri'"),
        ({"Mode": "MULTI"}, r"enum value set: \[MULTI_CLASS, MULTI_LABEL\]"),
        ({"ClientRequestToken": "a b"}, "'clientRequestToken'"),
        ({"Tags": [{"Key": "", "Value": "x"}]}, r"'tags\.1\.member\.key'|Invalid length"),
    ],
)
def test_bad_names_are_refused(aws: LocalAWS, changes: dict[str, Any], message: str) -> None:
    client = aws.client("comprehend", parameter_validation=False)
    request: dict[str, Any] = {
        "DocumentClassifierName": "skills-bot",
        "DataAccessRoleArn": ROLE,
        "InputDataConfig": {"S3Uri": "s3://bucket/train.csv"},
        "LanguageCode": "fr",
    }
    with refused("ValidationException", message):
        client.create_document_classifier(**(request | changes))
    assert client.list_document_classifiers()["DocumentClassifierPropertiesList"] == []


def test_a_language_that_is_not_offered_is_refused(setup: Setup) -> None:
    with refused("UnsupportedLanguageException", "de, en, es, fr, it, pt"):
        setup.start(LanguageCode="ja")


def test_a_version_exists_once(setup: Setup) -> None:
    setup.start()
    with refused("ResourceInUseException"):
        setup.start()
    assert setup.start(VersionName="v2").endswith("/v2")


def test_the_same_request_twice_is_one(setup: Setup) -> None:
    arn = setup.start(ClientRequestToken="token-1")
    assert setup.start(ClientRequestToken="token-1") == arn
    with refused("ResourceInUseException"):
        setup.start(ClientRequestToken="token-1", LanguageCode="en")


def test_a_training_takes_its_time(server: LocalAWS, setup: Setup) -> None:
    with standstill(server):
        arn = setup.start()
        assert setup.describe(arn)["Status"] == "SUBMITTED"
        server.set(comprehend_queue_seconds=0)
        other = setup.start(VersionName="v2")
        eventually(lambda: setup.describe(other)["Status"], lambda it: it == "TRAINING")
        server.set(comprehend_queue_seconds=Settings.comprehend_queue_seconds)
    eventually(lambda: setup.describe(arn)["Status"], lambda it: it == "TRAINED")
    eventually(lambda: setup.describe(other)["Status"], lambda it: it == "TRAINED")


@pytest.mark.parametrize("queue", [0, 60])
def test_a_training_can_be_stopped(server: LocalAWS, setup: Setup, queue: float) -> None:
    with standstill(server):
        server.set(comprehend_queue_seconds=queue)
        status = "SUBMITTED" if queue else "TRAINING"
        arn = setup.start()
        eventually(lambda: setup.describe(arn)["Status"], lambda it: it == status)
        with refused("ResourceUnavailableException", status):
            setup.client.delete_document_classifier(DocumentClassifierArn=arn)
        setup.client.stop_training_document_classifier(DocumentClassifierArn=arn)
        eventually(lambda: setup.describe(arn)["Status"], lambda it: it == "STOPPED")
        assert "ClassifierMetadata" not in setup.describe(arn)
        server.set(comprehend_queue_seconds=Settings.comprehend_queue_seconds)


@pytest.mark.parametrize("status", ["IN_ERROR", "STOPPED", "TRAINED_WITH_WARNING"])
def test_a_training_ends_as_injected(aws: LocalAWS, setup: Setup, status: str) -> None:
    aws.inject(
        "comprehend",
        "CreateDocumentClassifier",
        outcome=status,
        message="Something is wrong.",
        times=1,
    )
    properties = setup.train()
    assert (properties["Status"], properties["Message"]) == (status, "Something is wrong.")
    assert setup.train(VersionName="v2")["Status"] == "TRAINED"


def test_versions_are_listed_and_deleted(setup: Setup) -> None:
    arns = [setup.train(VersionName=f"v{number}")["DocumentClassifierArn"] for number in (1, 2)]
    other = setup.start(DocumentClassifierName="other")

    def listed(**arguments: Any) -> list[str]:
        pages = setup.client.get_paginator("list_document_classifiers").paginate(
            PaginationConfig={"PageSize": 1}, **arguments
        )
        return [
            item["DocumentClassifierArn"]
            for page in pages
            for item in page["DocumentClassifierPropertiesList"]
        ]

    assert listed() == [*arns, other]
    assert listed(Filter={"DocumentClassifierName": "skills-bot"}) == arns
    summaries = setup.client.list_document_classifier_summaries()
    latest = summaries["DocumentClassifierSummariesList"][0]
    assert latest["DocumentClassifierName"] == "skills-bot"
    assert (latest["NumberOfVersions"], latest["LatestVersionName"]) == (2, "v2")
    setup.client.delete_document_classifier(DocumentClassifierArn=arns[0])
    eventually(listed, lambda it: it == [arns[1], other])
    with refused("ResourceNotFoundException", "RESOURCE_NOT_FOUND"):
        setup.describe(arns[0])


def test_tags_are_kept(setup: Setup) -> None:
    arn = setup.start(Tags=[{"Key": "project", "Value": "bot"}])
    setup.client.tag_resource(ResourceArn=arn, Tags=[{"Key": "env", "Value": "dev"}])
    setup.client.untag_resource(ResourceArn=arn, TagKeys=["project"])
    tags = setup.client.list_tags_for_resource(ResourceArn=arn)["Tags"]
    assert tags == [{"Key": "env", "Value": "dev"}]


def test_a_region_without_comprehend_refuses(aws: LocalAWS) -> None:
    with refused("InvalidRequestException", "no Comprehend in eu-west-3.*eu-central-1, eu-west-1"):
        aws.client("comprehend", region="eu-west-3").list_endpoints()


def test_regions_are_apart(aws: LocalAWS, setup: Setup) -> None:
    setup.start()
    other = aws.client("comprehend", region="eu-central-1")
    assert other.list_document_classifiers()["DocumentClassifierPropertiesList"] == []


# --- endpoints ---


@pytest.fixture
def model_arn(setup: Setup) -> str:
    return str(setup.train()["DocumentClassifierArn"])


def test_an_endpoint_is_created_and_deleted(server: LocalAWS, setup: Setup, model_arn: str) -> None:
    with standstill(server):
        created = setup.client.create_endpoint(
            EndpointName="bot", ModelArn=model_arn, DesiredInferenceUnits=2
        )
        arn = created["EndpointArn"]
        properties = setup.endpoint(arn)
        assert properties["Status"] == "CREATING"
        assert "CurrentInferenceUnits" not in properties
        with refused("ResourceUnavailableException", "CREATING"):
            setup.classify(arn, "Qui est Paul")
        with refused("ResourceInUseException"):
            setup.client.delete_document_classifier(DocumentClassifierArn=model_arn)
    properties = setup.settled(arn)
    assert properties["Status"] == "IN_SERVICE"
    assert properties["ModelArn"] == properties["DesiredModelArn"] == model_arn
    assert properties["DesiredInferenceUnits"] == properties["CurrentInferenceUnits"] == 2
    listed = setup.client.list_endpoints(Filter={"Status": "IN_SERVICE"})["EndpointPropertiesList"]
    assert [item["EndpointArn"] for item in listed] == [arn]
    with standstill(server):
        setup.client.delete_endpoint(EndpointArn=arn)
        assert setup.endpoint(arn)["Status"] == "DELETING"
        with refused("ResourceUnavailableException", "DELETING"):
            setup.classify(arn, "Qui est Paul")
    eventually(lambda: setup.client.list_endpoints()["EndpointPropertiesList"], lambda it: not it)
    for gone in (setup.endpoint, lambda arn: setup.classify(arn, "Qui est Paul")):
        with refused("ResourceNotFoundException"):
            gone(arn)


def test_an_endpoint_exists_once(setup: Setup, model_arn: str) -> None:
    request = {"EndpointName": "bot", "ModelArn": model_arn, "DesiredInferenceUnits": 1}
    arn = setup.client.create_endpoint(ClientRequestToken="one", **request)["EndpointArn"]
    assert setup.client.create_endpoint(ClientRequestToken="one", **request)["EndpointArn"] == arn
    with refused("ResourceInUseException"):
        setup.client.create_endpoint(ClientRequestToken="two", **request)
    assert len(setup.client.list_endpoints()["EndpointPropertiesList"]) == 1


def test_an_update_changes_the_model_without_a_gap(
    server: LocalAWS, setup: Setup, model_arn: str
) -> None:
    swapped = [("B" if label == "WHO_IS" else "A", text) for label, text in documents()]
    other = setup.train(to_csv(swapped), VersionName="v2")["DocumentClassifierArn"]
    arn = setup.deploy(model_arn)
    with standstill(server):
        setup.client.update_endpoint(
            EndpointArn=arn, DesiredModelArn=other, DesiredInferenceUnits=5
        )
        properties = setup.endpoint(arn)
        assert properties["Status"] == "UPDATING"
        assert (properties["ModelArn"], properties["DesiredModelArn"]) == (model_arn, other)
        with refused("ResourceInUseException", "UPDATING"):
            setup.client.update_endpoint(EndpointArn=arn, DesiredInferenceUnits=3)
        assert setup.classify(arn, "Qui est Paul Martin")[0]["Name"] == "WHO_IS"
    server.set(comprehend_throughput=0)
    try:
        eventually(
            lambda: setup.classify(arn, "Qui est Paul Martin")[0]["Name"], lambda it: it == "B"
        )
    finally:
        server.set(comprehend_throughput=1)
    properties = setup.endpoint(arn)
    assert properties["ModelArn"] == properties["DesiredModelArn"] == other
    assert properties["CurrentInferenceUnits"] == 5


@pytest.mark.parametrize("operation", ["CreateEndpoint", "UpdateEndpoint"])
def test_an_endpoint_fails_as_injected(
    aws: LocalAWS, setup: Setup, model_arn: str, operation: str
) -> None:
    aws.inject("comprehend", operation, outcome="FAILED", message="No capacity.", times=1)
    arn = setup.client.create_endpoint(
        EndpointName="bot", ModelArn=model_arn, DesiredInferenceUnits=1
    )["EndpointArn"]
    if operation == "UpdateEndpoint":
        assert setup.settled(arn)["Status"] == "IN_SERVICE"
        setup.client.update_endpoint(EndpointArn=arn, DesiredInferenceUnits=2)
    properties = setup.settled(arn)
    assert (properties["Status"], properties["Message"]) == ("FAILED", "No capacity.")
    with refused("ResourceUnavailableException", "FAILED"):
        setup.classify(arn, "Qui est Paul")


def test_an_untrained_or_missing_model_is_refused(server: LocalAWS, setup: Setup) -> None:
    request = {"EndpointName": "bot", "DesiredInferenceUnits": 1}
    with standstill(server):
        arn = setup.start()
        with refused("ResourceUnavailableException", "SUBMITTED"):
            setup.client.create_endpoint(ModelArn=arn, **request)
    with refused("ResourceNotFoundException"):
        setup.client.create_endpoint(ModelArn=arn.replace("v1", "v2"), **request)
    with refused("InvalidRequestException", "ModelArn"):
        setup.client.create_endpoint(**request)
    with refused("ValidationException", "length less than or equal to 40"):
        setup.client.create_endpoint(EndpointName="a" * 41, ModelArn=arn, DesiredInferenceUnits=1)


def test_the_number_of_units_has_a_limit(setup: Setup, model_arn: str) -> None:
    with refused("ResourceLimitExceededException"):
        setup.deploy(model_arn, units=11)


# --- classification ---


def test_units_limit_the_documents(server: LocalAWS, setup: Setup, model_arn: str) -> None:
    arn = setup.deploy(model_arn, units=1)
    server.set(comprehend_throughput=0.01)  # a document in 50 seconds
    try:
        setup.classify(arn, "?")
        with refused("ThrottlingException", "Rate exceeded") as error:
            setup.classify(arn, "?")
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        server.set(comprehend_throughput=1)
        eventually(lambda: answers(setup, arn), bool)
    finally:
        server.set(comprehend_throughput=1)


def answers(setup: Setup, arn: str) -> bool:
    with contextlib.suppress(ClientError):
        return bool(setup.classify(arn, "?"))
    return False


def test_units_limit_the_characters(setup: Setup, model_arn: str) -> None:
    arn = setup.deploy(model_arn, units=1)
    setup.classify(arn, "x" * 1000)  # ten seconds' worth
    with refused("ThrottlingException", "Rate exceeded"):
        setup.classify(arn, "x")


def test_texts_that_are_refused(setup: Setup, model_arn: str) -> None:
    arn = setup.deploy(model_arn)
    with refused("TextSizeLimitExceededException", "10240 bytes .* size is 10242 bytes"):
        setup.classify(arn, "é" * 5121)
    with refused("InvalidRequestException"):
        setup.classify(arn, " \n")
    with refused("InvalidRequestException"):
        setup.client.classify_document(EndpointArn=arn)


def test_an_empty_text_is_refused(aws: LocalAWS, setup: Setup, model_arn: str) -> None:
    arn = setup.deploy(model_arn)
    client = aws.client("comprehend", parameter_validation=False)
    with refused("ValidationException", "'text' failed to satisfy constraint: Member must have"):
        client.classify_document(EndpointArn=arn, Text="")
    with refused("ValidationException", "'endpointArn'"):
        client.classify_document(EndpointArn="skills-bot", Text="Qui est Paul")


def test_bytes_are_classified_like_text(setup: Setup, model_arn: str) -> None:
    arn = setup.deploy(model_arn)
    answer = setup.client.classify_document(EndpointArn=arn, Bytes="Qui est Léa".encode())
    assert answer["Classes"][0]["Name"] == "WHO_IS"


def test_the_number_of_classes_in_an_answer_can_be_limited(
    server: LocalAWS, setup: Setup, model_arn: str
) -> None:
    arn = setup.deploy(model_arn)
    server.set(comprehend_classes=1)
    try:
        assert len(setup.classify(arn, "Qui est Paul")) == 1
    finally:
        server.set(comprehend_classes=0)
