"""Fixtures of the tests of the directory."""

from tests.support.directory_command import run  # noqa: F401
