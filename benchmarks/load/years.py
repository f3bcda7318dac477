"""What grows with time: a turn of somebody who has been asking for long.

    python -m benchmarks.load.years turns [--turns 2000] [--out FILE]

One user asks and asks in one conversation, without a pause. After 2, 20, 200 and 2,000 turns their
next turns are timed, each beside one of somebody new, who has asked two questions: what else the
machine does falls on both, and the ratio of the medians is the figure.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx

from benchmarks.load import servers
from benchmarks.load.servers import MOBILE_PATH, Site
from bot.errors import UserError
from bot.server import ensure_model

MESSAGES = (
    "Qui connaît Kubernetes ?",
    "la suite",
    "et à Nantes ?",
    "Qui est Maëlys Kerguelen ?",
    "et elle, elle connaît Docker ?",
)
MARKS = (2, 20, 200, 2000)
TIMED = 40


class User:
    """Somebody with a token of their own."""

    def __init__(self, site: Site, client: httpx.Client) -> None:
        self.url, self.client, self.turns = f"{site.base}{MOBILE_PATH}/messages", client, 0
        self.token = site.provider.token()

    def ask(self) -> float:
        """Ask the next question; return the milliseconds that the answer took.

        Raises:
            UserError: it was not answered.
        """
        message = {"type": "text", "text": MESSAGES[self.turns % len(MESSAGES)]}
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": uuid.uuid4().hex}
        begin = time.perf_counter()
        answer = self.client.post(self.url, json=message, headers=headers)
        taken = (time.perf_counter() - begin) * 1000
        if answer.status_code != 200 or not answer.json()["replies"]:
            raise UserError(f"Turn {self.turns + 1} was not answered: {answer.text[:200]}")
        self.turns += 1
        return taken


def measure(site: Site, turns: int) -> list[tuple[int, float, float]]:
    """Return (turn, median of that user, median of somebody new, in milliseconds) of each mark."""
    found = []
    with httpx.Client(timeout=120) as client:
        user = User(site, client)
        for mark in (one for one in MARKS if one <= turns):
            while user.turns < mark - 1:
                user.ask()
            own, others = [], []
            for _ in range(TIMED):
                new = User(site, client)
                new.turns = user.turns % len(MESSAGES)  # the same questions
                new.ask()
                new.turns = user.turns
                others.append(new.ask())
                own.append(user.ask())
            found.append((mark, statistics.median(own), statistics.median(others)))
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    turns = commands.add_parser("turns", help="the turns of a long conversation")
    turns.add_argument("--turns", type=int, default=2000)
    turns.add_argument("--out", type=Path, help="write the table there as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Site("ours", "mobile", Path(folder))
        try:
            with servers.up(site, ensure_model()):
                found = measure(site, given.turns)
        except UserError as error:
            sys.exit(str(error))
    report = "| turn | p50 | of somebody new meanwhile | ratio |\n|---:|---:|---:|---:|\n"
    report += "\n".join(
        f"| {mark} | {own:.0f} ms | {others:.0f} ms | {own / others:.2f} |"
        for mark, own, others in found
    )
    print(report)
    if given.out:
        given.out.write_text(f"{report}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
