"""What a conversation asks of an intent classifier that AWS serves, as one suite for each of ours.

A test module subclasses :class:`RemoteClassifierContract` and gives it the fixtures of
:class:`~tests.support.intent_classifier_contract.IntentClassifierContract`, ``aws`` (the local AWS,
without faults), and ``hasty``: what :func:`hurried` makes of its classifier.
"""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from rasa.shared.nlu.constants import INTENT

from components.remote import State
from localaws import LocalAWS
from tests.support.intent_classifier_contract import (
    IntentClassifierContract,
    TrainedClassifier,
    check_output,
    classify,
)

QUESTION = "qui est Paul Martin"
# Patient, since the machine of a test may be busy.
PATIENT = {"connect_timeout": 60, "read_timeout": 60, "deadline": 60}


def hurried(classifier: TrainedClassifier) -> TrainedClassifier:
    """Return a classifier whose breaker lets a request try again at once."""
    config = {**classifier.config, "breaker_seconds": 0, "cache_size": 0, "attempts": 1}
    return dataclasses.replace(classifier, config=config)


def intent_of(component: Any, text: str = QUESTION) -> str | None:
    """Return the intent of a text, None where there is none."""
    (message,) = classify(component, text)
    check_output(message)
    return message.get(INTENT)["name"]


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


class RemoteClassifierContract(IntentClassifierContract):
    """The suite.

    Attributes:
        service: boto3's name of the service that answers.
        operation: Its operation.
        out_of_order: Error codes of an endpoint that may answer again.
    """

    service: str
    operation: str
    out_of_order: tuple[str, ...]

    def test_a_black_hole_is_left_at_the_deadline(
        self, aws: LocalAWS, hasty: TrainedClassifier
    ) -> None:
        component = hasty.load(deadline=0.1)
        before = len(aws.calls(operation=self.operation))
        aws.inject(self.service, self.operation, delay_seconds=30)
        assert intent_of(component) is None
        # We have an answer, the service has none yet.
        assert len(aws.calls(operation=self.operation)) == before
        assert component.remote.statistics()["failures"] == {"DeadlineExceeded": 1}

    def test_a_host_that_never_speaks_is_left_at_the_deadline(
        self, hasty: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
            component = hasty.load(deadline=0.1)
            assert [intent_of(component) for _ in range(4)] == [None] * 4
            assert component.remote.state is not State.CLOSED

    def test_a_host_that_is_gone(
        self, hasty: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))  # nobody listens
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
            component = hasty.load()
            assert intent_of(component) is None
        assert component.remote.statistics()["failures"] == {"EndpointConnectionError": 1}

    def test_an_endpoint_out_of_order(self, aws: LocalAWS, hasty: TrainedClassifier) -> None:
        for code in self.out_of_order:
            component = hasty.load()
            aws.inject(self.service, self.operation, code=code)
            assert [intent_of(component) for _ in range(4)] == [None] * 4, code
            assert component.remote.state is not State.CLOSED, code
            aws.clear_faults()
            assert intent_of(component) == "WHO_IS", code

    def test_credentials_may_come_later(
        self,
        hasty: TrainedClassifier,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with monkeypatch.context() as without:
            without.delenv("AWS_ACCESS_KEY_ID")
            without.delenv("AWS_SECRET_ACCESS_KEY")
            component = hasty.load()
            assert [intent_of(component) for _ in range(3)] == [None] * 3
            assert caplog.text.count("aws configure") == 1
        assert intent_of(component) == "WHO_IS"
