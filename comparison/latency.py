"""How fast a candidate answers, measured in a process of its own.

It is asked by the original experiment's protocol (4 series of 10 questions one second apart, then
10 back to back) and under sustained loads.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from comparison.results import ColdStart, Latency, Load, Speed
from comparison.settings import Spec

SERIES, QUESTIONS = 4, 10
_WARM_UP = 10

# Asks one question; returns whether there was an answer.
Ask = Callable[[str], bool]


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    spec: Spec  # the candidate
    folder: Path  # where it was trained
    questions: list[str]  # asked in turn
    threads: int  # threads that its libraries may use
    clients: list[int]  # clients at once of each sustained load
    load_seconds: float  # length of each
    pause: float  # seconds between questions that are not back to back


def measure(plan: Plan, started: float) -> dict[str, Speed]:
    """Measure in this process, started at ``started`` (seconds of the monotonic clock)."""
    from comparison import candidates

    candidates.prepare(plan.spec)
    imported = time.monotonic()
    classifier = candidates.load(plan.spec, plan.folder, plan.threads)
    loaded = time.monotonic()

    def ask(text: str) -> bool:
        return bool(classifier.rank([text])[0])

    questions = itertools.cycle(plan.questions)
    ask(next(questions))
    answered = time.monotonic()
    for _ in range(_WARM_UP):
        ask(next(questions))
        time.sleep(plan.pause / 2)  # a service that limits its rate starts rested
    speed = Speed(
        spaced=ask_in_turn(ask, questions, SERIES * QUESTIONS, plan.pause),
        pause=plan.pause,
        back_to_back=ask_in_turn(ask, questions, QUESTIONS, 0),
        load=[ask_at_once(ask, questions, clients, plan.load_seconds) for clients in plan.clients],
        resident_bytes=resident_bytes(),
        cold_start=ColdStart(
            answered - started, imported - started, loaded - imported, answered - loaded
        ),
        threads=plan.threads,
    )
    return {"speed": speed}


# --- ways to ask ------------------------------------------------------------------------------


@dataclass
class _Times:
    seconds: list[float] = field(default_factory=list)
    unanswered: int = 0

    def add(self, begin: float, answered: bool) -> None:
        self.seconds.append(time.perf_counter() - begin)
        self.unanswered += not answered

    def latency(self) -> Latency:
        p50, p95, p99 = np.percentile(self.seconds, [50, 95, 99]).tolist()
        return Latency(
            count=len(self.seconds),
            unanswered=self.unanswered,
            mean=statistics.fmean(self.seconds),
            sd=statistics.stdev(self.seconds) if len(self.seconds) > 1 else 0.0,
            p50=p50,
            p95=p95,
            p99=p99,
        )


def ask_in_turn(ask: Ask, questions: Iterator[str], count: int, pause: float) -> Latency:
    """Ask ``count`` questions one after the other, ``pause`` seconds after each answer."""
    times = _Times()
    for number in range(count):
        if number and pause:
            time.sleep(pause)
        begin = time.perf_counter()
        times.add(begin, ask(next(questions)))
    return times.latency()


def ask_at_once(ask: Ask, questions: Iterator[str], clients: int, seconds: float) -> Load:
    """Let ``clients`` ask for ``seconds``, each its next question when the last is answered.

    Rasa's server is a single event loop that waits for each component: one question is answered
    at a time, in the order of arrival, and the others wait in line. So it is here.
    """
    times = _Times()
    start = time.perf_counter()

    async def client() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(0)  # to the end of the line
            times.add(begin, ask(next(questions)))
            if time.perf_counter() - start >= seconds:
                return

    async def everyone() -> None:
        await asyncio.gather(*(client() for _ in range(clients)))

    asyncio.run(everyone())
    elapsed = time.perf_counter() - start
    latency = times.latency()
    return Load(clients, elapsed, (latency.count - latency.unanswered) / elapsed, latency)


def resident_bytes() -> int:
    """Return the resident memory of this process; where the system does not say, its maximum."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
