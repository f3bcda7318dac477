"""``serve``: answers SageMaker's ``GET /ping`` and ``POST /invocations`` with the served model.

Contract: Amazon SageMaker Developer Guide, "Custom Inference Code with Hosting Services". Neither
PyTorch nor Rasa is needed, and nothing is written but temporary files, so that one image suits
instances and serverless endpoints (a root file system to read only, 1 to 6 GB of memory).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import waitress

from common.config import unknown_name
from components.camembert.served_model import ServedModel, ServedModelError
from components.remote import Ranking
from infra.sagemaker.folders import Folders

logger = logging.getLogger(__name__)

# What a serverless endpoint lets through; an instance would take more.
MAXIMUM_BODY_BYTES = 4 * 1024 * 1024
# Seconds of work at most: SageMaker gives an answer 60 s.
MAXIMUM_INPUTS = 256
DEFAULT_TOP_K = 10

_THREADS = 32
# Runs of the network at once: one tokenises while the other computes. More of them would not be
# faster, since each run uses every processor, and would need more memory.
_RUNS = 2

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class RequestError(Exception):
    """A request that gets no prediction.

    Attributes:
        status: HTTP status, one of those listed above.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Application:
    """The WSGI application (PEP 3333); safe to call from several threads.

    Args:
        model: The classifier; None where it could not be loaded.
        fault: Why not.
        threads: Threads that call the application. One is left for ``/ping``, so that a busy
            container is not taken for a dead one.
    """

    def __init__(self, model: ServedModel | None, fault: str = "", threads: int = _THREADS) -> None:
        self._model = model
        self._fault = fault
        self._admitted = threading.BoundedSemaphore(threads - 1)
        self._running = threading.BoundedSemaphore(_RUNS)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, in JSON in every case."""
        try:
            status, content = 200, self._answer(environ)
        except RequestError as error:
            status, content = error.status, {"error": str(error)}
        except Exception:
            logger.exception("A request failed.")
            status, content = 500, {"error": "The classifier failed; its log says why."}
        body = json.dumps(content, ensure_ascii=False).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status} {_REASONS[status]}", headers)
        return [body]

    def _answer(self, environ: Environ) -> dict[str, Any]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path not in ("/ping", "/invocations"):
            raise RequestError(404, "There are two paths: GET /ping and POST /invocations.")
        expected = "GET" if path == "/ping" else "POST"
        if method != expected:
            raise RequestError(405, f"Use {expected} {path}.")
        if self._model is None:
            raise RequestError(503, self._fault)
        if path == "/ping":
            return {}
        if not self._admitted.acquire(blocking=False):
            raise RequestError(429, "Too many requests at once: add instances, or try again later.")
        try:
            texts, top_k = parse(_read(environ))
            with self._running:
                rankings = self._model.rank(texts)
        finally:
            self._admitted.release()
        return {"predictions": [_prediction(ranking[: top_k or None]) for ranking in rankings]}


def _read(environ: Environ) -> bytes:
    kind = environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(415, f"The content type is '{kind}'; send application/json.")
    if int(environ.get("CONTENT_LENGTH") or 0) > MAXIMUM_BODY_BYTES:
        raise RequestError(
            413, f"The body is larger than {MAXIMUM_BODY_BYTES} bytes: send fewer texts at once."
        )
    return environ["wsgi.input"].read()


def parse(body: bytes) -> tuple[list[str], int]:
    """Return the texts of a request, and how many intents to name for each (0: all).

    Args:
        body: ``{"inputs": ["text", …], "parameters": {"top_k": 10}}``; one text may stand without
            the list, and the parameters may be left out.

    Raises:
        RequestError: It is something else; the message says what to send.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"The body is not JSON in UTF-8: {error}.") from error
    if not isinstance(content, dict) or "inputs" not in content:
        raise RequestError(422, 'Send an object: {"inputs": ["text", …]}.')
    parameters = content.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(422, "'parameters' must be an object, such as {\"top_k\": 3}.")
    _refuse_unknown(content, {"inputs", "parameters"})
    _refuse_unknown(parameters, {"top_k"})
    texts = [content["inputs"]] if isinstance(content["inputs"], str) else content["inputs"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RequestError(422, "'inputs' must be a text or a list of texts.")
    if not texts:
        raise RequestError(422, "'inputs' is empty: send at least one text.")
    if len(texts) > MAXIMUM_INPUTS:
        raise RequestError(
            413, f"{len(texts)} texts are too many at once: send at most {MAXIMUM_INPUTS}."
        )
    top_k = parameters.get("top_k", DEFAULT_TOP_K)
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 0:
        raise RequestError(422, "'top_k' must be a whole number of at least 0 (0: all intents).")
    return texts, top_k


def _refuse_unknown(given: dict[str, Any], known: set[str]) -> None:
    for key in given:
        if key not in known:
            raise RequestError(422, f"'{key}' is not known. {unknown_name(key, known)}")


def _prediction(ranking: Ranking) -> dict[str, Any]:
    """Return a text's answer; a text of which the vocabulary knows nothing has no intent."""
    intents = [{"name": name, "confidence": confidence} for name, confidence in ranking]
    return {
        "intent": intents[0] if intents else {"name": None, "confidence": 0.0},
        "intent_ranking": intents,
    }


def main() -> int:
    """Serve the model that SageMaker has unpacked, until SIGTERM."""
    folder = Folders.from_environment().model
    try:
        application = Application(ServedModel(folder, threads=len(os.sched_getaffinity(0))))
    except ServedModelError as error:
        # Told by /ping, rather than by a container that SageMaker starts again and again.
        logger.error(error)
        application = Application(None, fault=str(error))
    run(application, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    return 0


def run(application: Application, port: int) -> None:
    """Serve until SIGTERM; requests that are being answered then get up to 5 s to end."""
    server = waitress.create_server(
        application,
        host="0.0.0.0",
        port=port,
        threads=_THREADS,
        # The application refuses sooner, and in JSON; this bounds what is stored.
        max_request_body_size=4 * MAXIMUM_BODY_BYTES,
    )
    # `run` ends on SystemExit, after the requests that are being answered.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logger.info("Ready.")
    server.run()
