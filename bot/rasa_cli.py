"""The ``rasa`` command line with this project's process settings.

``python -m bot.rasa_cli run|shell|train|test …`` takes the arguments of ``rasa``. Everything that
is set here can be set from outside by the environment variable of the same name.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent

DEFAULTS = {
    # Nobody is asked whether usage may be reported to Rasa, hence nothing is.
    "RASA_TELEMETRY_ENABLED": "false",
    # TensorFlow, which Rasa imports and this bot does not use, reports the CPU's instruction sets.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Rasa 3.6 pins SQLAlchemy 1.4; what 2.0 would not take of its code is no news to users.
    "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
    # endpoints.yml names the action server by this port; Rasa's expansion knows no default value.
    "ACTIONS_PORT": "5055",
    # Seconds that the bot waits for the action server; Rasa's 300 would hold a user that long.
    "ACTION_TIMEOUT": "10",
}

# Makes Rasa's server answer `/status` (is a model loaded?) to whoever knows this token. It comes
# by the environment because a command line is readable by every user of the machine.
API_TOKEN_VARIABLE = "BOT_API_TOKEN"


def environment() -> dict[str, str]:
    """Return this process's environment with the project's settings where they are not set."""
    return {**DEFAULTS, **os.environ}


def configure_process() -> None:
    """Apply the settings to this process; call it before anything of Rasa is imported."""
    os.environ.update(environment())
    # `components` must be importable when a model is loaded, wherever the command is called from.
    if str(PROJECT_ROOT) not in sys.path:
        sys.path.insert(0, str(PROJECT_ROOT))


def set_action_timeout(seconds: float) -> None:
    """Set the time that Rasa waits for the action server, in seconds.

    Rasa has no setting for it: ``rasa.core.actions.action`` passes a module constant to each call.
    """
    import rasa.core.actions.action as action

    action.DEFAULT_REQUEST_TIMEOUT = seconds


def ignore_deprecations_of_others() -> None:
    """Go back to Python's default, which does not show users what packages deprecate.

    Sanic switches these warnings on when it is imported, so that import comes first; Rasa's main
    function switches those of pyparsing on, so matplotlib, which earns them, is imported before.
    """
    import sanic  # noqa: F401

    ours = r"(bot|components|actions)(\.|$)"
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=f"(?!{ours})")
    import matplotlib.font_manager  # noqa: F401


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
        sys.argv += ["--enable-api", "--auth-token", token]

    ignore_deprecations_of_others()
    from rasa.__main__ import main as rasa_main

    if sys.argv[1:2] and sys.argv[1] in ("run", "shell", "interactive", "test"):
        set_action_timeout(timeout)
    rasa_main()


if __name__ == "__main__":
    main()
