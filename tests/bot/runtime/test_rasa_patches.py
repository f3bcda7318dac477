"""What is left out of a turn changes nothing in its result."""

from __future__ import annotations

import asyncio
import contextvars
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from rasa.core.actions.action import RemoteAction
from rasa.core.agent import Agent
from rasa.core.channels.channel import UserMessage
from rasa.core.processor import MessageProcessor
from rasa.engine.exceptions import GraphRunError
from rasa.engine.runner.dask import DaskGraphRunner
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    Event,
    SlotSet,
    UserUtteranceReverted,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.utils.common import all_subclasses
from rasa.utils.endpoints import ClientResponseError, EndpointConfig

from bot.runtime import rasa_patches
from bot.runtime.rasa_patches import (
    cache_action_schema,
    cache_event_types,
    cache_execution_plans,
    cache_tracker_states,
    keep_connections,
    parse_in_thread_pool,
    send_last_turn,
)
from tests.support import HOST

GOOD = [
    {},
    {"events": [], "responses": []},
    {"events": [{"event": "slot", "name": "person", "value": None, "timestamp": None}],
     "responses": [{"response": "utter_greet"}]},
]  # fmt: skip
BAD: list[Any] = [
    [],
    {"events": {}},
    {"events": [{"event": "slot", "name": 1}]},
    {"events": [{"name": "person"}]},
    {"responses": ["utter_greet"]},
    {"events": [{"event": "unheard-of"}]},
    {"events": [{"event": "slot", "name": "a", "value": 1}, {"event": "entities"}]},
]


@pytest.fixture
def quick() -> Iterator[RemoteAction]:
    original = RemoteAction._validate_action_result
    cache_action_schema()
    yield RemoteAction("action_who_is", None)
    RemoteAction._validate_action_result = original


@pytest.mark.parametrize("answer", [*GOOD, *BAD])
def test_answers_are_judged_as_by_rasa(quick: RemoteAction, answer: Any) -> None:
    spec = RemoteAction.action_response_format_spec()
    assert Draft202012Validator(spec).is_valid(answer) == (answer in GOOD)
    if answer in GOOD:
        assert quick._validate_action_result(answer) is True
    else:
        with pytest.raises(ValidationError, match="Failed to validate Action server response"):
            quick._validate_action_result(answer)


def test_the_schema_is_not_checked_again(
    quick: RemoteAction, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the schema was checked")

    monkeypatch.setattr(Draft202012Validator, "check_schema", refuse)
    for answer in GOOD:
        assert quick._validate_action_result(answer)


def test_the_action_server_is_sent_the_last_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = {"person": {"type": "text", "mappings": [{"type": "custom"}]}}
    domain = Domain.from_dict({"intents": ["ask"], "slots": slots, "actions": ["action_who_is"]})
    tracker = DialogueStateTracker("me", domain.slots)
    action, asked = RemoteAction("action_who_is", None), []
    thorough = RemoteAction._action_call_format
    monkeypatch.setattr(RemoteAction, "_action_call_format", thorough)
    send_last_turn()
    for number in range(30):
        for event in (
            UserUttered(f"Qui ? {number}", {"name": "ask"}, input_channel="mobile"),
            ActionExecuted("action_who_is"),
            SlotSet("person", f"Zoé {number}"),
        ):
            tracker.update(event, domain)
        asked.append(action._action_call_format(tracker, domain))
        whole = thorough(action, tracker, domain)
        assert asked[-1]["tracker"].pop("events") == whole["tracker"].pop("events")[-3:]
        assert asked[-1] == whole
    assert asked[-1]["tracker"]["slots"]["person"] == "Zoé 29"
    empty = DialogueStateTracker("you", domain.slots)
    assert action._action_call_format(empty, domain)["tracker"]["events"] == []


# --- events -----------------------------------------------------------------------------------


@pytest.fixture
def original_events(monkeypatch: pytest.MonkeyPatch) -> Any:
    original = Event.resolve_by_type
    monkeypatch.setattr(Event, "resolve_by_type", staticmethod(original))
    cache_event_types()
    return original


def test_events_are_found_as_by_rasa(original_events: Any) -> None:
    names = [kind.type_name for kind in all_subclasses(Event)]
    assert len(names) > 10
    for name in (*names, *names, "topic"):
        assert Event.resolve_by_type(name) is original_events(name)
    assert Event.resolve_by_type("unheard-of", SlotSet) is SlotSet
    # A default of one call is nothing to remember.
    assert Event.resolve_by_type("unheard-of", UserUttered) is UserUttered
    with pytest.raises(ValueError, match="unheard-of"):
        Event.resolve_by_type("unheard-of")


# --- the graph --------------------------------------------------------------------------------


def test_graphs_give_the_same(
    rules_model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both targets of a real model, and what goes wrong."""
    agent = Agent.load(rules_model)
    assert agent.processor is not None
    runner, metadata = agent.processor.graph_runner, agent.processor.model_metadata
    tracker = asyncio.run(agent.tracker_store.get_or_create_tracker("me"))

    def run(text: str) -> list[Any]:
        message = UserMessage(text)
        inputs = {"__message__": [message], "__tracker__": tracker}
        nlu = runner.run(inputs, targets=[metadata.nlu_target])
        core = runner.run({"__tracker__": tracker}, targets=[metadata.core_target])
        both = runner.run(inputs, targets=[metadata.core_target, "__tracker__"])
        (parsed,) = nlu[metadata.nlu_target]
        policies = [result[metadata.core_target] for result in (core, both)]
        assert both["__tracker__"] is tracker
        return [
            [*nlu, *core, *both],
            parsed.as_dict(only_output_properties=True),
            [(one.policy_name, one.probabilities) for one in policies],
        ]

    texts = ["Qui connaît Java ?", '/WHO_IS{"person": "Paul Martin"}', ""]
    before = [run(text) for text in texts]
    monkeypatch.setattr(DaskGraphRunner, "run", DaskGraphRunner.run)
    cache_execution_plans()
    assert [run(text) for text in [*texts, *texts]] == [*before, *before]
    with pytest.raises(GraphRunError, match="Missing input"):
        runner.run({}, targets=[metadata.core_target])
    with pytest.raises(GraphRunError, match="clashes"):
        runner.run({"__tracker__": metadata.core_target}, targets=[metadata.core_target])


def test_states_are_those_of_rasa(monkeypatch: pytest.MonkeyPatch) -> None:
    intents = {"intents": ["ask", "greet"], "actions": ["action_answer"]}
    domain = Domain.from_dict({**intents, "slots": {"seen": {"type": "bool", "mappings": []}}})
    tracker = DialogueStateTracker("me", domain.slots)
    events = [
        UserUttered("Bonjour", {"name": "greet"}),
        ActionExecuted("action_answer"),
        SlotSet("seen", True),
        ActionExecuted("action_listen"),
        UserUttered("Qui ?", {"name": "ask"}),
        UserUtteranceReverted(),
    ]
    replays = []
    thorough = DialogueStateTracker.past_states

    def counted(*arguments: Any, **named: Any) -> Any:
        replays.append(arguments)
        return thorough(*arguments, **named)

    monkeypatch.setattr(DialogueStateTracker, "past_states", counted)
    cache_tracker_states()
    for number, event in enumerate(events, start=1):
        tracker.update(event, domain)
        for omit in (False, True):
            expected = thorough(tracker, domain, omit_unset_slots=omit)
            for _ in range(3):
                states = tracker.past_states(domain, omit_unset_slots=omit)
                assert states == expected
                for state in states:  # as featurizers do
                    for values in state.values():
                        values["text"] = "…"
                    state["slots"] = {}
        assert len(replays) == 2 * number
    assert tracker.copy().past_states(domain) == thorough(tracker, domain)


# --- threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "others"])
def test_messages_are_understood_in_threads(
    rules_model: str,
    monkeypatch: pytest.MonkeyPatch,
    ours: bool,
) -> None:
    """Several at once, the event loop free meanwhile; not with components that are not ours."""
    monkeypatch.setattr(MessageProcessor, "parse_message", MessageProcessor.parse_message)
    monkeypatch.setattr(rasa_patches, "_OURS", ("components.", "rasa.") if ours else "components.")
    agent = Agent.load(rules_model)
    processor = agent.processor
    assert processor is not None
    # Three of them must be there at once, or none goes on.
    meeting, seen = threading.Barrier(3 if ours else 1), set()
    parse = processor._parse_message_with_graph

    def wait_for_others(*arguments: Any, **named: Any) -> Any:
        meeting.wait(timeout=60)
        seen.add((threading.get_ident(), who.get()))
        return parse(*arguments, **named)

    monkeypatch.setattr(processor, "_parse_message_with_graph", wait_for_others)
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
    texts = ['/WHO_IS{"person": "Paul Martin"}', "Qui connaît Java ?", ""]

    async def understand(text: str) -> Any:
        who.set(text)
        return await processor.parse_message(UserMessage(text))

    async def all_of_them() -> Any:
        return await asyncio.gather(*map(understand, texts))

    parse_in_thread_pool()
    found = asyncio.run(all_of_them())
    assert [one["text"] for one in found] == texts
    assert {name for _, name in seen} == set(texts)  # the context of each has come along
    threads = {thread for thread, _ in seen}
    assert len(threads) == (3 if ours else 1)
    assert (threading.get_ident() in threads) is not ours


def test_our_model_is_understood_in_threads(trained_model: Path) -> None:
    agent = Agent.load(str(trained_model))
    assert rasa_patches._can_take_threads(agent.processor)


# --- connections ------------------------------------------------------------------------------


class _Actions(http.server.BaseHTTPRequestHandler):
    """Says who asks from which port; refuses whoever comes without the secret."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = f'{{"port": {self.client_address[1]}}}'.encode()
        self.send_response(200 if self.headers["Authorization"] == "Bearer s" else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Set-Cookie", "a=b")
        self.send_header("Content-Length", str(len(body)))
        if "Cookie" in self.headers or self.path == "/last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_connections_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EndpointConfig, "session", EndpointConfig.session)
    keep_connections()
    server = http.server.ThreadingHTTPServer((HOST, 0), _Actions)
    threading.Thread(target=server.serve_forever).start()
    url = f"http://{HOST}:{server.server_address[1]}"
    good = EndpointConfig(url, headers={"Authorization": "Bearer s"})

    async def ports(*paths: str) -> list[int]:
        return [(await good.request(subpath=path, json={}))["port"] for path in paths]

    async def ask() -> None:
        first, second, third = await ports("", "", "last")
        assert first == second == third
        # The server has closed it: the next request meets a new one.
        (fourth,) = await ports("")
        assert fourth != first
        with pytest.raises(ClientResponseError):
            await EndpointConfig(url).request(json={})
        at_once = await asyncio.gather(*(ports("") for _ in range(5)))
        assert len({port for (port,) in at_once}) > 1

    try:
        asyncio.run(ask())
        asyncio.run(ask())  # a loop has connections of its own
    finally:
        server.shutdown()
        server.server_close()


# --- where it is done -------------------------------------------------------------------------

ASK = """
import gc, sys, rasa.__main__
from bot.runtime import rasa_cli
def report():
    print(gc.isenabled(), gc.get_freeze_count() > 10_000)
    from rasa.core.actions.action import RemoteAction
    from rasa.core.processor import MessageProcessor
    from rasa.engine.runner.dask import DaskGraphRunner
    from rasa.shared.core.events import Event
    from rasa.shared.core.trackers import DialogueStateTracker
    from rasa.utils.endpoints import EndpointConfig
    patched = (RemoteAction._validate_action_result, RemoteAction._action_call_format,
               DaskGraphRunner.run, Event.resolve_by_type, EndpointConfig.session,
               DialogueStateTracker.past_states,
               MessageProcessor.parse_message)
    print(*(method.__module__ for method in patched))
rasa.__main__.main = report
rasa_cli.main()
"""


def test_a_bot_that_runs_is_quick() -> None:
    command = [sys.executable, "-c", ASK, "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.split()[-7:] == ["bot.runtime.rasa_patches"] * 7, done.stderr[-2000:]
    # Python collects garbage, and does not look for it among modules.
    assert done.stdout.split()[-9:-7] == ["True", "True"]
