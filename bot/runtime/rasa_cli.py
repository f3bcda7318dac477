"""The ``rasa`` command line with this project's process settings.

``python -m bot.runtime.rasa_cli run|shell|train|test …`` takes the arguments of ``rasa``.
Everything that is set here can be set from outside by the environment variable of the same name.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from bot.runtime import tensorflow_stub
from common import environment
from common.errors import UserError
from common.observability import BOT, Observability

PROJECT_ROOT = Path(__file__).resolve().parents[2]

ACTIONS_PORT_VARIABLE = "ACTIONS_PORT"
# File with the stores and the action server, where a command names none.
ENDPOINTS_VARIABLE = "BOT_ENDPOINTS"

DEFAULTS = {
    # Nobody is asked whether usage may be reported to Rasa, hence nothing is.
    "RASA_TELEMETRY_ENABLED": "false",
    # TensorFlow, where it is imported (tensorflow_stub.py), reports the CPU's instruction sets.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Rasa 3.6 pins SQLAlchemy 1.4; what 2.0 would not take of its code is no news to users.
    "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
    # Threads that wait for each other by spinning make training ten times slower on a busy machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    # The engines: endpoints.yml is for one process, endpoints.production.yml for several.
    ENDPOINTS_VARIABLE: "endpoints.yml",
    # Seconds that the bot waits for the action server; Rasa's 300 would hold a user that long.
    "ACTION_TIMEOUT": "10",
    # endpoints.production.yml: events go to nobody.
    "EVENT_BROKER_URL": "",
}

# Makes Rasa's server answer `/status` (is a model loaded?) to whoever knows this token. It comes
# by the environment because a command line is readable by every user of the machine.
API_TOKEN_VARIABLE = "BOT_API_TOKEN"


def project_environment() -> dict[str, str]:
    """Return this process's environment with the project's settings where they are not set."""
    return {**DEFAULTS, **os.environ}


def configure_process() -> None:
    """Apply the settings to this process; call it before anything of Rasa is imported."""
    os.environ.update(project_environment())
    # `components` must be importable when a model is loaded, wherever the command is called from.
    if str(PROJECT_ROOT) not in sys.path:
        sys.path.insert(0, str(PROJECT_ROOT))


def set_action_timeout(seconds: float) -> None:
    """Set the time that Rasa waits for the action server, in seconds.

    Rasa has no setting for it: ``rasa.core.actions.action`` passes a module constant to each call.
    """
    import rasa.core.actions.action as action

    action.DEFAULT_REQUEST_TIMEOUT = seconds


def reach_action_server(environ: Mapping[str, str]) -> None:
    """Have Rasa reach the action server as the environment says.

    ``ACTIONS_PORT`` replaces the port of an address on this machine, and ``ACTIONS_SECRET`` goes
    along where the endpoints name no authentication of their own.
    """
    from rasa.core.utils import AvailableEndpoints

    port, secret = (
        environ.get(ACTIONS_PORT_VARIABLE),
        environ.get(environment.ACTIONS_SECRET_VARIABLE),
    )
    read_endpoints = AvailableEndpoints.read_endpoints

    def read(endpoint_file: str) -> AvailableEndpoints:
        endpoints = read_endpoints(endpoint_file)
        if (action := endpoints.action) is not None:
            address = urlsplit(action.url or "")
            if port and environment.is_loopback(address.hostname or ""):
                netloc = f"{address.hostname}:{port}"
                action.url = urlunsplit(address._replace(netloc=netloc))
            if secret:
                action.headers.setdefault("Authorization", f"Bearer {secret}")
        return endpoints

    AvailableEndpoints.read_endpoints = staticmethod(read)


def guard(arguments: list[str]) -> list[str]:
    """Return the arguments of ``rasa run`` or ``rasa shell`` for a server that is no open door.

    Unless told otherwise it listens on the loopback interface; Rasa's default is all of them. The
    channels are told where it listens by the environment.

    Raises:
        UserError: on a public address, a channel or Rasa's HTTP API would have no authentication.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-i", "--interface")
    parser.add_argument("--credentials", default="credentials.yml")
    parser.add_argument("--connector")
    parser.add_argument("--enable-api", action="store_true")
    parser.add_argument("--auth-token")
    parser.add_argument("--jwt-secret")
    parser.add_argument("--cors", nargs="*")
    given, _ = parser.parse_known_args(arguments)
    if given.interface is None:
        given.interface = "127.0.0.1"
        arguments = [*arguments, "--interface", given.interface]
    os.environ[environment.INTERFACE_VARIABLE] = given.interface
    if environment.is_development():
        return arguments
    if given.enable_api and not (given.auth_token or given.jwt_secret):
        raise UserError(
            f"Rasa's HTTP API would be open to everybody on {given.interface}: set "
            f"{API_TOKEN_VARIABLE} instead of --enable-api, or leave the API off."
        )
    if "*" in (given.cors or []):
        raise UserError("--cors '*' would let every page call the bot; name the origins.")
    if given.connector:
        raise UserError(
            f"--connector leaves the settings in {given.credentials} out; on a public address "
            "(docs/mobile.md) channels need them."
        )
    from bot.channels.settings import require_authentication

    require_authentication(Path(given.credentials), given.interface, os.environ)
    return arguments


def with_endpoints(arguments: list[str]) -> list[str]:
    """Return the arguments of ``rasa run`` or ``rasa shell`` with the engines of the environment,
    unless they name others."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--endpoints")
    if parser.parse_known_args(arguments)[0].endpoints is not None:
        return arguments
    return [*arguments, "--endpoints", project_environment()[ENDPOINTS_VARIABLE]]


def ignore_deprecations_of_others() -> None:
    """Go back to Python's default, which does not show users what packages deprecate.

    Sanic switches these warnings on when it is imported, so that import comes first; Rasa's main
    function switches those of pyparsing on, so matplotlib, which earns them, is imported before.
    """
    import sanic  # noqa: F401

    ours = r"(bot|components|actions)(\.|$)"
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=f"(?!{ours})")
    import matplotlib.font_manager  # noqa: F401


def announce_components() -> None:
    """Have ``rasa train --quiet`` say which component it trains, and nothing else of its log."""
    trained = logging.StreamHandler(sys.stdout)
    trained.setFormatter(logging.Formatter("      %(message)s"))
    trained.addFilter(lambda record: str(record.msg).startswith("Starting to train"))
    logger = logging.getLogger("rasa.engine.training.hooks")
    logger.addHandler(trained)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def main() -> None:
    """Run Rasa's command line."""
    configure_process()
    try:
        timeout = float(os.environ["ACTION_TIMEOUT"])
    except ValueError:
        sys.exit(
            f"ACTION_TIMEOUT must be a number of seconds, not {os.environ['ACTION_TIMEOUT']!r}."
        )
    if token := os.environ.pop(API_TOKEN_VARIABLE, None):
        # One word: a token may begin with a hyphen.
        sys.argv += ["--enable-api", f"--auth-token={token}"]
    observability = None
    # The action server looks after itself (actions/server.py).
    if sys.argv[1:2] and sys.argv[1] in ("run", "shell") and sys.argv[2:3] != ["actions"]:
        try:
            sys.argv[2:] = with_endpoints(guard(sys.argv[2:]))
            observability = Observability.of(BOT, os.environ)
        except UserError as error:
            sys.exit(str(error))

    if not tensorflow_stub.is_needed_for(sys.argv[1:]):
        tensorflow_stub.leave_out()
    # No module is ever garbage: to look for some would take a tenth of the start, and then time in
    # turns for as long as the process runs.
    gc.disable()
    ignore_deprecations_of_others()
    from rasa.__main__ import main as rasa_main

    if sys.argv[1:2] and sys.argv[1] in ("run", "shell", "interactive", "test"):
        from bot.runtime import rasa_patches

        set_action_timeout(timeout)
        reach_action_server(os.environ)
        rasa_patches.install()
        import rasa.core.run
        import rasa.engine.recipes.default_components  # noqa: F401
    if sys.argv[1:2] == ["train"] and "--quiet" in sys.argv:
        announce_components()
    if observability is not None and observability.any:
        from bot.runtime import instrumentation

        instrumentation.observe(observability)
    gc.freeze()
    gc.enable()
    rasa_main()


if __name__ == "__main__":
    main()
