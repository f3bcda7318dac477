"""Steps: the parts of a turn that are measured, whatever is made of them.

::

    with step("directory", "find_people") as lookup:
        found = …
        lookup.set(outcome="found")

Without observers, which is how it is unless something is switched on, that is next to nothing.
Free of everything that observes.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Protocol

from common.trace_context import Trace, child_of, parse

# Never a text of a user, nor a name of the directory.
Value = bool | int | float | str | list[str]


class Observer(Protocol):
    """Is told of every step of this process, in the thread and the context that it runs in."""

    def begin(self, step: Step) -> None:
        """Take note of a step that begins; may set ``step.trace``."""

    def end(self, step: Step) -> None:
        """Take note of a step that has ended."""


_observers: tuple[Observer, ...] = ()
_trace: ContextVar[Trace | None] = ContextVar("trace", default=None)


class Step:
    """A part of a turn, from entering to leaving it.

    Attributes:
        name: what is done, one of a few.
        target: to what, one of many but not of countless.
        attributes: what came of it.
        error: name of what went wrong.
        parent: the trace that it is part of, with the span around it.
        trace: the same with its own span, where it has one.
        seconds: how long it took, once it has ended.
    """

    __slots__ = (
        "_begun", "_token", "attributes", "error", "name", "observed", "parent", "seconds",
        "target", "trace",
    )  # fmt: skip

    def __init__(self, name: str, target: str, parent: Trace | None, trace: Trace | None) -> None:
        self.name, self.target = name, target
        self.attributes: dict[str, Value] = {}
        self.error: str | None = None
        self.parent, self.trace = parent, trace
        self.seconds = 0.0
        # What observers keep from begin to end.
        self.observed: dict[str, Any] = {}
        self._token: Token[Trace | None] | None = None

    @property
    def title(self) -> str:
        """Name and target."""
        return f"{self.name} {self.target}" if self.target else self.name

    def set(self, **attributes: Value | None) -> None:
        """Add what is known of the step; None is left out."""
        self.attributes.update({k: v for k, v in attributes.items() if v is not None})

    def fail(self, error: str) -> None:
        """Say what went wrong, in a step that does not raise it."""
        self.error = error

    def __enter__(self) -> Step:
        for observer in _observers:
            observer.begin(self)
        self._token = _trace.set(self.trace or self.parent)
        self._begun = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._begun
        if kind is not None and self.error is None:
            self.error = kind.__name__
        if self._token is not None:
            _trace.reset(self._token)
        for observer in reversed(_observers):
            observer.end(self)


class _Nothing(Step):
    """Every step that nobody observes."""

    __slots__ = ()

    def set(self, **attributes: Value | None) -> None:
        pass

    def fail(self, error: str) -> None:
        pass

    def __enter__(self) -> Step:
        return self

    def __exit__(self, *_: object) -> None:
        pass


_NOTHING = _Nothing("", "", None, None)


def step(name: str, target: str = "") -> Step:
    """Return a step within what the present context does."""
    if not _observers:
        return _NOTHING
    return Step(name, target, _trace.get(), None)


def serve(name: str, target: str = "", traceparent: str | None = None) -> Step:
    """Return a step that always has a ``trace``: with it begins what this process does.

    The trace is that of the present context, else that of ``traceparent``, else a new one.
    """
    parent = _trace.get() or parse(traceparent)
    return Step(name, target, parent, child_of(parent))


def current_trace() -> Trace | None:
    """Return the trace of the present context, with the span that is open there."""
    return _trace.get()


def enter(trace: Trace | None) -> None:
    """Make ``trace`` that of the present context, in place of what another request left there."""
    _trace.set(trace)


def observed() -> bool:
    """Return whether anybody observes."""
    return bool(_observers)


def add(observer: Observer) -> None:
    """Tell ``observer`` of the steps of this process from now on."""
    global _observers
    _observers = (*_observers, observer)


def remove(observer: Observer) -> None:
    """Tell ``observer`` no more."""
    global _observers
    _observers = tuple(one for one in _observers if one is not observer)
