"""Errors that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something that the caller can put right; the message says how.

    The command line prints it without a traceback and exits with status 1.
    """
