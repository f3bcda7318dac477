"""What the classifiers that AWS serves have in common: configuration keys, and AWS's errors."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from common.aws import AwsError
from common.config import Rule, integer, number, optional, text
from common.errors import UserError
from components.remote import Ask, Fault, RemoteClassifier, RemoteError, RemoteSettings

logger = logging.getLogger(__name__)

Client = TypeVar("Client")

DEFAULTS: dict[str, Any] = {
    # Null: that of AWS's own chain.
    "region": None,
    # Seconds to connect and to wait for an answer, and tries in all, of one request.
    "connect_timeout": 1.0,
    "read_timeout": 1.5,
    "attempts": 2,
    # The limits of all requests of a turn together, and of what is remembered.
    **dataclasses.asdict(RemoteSettings()),
}

RULES: dict[str, Rule] = {
    "region": optional(text()),
    "connect_timeout": number(0, 60, above=True),
    "read_timeout": number(0, 60, above=True),
    "attempts": integer(1, 5),
    "deadline": number(0, 60, above=True),
    "concurrency": integer(1, 64),
    "cache_size": integer(0),
    "cache_seconds": number(0, 604_800),
    "breaker_failures": integer(1),
    "breaker_seconds": number(0, 3600),
}

# Codes that say of the text, not of the service, that something is wrong with it.
_INPUT = {
    "InvalidRequestException",
    "ParamValidationError",
    "TextSizeLimitExceededException",
    "ValidationException",
}
# Codes of an endpoint that does not exist or is not in service, besides the usual ones:
# Comprehend's and SageMaker's.
_GONE = {"ResourceUnavailableException", "ValidationError"}


def client_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of :func:`common.aws.client` that a configuration asks for."""
    return {
        "connect_timeout": config["connect_timeout"],
        "read_timeout": config["read_timeout"],
        "attempts": config["attempts"],
        "connections": config["concurrency"],
    }


class RenewedClient(Generic[Client]):
    """A client that is built once, and anew after its credentials were refused.

    A client keeps the credentials, or the lack of them, with which it was built: without this, a
    bot would have to be started again to see new ones.
    """

    def __init__(self, build: Callable[[], Client]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._client: Client | None = None

    def get(self) -> Client:
        """Return the client.

        Raises:
            UserError: It cannot be built (no region, an unknown profile).
        """
        with self._lock:
            if self._client is None:
                self._client = self._build()
            return self._client

    def drop(self) -> None:
        """Have the next ``get`` build it anew."""
        with self._lock:
            self._client = None

    @contextlib.contextmanager
    def asking(self, gone: str) -> Iterator[Client]:
        """Lend the client for a request, and say what its failure means to a circuit breaker.

        Args:
            gone: What to do where the endpoint does not exist or is not in service.

        Raises:
            RemoteError: Instead of the errors of :mod:`common.aws`.
        """
        try:
            yield self.get()
        except AwsError as error:
            if error.bad_credentials:
                self.drop()
            raise _remote_error(error, gone) from error
        except UserError as error:
            raise RemoteError(str(error), Fault.PERMANENT, type(error).__name__) from error


def connect(
    name: str,
    client: RenewedClient[Any],
    ask: Ask,
    labels: Collection[str],
    config: Mapping[str, Any],
    *,
    batch: int = 1,
    max_bytes: int | None = None,
) -> RemoteClassifier:
    """Return the way to an endpoint; it is not asked for anything yet.

    Args:
        name: What is asked, for the log.
        client: What ``ask`` asks with. It is built now, since the first message shall not wait
            for it; where it cannot be, the log says so and it is tried again later.
        ask: Asks the endpoint.
        labels: The intents that the bot knows.
        config: The component's configuration, see :data:`DEFAULTS`.
        batch: Texts that one request may hold.
        max_bytes: Longer texts, in bytes of UTF-8, are never sent.
    """
    try:
        client.get()
    except UserError as error:
        logger.warning(f"{name}: {error}")
    settings = RemoteSettings.of(config)
    return RemoteClassifier(name, ask, labels, settings, batch=batch, max_bytes=max_bytes)


def label_difference(intents: Iterable[str], labels: Iterable[str]) -> str:
    """Return in words how a model's labels differ from the intents of the training data.

    Empty where they do not.
    """
    wanted, got = set(intents), set(labels)
    missing, surplus = sorted(wanted - got), sorted(got - wanted)
    parts = []
    if missing:
        parts.append(f"it does not know {', '.join(missing)}.")
    if surplus:
        parts.append(f"it knows {', '.join(surplus)} besides, without an example here.")
    return " ".join(parts)


def _remote_error(error: AwsError, gone: str) -> RemoteError:
    if error.not_found or error.code in _GONE:
        return RemoteError(f"{error} {gone}", Fault.PERMANENT, error.code)
    if error.code in _INPUT:
        return RemoteError(str(error), Fault.INPUT, error.code)
    permanent = error.bad_credentials or error.code == "NoRegionError"
    return RemoteError(str(error), Fault.PERMANENT if permanent else Fault.TRANSIENT, error.code)
