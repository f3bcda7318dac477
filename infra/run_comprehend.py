"""``make run-comprehend``: the bot with Comprehend as its classifier, on the local AWS."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bot import server
from common.errors import UserError
from localaws import LocalAWS

CONFIG = Path("config.comprehend.yml")


def main() -> int:
    """Start the local AWS, train the classifier there, and run the bot until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m infra.run_comprehend", description=__doc__)
    parser.add_argument("--port", type=int, default=5005)
    parser.add_argument("--actions-port", type=int, default=5055)
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    try:
        # Without its rate limit: a stand-in that refuses what is typed quickly teaches nothing.
        with LocalAWS(comprehend_throughput=0) as aws:
            os.environ.update(aws.environment())
            console.print(f"A local stand-in for AWS, with a small model of its own: {aws.url}")
            server.run(given.port, given.actions_port, console, config=CONFIG)
    except UserError as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
