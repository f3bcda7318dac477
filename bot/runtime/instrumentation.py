"""Makes Rasa say what it does: its few methods that every turn goes through become steps.

Rasa Open Source 3.6 has no tracing. What is wrapped: ``MessageProcessor`` (a turn and its stages),
``GraphNode`` (a component), ``RemoteAction`` and ``ActionBotResponse`` (an action),
``EndpointConfig`` (whose requests carry the trace on).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any

import rasa.core.run
from rasa.core.actions.action import ActionBotResponse, RemoteAction
from rasa.core.agent import Agent
from rasa.core.channels import BUILTIN_CHANNELS
from rasa.core.channels.channel import UserMessage
from rasa.core.processor import MessageProcessor
from rasa.engine.graph import GraphComponent, GraphNode
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.nlu.classifiers.fallback_classifier import FallbackClassifier
from rasa.nlu.classifiers.regex_message_handler import RegexMessageHandler
from rasa.shared.constants import DEFAULT_NLU_FALLBACK_INTENT_NAME
from rasa.shared.core.domain import Domain
from rasa.shared.nlu.constants import TEXT
from rasa.utils.endpoints import EndpointConfig

from common import logs
from common.observability import Observability
from common.protocol import CHANNEL_NAME
from common.tracing import Step, current_trace, observed, serve, step

if TYPE_CHECKING:
    from bot.runtime.metrics import BotMetrics, LoadedModel

# Names that a client may have chosen are not repeated.
OTHER = "other"
NONE = "none"
_CHANNELS = frozenset({CHANNEL_NAME, *BUILTIN_CHANNELS})
# The nodes of components and policies; the others hand things on.
_COMPONENT_NODES = "run_"

_installed = False


def observe(observability: Observability) -> None:
    """Observe the server that this process will run by Rasa's command line."""
    if observability.json_logs:
        _take_over_logs()
    install()
    configure = rasa.core.run.configure_app

    def configure_app(*arguments: Any, **named: Any) -> Any:
        app = configure(*arguments, **named)

        def metrics() -> BotMetrics:
            from bot.runtime.metrics import BotMetrics

            return BotMetrics(lambda: loaded_model(getattr(app.ctx, "agent", None)))

        observability.attach(app, metrics)
        return app

    rasa.core.run.configure_app = configure_app


def _take_over_logs() -> None:
    """Set up our logs at the end of Rasa's own configuration of its logs, which would undo it."""
    import rasa.__main__ as command_line

    configure = command_line.configure_structlog

    def configure_structlog(*arguments: Any, **named: Any) -> None:
        configure(*arguments, **named)
        logs.install()
        logs.structured()

    command_line.configure_structlog = configure_structlog


def install() -> None:
    """Wrap Rasa's methods in this process; once is enough."""
    global _installed
    if _installed:
        return
    _installed = True
    _wrap(MessageProcessor, "handle_message", _handle_message)
    _wrap(MessageProcessor, "parse_message", _parse_message)
    _wrap(MessageProcessor, "predict_next_with_tracker_if_should", _predict)
    for method, name in (("fetch_tracker_and_update_session", "load"), ("save_tracker", "save")):
        _wrap(MessageProcessor, method, _stage(name))
    _wrap(GraphNode, "__call__", _run_component)
    _wrap(RemoteAction, "run", _run_action(remote=True))
    _wrap(ActionBotResponse, "run", _run_action(remote=False))
    _wrap(EndpointConfig, "request", _request)


def _wrap(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, wraps(original)(make(original)))


def _stage(name: str) -> Callable[[Any], Any]:
    def make(original: Callable[..., Awaitable[Any]]) -> Any:
        async def run(*arguments: Any, **named: Any) -> Any:
            with step(name):
                return await original(*arguments, **named)

        return run

    return make


def _handle_message(original: Callable[..., Awaitable[Any]]) -> Any:
    async def handle_message(processor: MessageProcessor, message: UserMessage) -> Any:
        # Channels other than ours know of no trace: it begins here.
        with serve("turn") as turn:
            channel = message.input_channel
            turn.set(
                channel=channel if channel in _CHANNELS else OTHER,
                characters=len(message.text or ""),
            )
            return await original(processor, message)

    return handle_message


def _parse_message(original: Callable[..., Awaitable[Any]]) -> Any:
    async def parse_message(
        processor: MessageProcessor, message: UserMessage, *a: Any, **n: Any
    ) -> Any:
        with step("nlu") as understanding:
            parsed = await original(processor, message, *a, **n)
            if observed():
                understanding.set(**_understood(message.text, parsed, processor.domain))
            return parsed

    return parse_message


def _understood(text: str | None, parsed: dict[str, Any], domain: Domain) -> dict[str, Any]:
    """Return what was understood, as far as the domain knows it: `/Anything` is an intent, too."""
    intent = parsed["intent"]
    name = intent.get("name") or NONE
    typed = not (text or "").startswith("/")
    kinds = {entity.get("entity") for entity in parsed["entities"]}
    return {
        "intent": name if name in domain.intents or name == NONE else OTHER,
        "confidence": float(intent.get("confidence") or 0.0),
        "entities": sorted(kind if kind in domain.entities else OTHER for kind in kinds),
        "source": "text" if typed else "button",
        "fallback": typed and name == DEFAULT_NLU_FALLBACK_INTENT_NAME,
    }


def _predict(original: Callable[..., Any]) -> Any:
    def predict(processor: MessageProcessor, tracker: Any) -> Any:
        with step("policy") as prediction:
            action, predicted = original(processor, tracker)
            prediction.set(
                action=_action_name(action),
                confidence=float(predicted.max_confidence),
                policy=predicted.policy_name,
            )
            return action, predicted

    return predict


def _run_component(original: Callable[..., Any]) -> Any:
    def run(node: GraphNode, *inputs: Any) -> Any:
        if not node._node_name.startswith(_COMPONENT_NODES):
            return original(node, *inputs)
        with step("component", node._component_class.__name__) as running:
            result = original(node, *inputs)
            if observed() and is_classifier(node._component_class):
                _classified(running, result[1])
            return result

    return run


def _classified(running: Step, messages: Any) -> None:
    """Say what the classifier found by itself, before a fallback replaces it."""
    for message in messages:
        text, intent = message.get(TEXT), message.get("intent") or {}
        if text and not text.startswith("/"):
            running.set(
                intent=intent.get("name") or NONE, confidence=float(intent.get("confidence") or 0.0)
            )


def _run_action(*, remote: bool) -> Callable[[Any], Any]:
    def make(original: Callable[..., Awaitable[Any]]) -> Any:
        async def run(action: Any, *arguments: Any, **named: Any) -> Any:
            with step("action", _action_name(action)) as running:
                running.set(remote=remote)
                try:
                    events = await original(action, *arguments, **named)
                except Exception as error:
                    # Rasa wraps what went wrong in an exception of its own.
                    running.fail(type(error.__cause__ or error.__context__ or error).__name__)
                    raise
                running.set(events=len(events))
                return events

        return run

    return make


def _action_name(action: Any) -> str:
    return str(action.name())


def _request(original: Callable[..., Awaitable[Any]]) -> Any:
    async def request(endpoint: EndpointConfig, *arguments: Any, **named: Any) -> Any:
        trace = current_trace()
        if trace is not None:
            named["headers"] = {**(named.get("headers") or {}), "traceparent": trace.traceparent}
        return await original(endpoint, *arguments, **named)

    return request


# --- the model --------------------------------------------------------------------------------


def is_classifier(component: type) -> bool:
    """Return whether ``component`` reads the intent out of what was typed."""
    apart = (FallbackClassifier, RegexMessageHandler)
    return issubclass(component, IntentClassifier) and not issubclass(component, apart)


def loaded_model(agent: Agent | None) -> LoadedModel | None:
    """Return the model of ``agent``, None where it has none."""
    from bot.runtime.metrics import LoadedModel

    processor = agent.processor if agent is not None else None
    if processor is None:
        return None
    return LoadedModel(
        [
            (type(component).__name__, getattr(component, "remote", None))
            for component in _components(processor)
            if is_classifier(type(component))
        ],
    )


def _components(processor: MessageProcessor) -> Iterator[GraphComponent]:
    nodes = getattr(processor.graph_runner, "_instantiated_nodes", {})
    for node in nodes.values():
        if node._component is not None:
            yield node._component
