"""Errors that a user can mend, and errors in logs."""

from __future__ import annotations

import traceback

#: Whether this runs in another project (docs/plugin.md).
IS_PLUGIN = __name__.startswith("skills_bot.")
#: What our command line is called: in other projects, `bot` could be theirs.
COMMAND = "skills-bot" if IS_PLUGIN else "bot"

# What of an error is said in a log.
FRAMES, CAUSES = 15, 3


class UserError(Exception):
    """Something that the caller can put right; the message says how.

    The command line prints it without a traceback and exits with status 1.
    """


def describe(error: BaseException) -> str:
    """Return what ``error`` is and where it happened, for a log.

    Not its message, which may quote what a user has typed; nor those of the errors behind it.
    """
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < CAUSES:
        # The innermost frames: of a recursion there would be a thousand.
        where = "".join(traceback.format_tb(cause.__traceback__, -FRAMES))
        parts.append(f"{type(cause).__qualname__}\n{where}".rstrip())
        cause = cause.__cause__ or cause.__context__
    return "\nbecause of ".join(parts)
