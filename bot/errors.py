"""Errors that a user can mend, and errors in logs."""

from __future__ import annotations

import traceback

#: Whether this runs in another project (docs/plugin.md).
IS_PLUGIN = __name__.startswith("skills_bot.")
#: What our command line is called: in other projects, `bot` could be theirs.
COMMAND = "skills-bot" if IS_PLUGIN else "bot"


class UserError(Exception):
    """Something that the caller can put right; the message says how.

    The command line prints it without a traceback and exits with status 1.
    """


def describe(error: BaseException) -> str:
    """Return what ``error`` is and where it happened, for a log.

    Not its message, which may quote what a user has typed; nor those of the errors behind it.
    """
    where = "".join(traceback.format_tb(error.__traceback__))
    cause = error.__cause__ or error.__context__
    behind = f"\nbecause of {describe(cause)}" if cause is not None else ""
    return f"{type(error).__qualname__}\n{where}{behind}".rstrip()
