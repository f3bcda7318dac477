"""What the classifiers that AWS serves have in common: configuration keys, and AWS's errors."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar

from common.aws import AwsError
from common.config import Rule, optional, text
from common.errors import UserError
from components import remote
from components.remote import Ask, Fault, RemoteClassifier, RemoteError, RemoteSettings

logger = logging.getLogger(__name__)

Client = TypeVar("Client")

DEFAULTS: dict[str, Any] = {
    # Null: that of AWS's own chain.
    "region": None,
    **remote.DEFAULTS,
}

RULES: dict[str, Rule] = {"region": optional(text()), **remote.RULES}

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


def _remote_error(error: AwsError, gone: str) -> RemoteError:
    if error.not_found or error.code in _GONE:
        return RemoteError(f"{error} {gone}", Fault.PERMANENT, error.code)
    if error.code in _INPUT:
        return RemoteError(str(error), Fault.INPUT, error.code)
    permanent = error.bad_credentials or error.code == "NoRegionError"
    return RemoteError(str(error), Fault.PERMANENT if permanent else Fault.TRANSIENT, error.code)
