"""What grows with time: a turn of somebody who has been asking for long.

    python -m benchmarks.load.years turns [--turns 2000] [--out FILE]

One user asks and asks in one conversation, without a pause. At its beginning, after 200 and after
2,000 turns their next 40 are timed, each five beside the same five of somebody new: what else the
machine does falls on both, and the ratio is the figure. So is the processor time of the bot.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
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
MARKS = (0, 200, 2000)
ROUNDS = 8


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


@dataclass(frozen=True)
class Mark:
    """What turns cost after ``turns`` of them.

    Attributes:
        own, others: median of that user, and of somebody new, in milliseconds.
        busy: processor time of the bot for a turn of that user, in milliseconds.
    """

    turns: int
    own: float
    others: float
    busy: float


def measure(site: Site, turns: int) -> list[Mark]:
    """Return what turns cost at each mark up to ``turns``."""
    found = []
    with httpx.Client(timeout=120) as client:
        user = User(site, client)
        for mark in (one for one in MARKS if one <= turns):
            while user.turns < mark:
                user.ask()
            own, others, busy = [], [], 0.0
            for _ in range(ROUNDS):
                new = User(site, client)
                others += [new.ask() for _ in MESSAGES]
                before = site.cpu_seconds("bot")
                own += [user.ask() for _ in MESSAGES]
                busy += site.cpu_seconds("bot") - before
            medians = statistics.median(own), statistics.median(others)
            found.append(Mark(mark, *medians, busy * 1000 / len(own)))
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
    report = "| after | p50 | of somebody new meanwhile | ratio | processor time of the bot |\n"
    report += "|---:|---:|---:|---:|---:|\n"
    report += "\n".join(
        f"| {one.turns} turns | {one.own:.0f} ms | {one.others:.0f} ms "
        f"| {one.own / one.others:.2f} | {one.busy:.0f} ms |"
        for one in found
    )
    print(report)
    if given.out:
        given.out.write_text(f"{report}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
