"""What remotely served classifiers share: cache, circuit breaker, concurrency, deadline."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from components.remote import (
    Breaker,
    Cache,
    Fault,
    Ranking,
    RemoteClassifier,
    RemoteError,
    RemoteSettings,
    State,
    normalise,
)

LABELS = ["WHO_IS", "WHO_KNOWS_ABOUT"]
RANKING: Ranking = [("WHO_IS", 0.8), ("WHO_KNOWS_ABOUT", 0.2)]


class ManualClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """A remote classifier in this process: remembers what it was asked, fails on request."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.error: Exception | None = None
        self.ranking = RANKING
        # Cleared: requests hang, as in a network that swallows everything.
        self.reachable = threading.Event()
        self.reachable.set()

    def ask(self, texts: Sequence[str]) -> list[Ranking]:
        self.requests.append(list(texts))
        self.reachable.wait()
        if self.error:
            raise self.error
        return [self.ranking for _ in texts]

    @property
    def texts(self) -> list[str]:
        return [text for request in self.requests for text in request]


def transient(code: str = "ThrottlingException") -> RemoteError:
    return RemoteError("Ask less often.", Fault.TRANSIENT, code)


def permanent(code: str = "ResourceNotFoundException") -> RemoteError:
    return RemoteError("Start the endpoint.", Fault.PERMANENT, code)


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.reachable.set()  # the pool's threads end


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


Make = Callable[..., RemoteClassifier]


@pytest.fixture
def make(service: Service, clock: ManualClock) -> Make:
    def make(batch: int = 1, **settings: Any) -> RemoteClassifier:
        limits = RemoteSettings(**{"deadline": 60, **settings})
        return RemoteClassifier(
            "The endpoint", service.ask, LABELS, limits, batch=batch, clock=clock
        )

    return make


# --- Identical texts


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("qui est Paul", "  qui \t est\u00a0Paul\n"),
        ("Maëlys", "Mae\u0308lys"),
        ("qui est ?", "qui est \ud83d"),
    ],
)
def test_texts_that_look_the_same_are_the_same(text: str, same: str) -> None:
    assert normalise(same) == text


@pytest.mark.parametrize("other", ["qui connait java", "qui connaît Java ?", "Qui connaît Java"])
def test_texts_that_may_mean_something_else_are_others(other: str) -> None:
    assert normalise(other) != normalise("qui connaît Java")


def test_an_identical_text_is_asked_once(service: Service, make: Make) -> None:
    remote = make()
    first = remote.rank(["qui est Paul", "qui  est Paul ", "ça va"])
    second = remote.rank(["qui est Paul"])
    assert first == [RANKING] * 3
    assert second == [RANKING]
    assert sorted(service.texts) == ["qui est Paul", "ça va"]


def test_the_oldest_use_makes_room() -> None:
    cache = Cache(2, 60)
    cache.put("a", RANKING)
    cache.put("b", RANKING)
    cache.get("a")
    cache.put("c", RANKING)
    assert cache.get("a") == RANKING
    assert cache.get("b") is None
    assert cache.get("c") == RANKING


def test_an_answer_is_forgotten_with_age(service: Service, make: Make, clock: ManualClock) -> None:
    remote = make(cache_seconds=10)
    remote.rank(["a"])
    clock.now += 9.9
    remote.rank(["a"])
    assert service.texts == ["a"]
    clock.now += 0.1
    remote.rank(["a"])
    assert service.texts == ["a", "a"]


def test_a_size_of_zero_remembers_nothing(service: Service, make: Make) -> None:
    remote = make(cache_size=0)
    remote.rank(["a"])
    remote.rank(["a"])
    assert service.texts == ["a", "a"]


def test_what_a_caller_does_to_an_answer_stays_with_him(make: Make) -> None:
    remote = make()
    (answer,) = remote.rank(["a"])
    assert answer is not None
    answer.clear()
    assert remote.rank(["a"]) == [RANKING]


def test_failures_are_not_remembered(service: Service, make: Make) -> None:
    remote = make()
    service.error = transient()
    assert remote.rank(["a"]) == [None]
    service.error = None
    assert remote.rank(["a"]) == [RANKING]


# --- Batches


def test_a_request_holds_no_more_texts_than_it_may(service: Service, make: Make) -> None:
    texts = [str(number) for number in range(7)]
    assert make(batch=3).rank(texts) == [RANKING] * 7
    assert sorted(map(len, service.requests)) == [1, 3, 3]
    assert sorted(service.texts) == texts


def test_the_requests_of_a_batch_are_under_way_together() -> None:
    together = threading.Barrier(4, timeout=60)

    def ask(texts: Sequence[str]) -> list[Ranking]:
        together.wait()  # breaks unless four requests are here at once
        return [RANKING]

    remote = RemoteClassifier("It", ask, LABELS, RemoteSettings(deadline=60, concurrency=4))
    assert remote.rank(list("abcd")) == [RANKING] * 4


def test_no_more_requests_are_under_way_than_allowed(service: Service, make: Make) -> None:
    service.reachable.clear()
    make(concurrency=2, deadline=0.1).rank(list("abcde"))
    assert len(service.requests) == 2


def test_each_text_gets_its_own_answer() -> None:
    def ask(texts: Sequence[str]) -> list[Ranking]:
        return [[("WHO_IS", float(text))] for text in texts]

    remote = RemoteClassifier("It", ask, LABELS, RemoteSettings(deadline=60), batch=3)
    texts = [f"0.{number}" for number in range(10, 40)]
    expected: list[Ranking] = [[("WHO_IS", float(text))] for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(remote.rank, [texts] * 16)) == [expected] * 16


def test_an_empty_batch_asks_nothing(service: Service, make: Make) -> None:
    assert make().rank([]) == []
    assert service.requests == []


# --- Deadline


def test_a_black_hole_is_left_at_the_deadline(service: Service, make: Make) -> None:
    service.reachable.clear()
    remote = make(deadline=0.05)
    assert remote.rank(["a", "b"]) == [None, None]  # returns, although no request has
    assert remote.statistics()["failures"] == {"DeadlineExceeded": 2}


def test_answers_before_the_deadline_are_kept(service: Service) -> None:
    def ask(texts: Sequence[str]) -> list[Ranking]:
        return service.ask(texts) if texts == ["lost"] else [RANKING]

    service.reachable.clear()
    remote = RemoteClassifier("It", ask, LABELS, RemoteSettings(deadline=0.5))
    assert remote.rank(["lost", "found"]) == [None, RANKING]


def test_an_answer_after_the_deadline_serves_the_next_one_who_asks(
    service: Service, make: Make
) -> None:
    service.reachable.clear()
    remote = make(deadline=0.05, concurrency=1)
    assert remote.rank(["a"]) == [None]
    service.reachable.set()
    while remote.rank(["a"]) == [None]:
        pass
    assert service.texts == ["a"] * len(service.texts)
    requests = len(service.requests)
    assert remote.rank(["a"]) == [RANKING]
    assert len(service.requests) == requests


def test_a_service_that_is_always_too_late_opens_the_breaker(service: Service, make: Make) -> None:
    remote = make(deadline=0.05, breaker_failures=3, cache_size=0)
    for _ in range(3):  # each request ends well, but after the deadline
        service.reachable.clear()
        assert remote.rank(["a"]) == [None]
        service.reachable.set()
    assert remote.state is State.OPEN


def test_a_pool_stuck_in_a_black_hole_counts_as_a_failure(service: Service, make: Make) -> None:
    service.reachable.clear()
    remote = make(deadline=0.05, concurrency=1, breaker_failures=3)
    for text in "abc":  # only the first gets a thread
        assert remote.rank([text]) == [None]
    assert service.texts == ["a"]
    assert remote.state is State.OPEN


def test_a_batch_too_large_for_the_deadline_is_no_fault_of_the_service(service: Service) -> None:
    answered = threading.Event()

    def ask(texts: Sequence[str]) -> list[Ranking]:
        if answered.is_set():
            service.reachable.wait()
        answered.set()
        return [RANKING]

    service.reachable.clear()
    limits = RemoteSettings(deadline=0.2, concurrency=1, breaker_failures=2)
    remote = RemoteClassifier("It", ask, LABELS, limits)
    answers = remote.rank([str(number) for number in range(10)])
    assert answers == [RANKING] + [None] * 9
    assert remote.state is State.CLOSED  # one was under way too long; eight never left


# --- Circuit breaker


def test_the_breaker_opens_after_failures_in_a_row(clock: ManualClock) -> None:
    breaker = Breaker(3, 30, clock)
    assert [breaker.failed() for _ in range(2)] == [False, False]
    breaker.succeeded()
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    assert breaker.state is State.OPEN
    assert not breaker.allow()


def test_one_request_tries_when_the_time_is_over(clock: ManualClock) -> None:
    breaker = Breaker(1, 30, clock)
    breaker.failed()
    clock.now += 29.9
    assert not breaker.allow()
    clock.now += 0.1
    assert breaker.state is State.HALF_OPEN
    assert [breaker.allow() for _ in range(3)] == [True, False, False]
    assert breaker.failed()
    assert breaker.state is State.OPEN
    clock.now += 30
    assert breaker.allow()
    assert breaker.succeeded()
    assert breaker.state is State.CLOSED
    assert [breaker.allow() for _ in range(3)] == [True] * 3


def test_a_try_that_nobody_waits_for_makes_room_for_another(clock: ManualClock) -> None:
    breaker = Breaker(1, 30, clock)
    breaker.failed()
    clock.now += 30
    assert [breaker.allow(), breaker.allow()] == [True, False]
    breaker.release()
    assert breaker.state is State.HALF_OPEN
    assert breaker.allow()


def test_an_answer_to_an_older_request_does_not_close_it(clock: ManualClock) -> None:
    breaker = Breaker(1, 30, clock)
    assert breaker.allow()
    assert breaker.allow()
    breaker.failed()
    assert not breaker.succeeded()
    assert breaker.state is State.OPEN


def test_a_permanent_failure_opens_it_at_once(service: Service, make: Make) -> None:
    service.error = permanent()
    remote = make(breaker_failures=5)
    remote.rank(["a"])
    assert remote.state is State.OPEN


def test_while_it_is_open_nothing_is_asked_but_the_cache_answers(
    service: Service, make: Make
) -> None:
    remote = make()
    remote.rank(["known"])
    service.error = permanent()
    remote.rank(["a"])
    assert remote.rank(["b", "known"]) == [None, RANKING]
    assert service.texts == ["known", "a"]


def test_a_batch_stops_asking_when_it_opens(service: Service, make: Make) -> None:
    service.error = transient()
    remote = make(breaker_failures=3, concurrency=1)
    assert remote.rank([str(number) for number in range(20)]) == [None] * 20
    assert service.texts == ["0", "1", "2"]


def test_the_service_is_asked_again_after_a_while(
    service: Service, make: Make, clock: ManualClock
) -> None:
    remote = make(breaker_seconds=30)
    service.error = permanent()
    remote.rank(["a"])
    clock.now += 30
    assert remote.rank(["a"]) == [None]  # still gone: one request, open again
    assert remote.state is State.OPEN
    assert service.texts == ["a", "a"]
    clock.now += 30
    service.error = None
    assert remote.rank(["a"]) == [RANKING]
    assert remote.state is State.CLOSED


def test_texts_at_fault_do_not_open_it(service: Service, make: Make) -> None:
    service.error = RemoteError("Too long.", Fault.INPUT, "TextSizeLimitExceededException")
    remote = make(breaker_failures=1)
    assert remote.rank(["a", "b"]) == [None, None]
    assert remote.state is State.CLOSED


def test_a_text_at_fault_shows_that_the_service_is_back(
    service: Service, make: Make, clock: ManualClock
) -> None:
    remote = make(breaker_seconds=30)
    service.error = permanent()
    remote.rank(["a"])
    clock.now += 30
    service.error = RemoteError("Too long.", Fault.INPUT, "TextSizeLimitExceededException")
    remote.rank(["a"])
    assert remote.state is State.CLOSED


def test_what_nobody_thought_of_is_a_failure_too(service: Service, make: Make) -> None:
    service.error = KeyError("qui est Paul")
    remote = make(breaker_failures=1)
    assert remote.rank(["qui est Paul"]) == [None]
    assert remote.state is State.OPEN


def test_a_wrong_number_of_answers_is_a_failure() -> None:
    remote = RemoteClassifier(
        "It", lambda texts: [RANKING], LABELS, RemoteSettings(deadline=60), batch=2
    )
    assert remote.rank(["a", "b"]) == [None, None]
    assert remote.statistics()["failures"] == {"WrongAnswer": 1}


# --- Unknown intents


def test_unknown_intents_are_left_out_with_one_warning(
    service: Service, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    service.ranking = [("NEW", 0.6), *RANKING]
    remote = make()
    assert remote.rank(["a", "b"]) == [RANKING] * 2
    assert remote.rank(["a", "c"]) == [RANKING] * 2
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "NEW" in record.message
    assert "Train the bot again" in record.message


def test_an_answer_of_unknown_intents_alone_is_none(service: Service, make: Make) -> None:
    service.ranking = [("NEW", 1.0)]
    assert make().rank(["a"]) == [None]


def test_no_intent_is_an_answer(service: Service, make: Make) -> None:
    service.ranking = []
    assert make().rank(["a"]) == [[]]


# --- What is to be seen of it


def test_opening_and_closing_are_logged_once(
    service: Service, make: Make, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    remote = make(breaker_failures=2, breaker_seconds=30)
    service.error = transient()
    for text in "abcde":
        remote.rank([text])
    for _ in range(3):
        clock.now += 30
        remote.rank(["f"])
    service.error = None
    clock.now += 30
    for text in "ghi":
        remote.rank([text])
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (
            "WARNING",
            "The endpoint is not asked for 30 s: Ask less often. "
            "Messages go without an intent meanwhile.",
        ),
        ("INFO", "The endpoint answers again."),
    ]


def test_another_reason_is_logged_again(
    service: Service, make: Make, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    remote = make(breaker_failures=1, breaker_seconds=30)
    for error in (transient(), transient(), permanent(), permanent()):
        service.error = error
        remote.rank(["a"])
        clock.now += 30
    assert ["Ask less" in caplog.messages[0], "Start the" in caplog.messages[1]] == [True, True]
    assert len(caplog.messages) == 2


def test_the_text_is_never_logged(
    service: Service, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    remote = make(breaker_failures=1)
    service.error = ValueError("'le secret de Paul' is not valid")
    remote.rank(["le secret de Paul"])
    assert remote.state is State.OPEN
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_statistics(service: Service, make: Make) -> None:
    remote = make(breaker_failures=2, concurrency=1)
    remote.rank(["a", "a", "b"])
    remote.rank(["a"])
    service.error = transient()
    remote.rank(["c", "d", "e"])
    remote.rank(["f"])
    assert remote.statistics() == {
        "texts": 8,
        "cached": 1,
        "unanswered": 4,
        "requests": 4,
        "opened": 1,
        "failures": {"ThrottlingException": 2},
    }
