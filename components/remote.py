"""What a classifier that is served elsewhere needs so that a conversation does not suffer from it.

Rasa calls a component on its event loop: while one message waits for an answer, every user waits.
Hence a deadline that holds whatever the network does, a circuit breaker that stops asking a
service that does not answer, and a cache of the texts that were asked before. Free of Rasa and of
any service: :class:`RemoteClassifier` is given a function that asks.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
import threading
import time
import traceback
import unicodedata
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from common.config import Rule, integer, number

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
# Intents with their scores (0 to 1), best first.
Ranking = list[tuple[str, float]]
# Asks a classifier; one ranking a text, in order.
Ask = Callable[[Sequence[str]], list[Ranking]]

_COUNTERS = ("texts", "cached", "unanswered", "requests", "opened")


class Fault(enum.Enum):
    """What a failed request says of the service."""

    TRANSIENT = "transient"  # it may answer the next time: throttling, a timeout, an error 500
    PERMANENT = "permanent"  # it will not before somebody acts: deleted, no credentials
    INPUT = "input"  # it is well; this text is not for it


class RemoteError(Exception):
    """A request that failed; the message says why and what to do.

    Attributes:
        fault: What it says of the service.
        code: A short name of the reason, such as ``ThrottlingException``; it names a counter.
    """

    def __init__(self, message: str, fault: Fault, code: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.code = code


@dataclasses.dataclass(frozen=True)
class RemoteSettings:
    """Limits of a :class:`RemoteClassifier`.

    Attributes:
        deadline: Seconds after which a batch is answered with what there is.
        concurrency: Requests under way at once.
        cache_size: Texts remembered; 0 remembers none.
        cache_seconds: Age at which an answer is forgotten.
        breaker_failures: Failures in a row after which nothing is asked for a while.
        breaker_seconds: How long that is, before one request tries again.
    """

    deadline: float = 2.0
    concurrency: int = 4
    cache_size: int = 10_000
    cache_seconds: float = 3600.0
    breaker_failures: int = 3
    breaker_seconds: float = 30.0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RemoteSettings:
        """Take the settings out of a component's configuration, where they have these names."""
        return cls(**{field.name: config[field.name] for field in dataclasses.fields(cls)})


# The configuration of a classifier that asks a service: keys, their defaults and rules.
DEFAULTS: dict[str, Any] = {
    # Seconds to connect and to wait for an answer, and tries in all, of one request.
    "connect_timeout": 1.0,
    "read_timeout": 1.5,
    "attempts": 2,
    # The limits of all requests of a turn together, and of what is remembered.
    **dataclasses.asdict(RemoteSettings()),
}

RULES: dict[str, Rule] = {
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


def normalise(text: str) -> str:
    """Return the form of a text under which it is asked and remembered.

    Unicode NFC, runs of white space as one space, none at the ends: differences that a keyboard
    makes and no reader sees. Case and accents stay, since a model may tell « java » from « Java »;
    what is remembered is thus exactly what the service would answer. Lone surrogates (half an
    emoji), which no service takes, become question marks.
    """
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(unicodedata.normalize("NFC", encodable).split())


class Cache:
    """The rankings of the texts asked last; the one not used for longest makes room."""

    def __init__(self, size: int, seconds: float, clock: Clock = time.monotonic) -> None:
        self._size = size
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[float, Ranking]] = OrderedDict()

    def get(self, text: str) -> Ranking | None:
        """Return what was put, unless it is too old or was dropped."""
        with self._lock:
            entry = self._entries.get(text)
            if entry is None:
                return None
            stored, ranking = entry
            if self._clock() - stored >= self._seconds:
                del self._entries[text]
                return None
            self._entries.move_to_end(text)
            return ranking

    def put(self, text: str, ranking: Ranking) -> None:
        """Remember a ranking."""
        with self._lock:
            self._entries[text] = (self._clock(), ranking)
            self._entries.move_to_end(text)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


class State(enum.Enum):
    """Of a circuit breaker."""

    CLOSED = "closed"  # everything is asked
    OPEN = "open"  # nothing is asked
    HALF_OPEN = "half-open"  # one request tries whether the service is back


class Breaker:
    """Decides whether a service is asked at all, from how its last answers went.

    Args:
        failures: Transient failures in a row that open it; a permanent one does at once.
        seconds: How long it stays open before one request tries.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, failures: int, seconds: float, clock: Clock = time.monotonic) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened: float | None = None
        self._trying = False

    @property
    def state(self) -> State:
        """The present state; OPEN turns to HALF_OPEN by time alone."""
        with self._lock:
            return self._state()

    def _state(self) -> State:
        if self._opened is None:
            return State.CLOSED
        waited = self._clock() - self._opened >= self._seconds
        return State.HALF_OPEN if waited else State.OPEN

    def allow(self) -> bool:
        """Whether to ask now. After True, ``succeeded``, ``failed`` or ``release`` must follow."""
        with self._lock:
            state = self._state()
            if state is State.HALF_OPEN and not self._trying:
                self._trying = True
                return True
            return state is State.CLOSED

    def succeeded(self) -> bool:
        """Note an answer; return whether it closed the breaker."""
        with self._lock:
            if self._state() is State.OPEN:  # asked before it opened
                return False
            closed = self._opened is not None
            self._failures, self._opened, self._trying = 0, None, False
            return closed

    def failed(self, *, permanent: bool = False) -> bool:
        """Note a failure; return whether it opened the breaker, or opened it again."""
        with self._lock:
            state = self._state()
            self._failures += 1
            if state is State.OPEN or (
                state is State.CLOSED and not permanent and self._failures < self._limit
            ):
                return False
            self._opened, self._trying = self._clock(), False
            return True

    def release(self) -> None:
        """Note that nobody waits for the answer any longer, so that another request may try."""
        with self._lock:
            self._trying = False


class _Call:
    """One request; settled once, either by its thread or by whoever will not wait any longer."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self._settled = False
        self._lock = threading.Lock()

    def settle(self) -> bool:
        """Return whether the outcome is the caller's to note: it is the first one's alone."""
        with self._lock:
            first, self._settled = not self._settled, True
            return first


class RemoteClassifier:
    """Asks a remote classifier within limits; safe to use from several threads.

    Args:
        name: What is asked, for the log: ``"The Comprehend endpoint 'skills-bot'"``.
        ask: Asks the service, from several threads at once; it raises :class:`RemoteError`, and
            must end some day by timeouts of its own.
        labels: The intents that the bot knows; others are left out of the rankings.
        settings: The limits.
        batch: Texts that one request may hold.
        max_bytes: Longer texts, in bytes of UTF-8, are never sent; None sends all.
        clock: Seconds of a clock that never goes back.

    Attributes:
        has_fallback: Whether another classifier answers what the service leaves unanswered; for
            the log.
    """

    def __init__(
        self,
        name: str,
        ask: Ask,
        labels: Collection[str],
        settings: RemoteSettings,
        *,
        batch: int = 1,
        max_bytes: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._name = name
        self._ask = ask
        self._labels = frozenset(labels)
        self._settings = settings
        self._batch = batch
        self._max_bytes = max_bytes
        self.has_fallback = False
        self._cache = Cache(settings.cache_size, settings.cache_seconds, clock)
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_seconds, clock)
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="remote")
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._unknown: set[str] = set()
        self._warned_of_length = False
        self._reported: str | None = None

    @property
    def state(self) -> State:
        """The state of the circuit breaker."""
        return self._breaker.state

    def statistics(self) -> dict[str, Any]:
        """Return what happened so far, for metrics.

        ``texts`` asked for; of these ``cached`` and ``unanswered``; ``requests`` sent;
        ``failures`` by code; how often the breaker ``opened``.
        """
        with self._lock:
            counted = {key: self._counts[key] for key in _COUNTERS}
            return {**counted, "failures": dict(self._failures)}

    def rank(self, texts: Sequence[str]) -> list[Ranking | None]:
        """Return the ranking of each text; None where there is no answer, or none that is known.

        Takes no longer than the deadline. Identical texts are asked once. What the service does
        wrong is logged, never raised.
        """
        keys = [normalise(text) for text in texts]
        answers: dict[str, Ranking] = {}
        missing = []
        for key in dict.fromkeys(keys):
            known = self._cache.get(key)
            if known is not None:
                answers[key] = known
            elif self._fits(key):
                missing.append(key)
        cached = sum(key in answers for key in keys)
        if missing and self.state is not State.OPEN:
            answers.update(self._ask_all(missing))
        rankings = [answers.get(key) for key in keys]
        self._count(texts=len(keys), cached=cached, unanswered=rankings.count(None))
        return [None if one is None else self._known(one) for one in rankings]

    def _fits(self, text: str) -> bool:
        if self._max_bytes is None or len(text.encode()) <= self._max_bytes:
            return True
        with self._lock:
            news, self._warned_of_length = not self._warned_of_length, True
        if news:
            logger.warning(
                f"{self._name} takes no text of more than {self._max_bytes} bytes: such messages "
                "are not sent. Limit their length where they come in."
            )
        return False

    def _ask_all(self, texts: list[str]) -> dict[str, Ranking]:
        """Ask within the deadline; texts without an answer are missing from the result."""
        calls = {
            self._pool.submit(self._run, call): call
            for call in (
                _Call(texts[start : start + self._batch])
                for start in range(0, len(texts), self._batch)
            )
        }
        done, late = wait(calls, timeout=self._settings.deadline)
        self._give_up({future: calls[future] for future in late}, some_ended=bool(done))
        answers: dict[str, Ranking] = {}
        for future in done:
            answers.update(future.result())
        return answers

    def _run(self, call: _Call) -> dict[str, Ranking]:
        """Ask for the texts of ``call``, in a thread of the pool; never raises."""
        if not self._breaker.allow():
            return {}
        self._count(requests=1)
        try:
            rankings = self._ask(call.texts)
            if len(rankings) != len(call.texts):
                raise RemoteError(
                    f"{len(rankings)} answers came for {len(call.texts)} texts: another model "
                    "than the bot expects is behind it.",
                    Fault.TRANSIENT,
                    "WrongAnswer",
                )
        except RemoteError as error:
            self._end(call, error)
            return {}
        except Exception as error:  # a turn that raises leaves the user without any answer
            # Without the error's own message, which may quote the text.
            logger.debug("".join(traceback.format_tb(error.__traceback__)))
            code = type(error).__name__
            self._end(call, RemoteError(f"it failed with {code}.", Fault.TRANSIENT, code))
            return {}
        answers = dict(zip(call.texts, rankings, strict=True))
        for text, ranking in answers.items():  # late ones as well: they may be asked for again
            self._cache.put(text, ranking)
        self._end(call)
        return answers

    def _end(self, call: _Call, error: RemoteError | None = None) -> None:
        """Take note of how a request ended, unless it was given up before."""
        if not call.settle():
            self._breaker.release()
        elif error:
            self._note(error)
        else:
            self._answered()

    def _give_up(self, calls: Mapping[Future[Any], _Call], *, some_ended: bool) -> None:
        """Wait no longer for ``calls``: those under way count as failures."""
        error = RemoteError(
            f"no answer within {self._settings.deadline:g} s. Check the network, or raise "
            "'deadline'.",
            Fault.TRANSIENT,
            "DeadlineExceeded",
        )
        waiting = [call for future, call in calls.items() if not future.cancel()]
        for call in waiting:
            if call.settle():
                self._note(error)
        if calls and not waiting and not some_ended:
            # Not one thread was free: all still hang in requests given up before.
            self._note(error)

    def _answered(self) -> None:
        if self._breaker.succeeded():
            logger.info(f"{self._name} answers again.")

    def _note(self, error: RemoteError) -> None:
        """Count a failure and tell the breaker; log where that changes something."""
        with self._lock:
            self._failures[error.code] += 1
        if error.fault is Fault.INPUT:
            logger.debug(f"{self._name}: {error}")
            self._answered()
            return
        before = self.state
        if not self._breaker.failed(permanent=error.fault is Fault.PERMANENT):
            logger.debug(f"{self._name}: {error}")
            return
        with self._lock:
            news = before is State.CLOSED or error.code != self._reported
            self._reported = error.code
        self._count(opened=1)
        meanwhile = (
            "The fallback answers meanwhile."
            if self.has_fallback
            else "Messages go without an intent meanwhile."
        )
        logger.log(
            logging.WARNING if news else logging.DEBUG,
            f"{self._name} is not asked for {self._settings.breaker_seconds:g} s: {error} "
            f"{meanwhile}",
        )

    def _known(self, ranking: Ranking) -> Ranking | None:
        """Return ``ranking`` without the intents that the bot does not know; None if all are."""
        unknown = {name for name, _ in ranking if name not in self._labels}
        with self._lock:
            news = unknown - self._unknown
            self._unknown |= news
        if news:
            logger.warning(
                f"{self._name} answers intents that this model of the bot was not trained with: "
                f"{', '.join(sorted(news))}. They are left out. Train the bot again, so that "
                "both know the same."
            )
        known = [(name, score) for name, score in ranking if name not in unknown]
        return known or (None if unknown else [])

    def _count(self, **increments: int) -> None:
        with self._lock:
            self._counts.update(increments)


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
