"""A directory that lives elsewhere: behind an address of HTTP, or in a database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from actions.directory.files import Row, read_rows, table_rows
from actions.directory.model import InvalidFileError
from common.spreadsheets import Say, text_of

# Seconds: to connect, and between two pieces of an answer.
_TIMEOUT = (10, 60)


@contextmanager
def rows_behind(
    address: str,
    query: str | None,
    *,
    token: str | None = None,
    columns: Mapping[str, str] | None = None,
    say: Say | None = None,
) -> Iterator[tuple[Iterator[Row], str]]:
    """The people behind ``address``, and what to call it: without password and parameters.

    All of them were fetched before anything is yielded.

    Raises:
        InvalidFileError: they can't be had, or not all of them.
    """
    if address.startswith(("http://", "https://")):
        if query:
            raise InvalidFileError("A query is for a database; the source is an address of HTTP.")
        name = urlsplit(address)._replace(netloc=urlsplit(address).netloc.rpartition("@")[2])
        shown = name._replace(query="", fragment="").geturl()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"people{Path(name.path).suffix.lower()}"
            _download(address, shown, token, path)
            yield read_rows(path, columns=columns, say=say), shown
        return
    lines, shown = _selected(address, query)
    yield table_rows(shown, lines, columns, say), shown


def _download(address: str, shown: str, token: str | None, path: Path) -> None:
    import requests

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with requests.get(address, headers=headers, timeout=_TIMEOUT, stream=True) as answer:
            if answer.status_code != 200:
                cure = "; is the token right?" if answer.status_code in (401, 403) else ""
                raise InvalidFileError(f"{shown} answers {answer.status_code}{cure}.")
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise InvalidFileError(
                    f"{shown} is a web page and no file of people; does it ask for a token?"
                )
            with path.open("wb") as file:
                for piece in answer.iter_content(1 << 16):
                    file.write(piece)
    except requests.RequestException as error:
        # Not its message, which repeats the whole address.
        raise InvalidFileError(
            f"{shown} did not answer, or not to the end ({type(error).__name__}); nothing was "
            "changed. Try again."
        ) from None


def _selected(address: str, query: str | None) -> tuple[Iterator[tuple[int, list[Any]]], str]:
    """The answer to a query as a table: the names of its columns, then its rows from 1 on."""
    try:
        url = make_url(address)
        if url.drivername == "postgres":
            url = url.set(drivername="postgresql")
        options = {"connect_timeout": _TIMEOUT[0]} if "postgresql" in url.drivername else {}
        engine = create_engine(
            url, poolclass=NullPool, future=True, hide_parameters=True, connect_args=options
        )
    except (NoSuchModuleError, ImportError) as error:
        raise InvalidFileError(f"Install the driver of the source's database: {error}.") from None
    except (ArgumentError, ValueError):
        raise InvalidFileError(
            "The source is no address: use https://host/people.json, or an address of SQLAlchemy "
            "like postgresql://host:5432/database."
        ) from None
    shown = _without_secrets(url)
    if not query or not query.strip():
        raise InvalidFileError(f"{shown} is a database: say by --query what to select.")
    try:
        # Not committed: a query only reads.
        with engine.connect().execution_options(no_parameters=True) as connection:
            answer = connection.exec_driver_sql(query)
            if not answer.returns_rows:
                raise InvalidFileError(f"The query to {shown} selects nothing.")
            lines = [(0, list(answer.keys()))]
            lines += [
                (number, [text_of(value) for value in row])
                for number, row in enumerate(answer.all(), 1)
            ]
    except DBAPIError as error:
        raise InvalidFileError(f"{shown} refuses: {str(error.orig).strip()}") from None
    except SQLAlchemyError as error:
        raise InvalidFileError(f"{shown} can't be asked: {error}") from None
    return iter(lines), shown


def _without_secrets(url: URL) -> str:
    host = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
    return f"{url.get_backend_name()}://{host}/{url.database or ''}"
