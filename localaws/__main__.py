"""``python -m localaws``: serve the local AWS until interrupted."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from typing import Any

from localaws.settings import Settings, numeric_fields

DEFAULT_PORT = 4566


def main() -> None:
    """Parse the arguments, serve, and print the URL on standard output when ready."""
    arguments = _parser().parse_args()
    _forget_aws()
    # moto looks at AWS's settings when it is imported.
    from localaws.server import Server

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)
    settings = Settings(images=tuple(arguments.image))
    settings.update({field.name: getattr(arguments, field.name) for field in numeric_fields()})
    server = Server(settings, arguments.port)

    def stop(*_: Any) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    def stop_at_the_end_of_input() -> None:
        sys.stdin.read()
        stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if arguments.until_stdin_closes:
        threading.Thread(target=stop_at_the_end_of_input, daemon=True).start()
    server.serve(lambda url: print(f"{url}\nCtrl-C stops it.", flush=True))


def _forget_aws() -> None:
    """Remove what in the environment is about another AWS, or a proxy on the way to it."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MOTO_")) or name.lower().endswith("_proxy"):
            del os.environ[name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m localaws",
        description="Serve a local stand-in for AWS on loopback. Point AWS's own tools at it by "
        "AWS_ENDPOINT_URL, with any credentials.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    for field in numeric_fields():
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=field.metadata["help"],
            metavar="NUMBER",
        )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        type=_image,
        metavar="PATTERN=COMMAND",
        help="command that stands for the container images of a pattern; repeatable",
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end when standard input does"
    )
    return parser


def _image(text: str) -> tuple[str, str]:
    pattern, separator, command = text.partition("=")
    if not (pattern and separator and command):
        raise argparse.ArgumentTypeError(f"'{text}' is not PATTERN=COMMAND")
    return pattern, command


if __name__ == "__main__":
    main()
