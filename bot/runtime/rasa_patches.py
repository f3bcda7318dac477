"""Takes work out of a turn that Rasa does over and over with the same result.

:func:`install` does all of it. Each function replaces one method of Rasa by one with the same
result; benchmarks/load/README.md says what each is worth.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import weakref
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from typing import Any

# Sanic closes a connection that was idle for 5 s: long before, so that no request meets the end.
IDLE_SECONDS = 2.0
# A classifier elsewhere takes its time; those here share the processors.
UNDERSTANDING_AT_ONCE = 8
# Components that keep nothing of a message: ours, and these of Rasa's.
_OURS = "components."
_STATELESS = frozenset(
    {"NLUMessageConverter", "DomainProvider", "FallbackClassifier", "RegexMessageHandler"}
)
# On a tracker: its states when they were last asked for.
_STATES = "_past_states"


def install() -> None:
    """Make turns of this process quick; call it once, before a model is loaded."""
    cache_action_schema()
    send_last_turn()
    cache_event_types()
    cache_execution_plans()
    cache_tracker_states()
    parse_in_thread_pool()
    keep_connections()


def cache_action_schema() -> None:
    """Have Rasa check what the action server answers without checking its own schema each time.

    ``RemoteAction`` calls ``jsonschema.validate``, which first validates the constant schema of the
    answer against that of schemas: some 25 times the work of checking the answer. Here that is done
    once; and each event is held against the schema of its kind, not of all 23. An answer that is
    not right is handed on to Rasa, for its error message.
    """
    from jsonschema.validators import validator_for
    from rasa.core.actions.action import RemoteAction

    schema = copy.deepcopy(RemoteAction.action_response_format_spec())
    kind = validator_for(schema)
    kind.check_schema(schema)
    # Alternatives, told apart by the constant that is the event's name.
    kinds = schema["properties"]["events"]["items"].pop("oneOf")
    frame = kind(schema)
    events = {one["properties"]["event"]["const"]: kind(one) for one in kinds}
    thorough = RemoteAction._validate_action_result

    def is_valid(answer: Any) -> bool:
        return frame.is_valid(answer) and all(
            event["event"] in events and events[event["event"]].is_valid(event)
            for event in answer.get("events", ())
        )

    def validate(action: RemoteAction, answer: Any) -> bool:
        return is_valid(answer) or thorough(action, answer)

    RemoteAction._validate_action_result = validate


class _LastTurn:
    """A tracker for the action server: of the events, those since the user's last message."""

    def __init__(self, tracker: Any) -> None:
        self._tracker, self.sender_id = tracker, tracker.sender_id

    def current_state(self, *_: Any) -> dict[str, Any]:
        events: list[dict[str, Any]] = []
        for event in reversed(self._tracker.events):
            events.insert(0, event.as_dict())
            if event.type_name == "user":
                break
        return {**self._tracker.current_state(), "events": events}


def send_last_turn() -> None:
    """Have Rasa send the action server the events of the last turn, with slots and all else.

    It sends all of the session, for actions that look at ``slots`` and
    ``latest_message``.
    """
    from rasa.core.actions.action import RemoteAction

    thorough = RemoteAction._action_call_format

    def call(action: RemoteAction, tracker: Any, domain: Any) -> dict[str, Any]:
        called: dict[str, Any] = thorough(action, _LastTurn(tracker), domain)
        return called

    RemoteAction._action_call_format = call


def cache_event_types() -> None:
    """Have Rasa remember which class an event's name stands for.

    It looks through all subclasses of ``Event``, for every event of a conversation at every turn.
    """
    from rasa.shared.core.events import Event

    thorough = Event.resolve_by_type
    known: dict[str, type[Event]] = {}

    def resolve(type_name: str, default: type[Event] | None = None) -> type[Event] | None:
        if type_name not in known:
            found = thorough(type_name, default)
            if found is None or found is default:
                return found
            known[type_name] = found
        return known[type_name]

    Event.resolve_by_type = staticmethod(resolve)


def cache_execution_plans() -> None:
    """Have Rasa run the nodes of a model in an order that is found once.

    It makes a plan for Dask's scheduler at each run, three times a turn, and Dask then runs one
    node after the other in this very thread.
    """
    from rasa.engine.exceptions import GraphRunError
    from rasa.engine.runner.dask import DaskGraphRunner

    thorough = DaskGraphRunner.run
    plans: weakref.WeakKeyDictionary[DaskGraphRunner, dict[Any, list[Any]]]
    plans = weakref.WeakKeyDictionary()

    def plan(runner: DaskGraphRunner, targets: list[str], inputs: dict[str, Any]) -> list[Any]:
        """Return (name, node, names of the nodes that it needs) in order of execution."""
        nodes = runner._graph_schema.minimal_graph_schema(targets).nodes
        needs = {name: tuple(node.needs.values()) for name, node in nodes.items()}
        order = TopologicalSorter(needs).static_order()
        return [
            (name, runner._instantiated_nodes[name], needs[name])
            for name in order
            if name in nodes and name not in inputs
        ]

    def run(
        runner: DaskGraphRunner,
        inputs: dict[str, Any] | None = None,
        targets: list[str] | None = None,
    ) -> dict[str, Any]:
        inputs, targets = inputs or {}, targets or runner._graph_schema.target_names
        if any(isinstance(value, str) for value in inputs.values()):
            return thorough(runner, inputs, targets)  # it may be the name of a node
        own, key = plans.setdefault(runner, {}), (*targets, None, *inputs)
        if key not in own:
            own[key] = plan(runner, targets, inputs)
        # As in Dask's graph: what is not there goes by its name.
        results: dict[str, Any] = {name: (name, value) for name, value in inputs.items()}
        try:
            for name, node, needs in own[key]:
                results[name] = node(*(results.get(need, need) for need in needs))
        except RuntimeError as error:
            raise GraphRunError("Error running runner.") from error
        return dict(results[target] for target in targets)

    DaskGraphRunner.run = run


def cache_tracker_states() -> None:
    """Have Rasa remember the states of a conversation until something happens in it.

    A prediction of ``RulePolicy`` replays the whole conversation for them, once for the text of the
    last message and once for its intent.
    """
    from rasa.shared.core.trackers import DialogueStateTracker

    thorough = DialogueStateTracker.past_states

    def copied(states: list[Any]) -> list[Any]:
        return [{part: dict(values) for part, values in state.items()} for state in states]

    def past_states(tracker: DialogueStateTracker, domain: Any, *which: Any, **named: Any) -> Any:
        last = tracker.events[-1] if tracker.events else None
        asked = (len(tracker.events), domain, which, named)
        known = vars(tracker).get(_STATES)
        if known is None or known[0] is not last or known[1] != asked:
            known = last, asked, thorough(tracker, domain, *which, **named)
            setattr(tracker, _STATES, known)
        return copied(known[2])

    DialogueStateTracker.past_states = past_states


def parse_in_thread_pool() -> None:
    """Have Rasa understand messages in threads, where all components of the model can take that.

    It does so on the event loop: while the network of one message is computed, or a classifier
    elsewhere is asked, every other user waits. Components of other origin than ours were written
    for that, and stay there.
    """
    from rasa.core.processor import MessageProcessor

    thorough = MessageProcessor.parse_message
    threads = ThreadPoolExecutor(UNDERSTANDING_AT_ONCE, thread_name_prefix="understanding")
    decided: weakref.WeakKeyDictionary[MessageProcessor, bool] = weakref.WeakKeyDictionary()

    async def parse_message(processor: MessageProcessor, *given: Any, **named: Any) -> Any:
        if processor not in decided:
            decided[processor] = processor.http_interpreter is None and _can_take_threads(processor)
        if not decided[processor]:
            return await thorough(processor, *given, **named)

        def run() -> Any:
            # Without another server to ask, it goes through to the end.
            try:
                thorough(processor, *given, **named).send(None)
            except StopIteration as end:
                return end.value
            raise RuntimeError("MessageProcessor.parse_message waits for something.")

        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        return await loop.run_in_executor(threads, context.run, run)

    MessageProcessor.parse_message = parse_message


def _can_take_threads(processor: Any) -> bool:
    """Whether several threads may understand messages with the model of ``processor``."""
    metadata = processor.model_metadata
    nodes = metadata.predict_schema.minimal_graph_schema([metadata.nlu_target]).nodes
    return all(
        node.uses.__module__.startswith(_OURS) or node.uses.__name__ in _STATELESS
        for node in nodes.values()
    )


def keep_connections() -> None:
    """Have Rasa keep its connections to the action server between turns.

    It opens a new one for each action.
    """
    import aiohttp
    from rasa.core.constants import DEFAULT_REQUEST_TIMEOUT
    from rasa.utils.endpoints import EndpointConfig

    connectors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.TCPConnector]
    connectors = weakref.WeakKeyDictionary()

    def session(endpoint: EndpointConfig) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in connectors:
            connectors[loop] = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
        account = endpoint.basic_auth
        return aiohttp.ClientSession(
            connector=connectors[loop],
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),  # as good as a new one for each request
            headers=endpoint.headers,
            auth=aiohttp.BasicAuth(account["username"], account["password"]) if account else None,
            timeout=aiohttp.ClientTimeout(total=DEFAULT_REQUEST_TIMEOUT),
        )

    EndpointConfig.session = session
