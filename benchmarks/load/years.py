"""What grows with time, and must not: turns of a long conversation, and a bot that runs for a year.

    python -m benchmarks.load.years turns [--turns 2000] [--out FILE]

One user asks and asks in one conversation, without a pause. At its beginning, after 200 and after
2,000 turns their next 40 are timed, each five beside the same five of somebody new: what else the
machine does falls on both, and the ratio is the figure. So is the processor time of the bot.

    python -m benchmarks.load.years year [--days 365] [--turns 8] [--out FILE]

A year of one user with one directory, in the servers' clock (Debian's libfaketime): questions each
day, an import each night that changes people, retention (30 days; audit log 60), a new key of the
identity provider every 90 days, logs that are emptied each week, and on one day a month a clock
that goes back two hours between two questions. Each month is told with its latency, the memory of
both servers and the bytes on disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from actions.directory import Directory
from benchmarks.load import servers
from benchmarks.load.servers import KEY_ID, MOBILE_PATH, IdentityProvider, Site
from bot.channels.conversations import open_conversations
from bot.rasa_model import ensure_model
from bot.server import SAMPLE
from common.errors import UserError

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


# --- a year ---------------------------------------------------------------------------------------

DAY = 86400.0
RETENTION_DAYS, AUDIT_DAYS, KEY_DAYS = 30, 60, 90
# The library looks for another time so often, in seconds.
CLOCK_SECONDS = 1


class Clock:
    """What time it is for the servers: so many seconds later than here."""

    def __init__(self, folder: Path) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        if not libraries:
            raise UserError("libfaketime is missing: apt install libfaketime")
        self._file, self.offset = folder / "clock", 0.0
        os.environ.update(
            LD_PRELOAD=str(libraries[0]),
            FAKETIME_TIMESTAMP_FILE=str(self._file),
            FAKETIME_CACHE_DURATION=str(CLOCK_SECONDS),
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            NO_FAKE_STAT="1",
        )
        self.set(0.0)

    def set(self, offset: float) -> None:
        """Set the clock, and wait until the servers know."""
        self.offset = offset
        self._file.write_text(f"{offset:+.0f}\n", encoding="utf-8")
        time.sleep(CLOCK_SECONDS + 0.2)


@dataclass(frozen=True)
class Month:
    """What a month was like: milliseconds (median), megabytes in memory, bytes on disk."""

    number: int
    turns: int
    p50: float
    bot: float
    actions: float
    events: int
    directory: int
    audit: int
    logs: int


def run_year(site: Site, clock: Clock, days: int, turns: int) -> Iterator[Month]:
    """Live through ``days`` with ``turns`` each; give what each month was like."""
    directory = Directory(site.environ["DIRECTORY_URL"])
    conversations = open_conversations(site.folder / "endpoints.yml", {})
    rows = SAMPLE.read_text(encoding="utf-8")
    with httpx.Client(timeout=120) as client:
        user, taken = User(site, client), list[float]()
        for day in range(days):
            if day and day % KEY_DAYS == 0:
                site.provider = IdentityProvider()
                site.provider.key_id = f"{KEY_ID}-{day}"
                site.write_keys()
            clock.set(day * DAY)
            user.token = site.provider.token("somebody", clock.offset)
            for number in range(turns):
                if day % 30 == 15 and number == turns // 2:
                    clock.set(day * DAY - 7200)
                taken.append(user.ask())
            # At night.
            people = site.folder / "people.csv"
            people.write_text(rows.replace("Python:5", f"Python:{1 + day % 5}"), encoding="utf-8")
            directory.import_(people, replace=True)
            conversations.purge(RETENTION_DAYS * DAY - clock.offset)
            if day % 7 == 6:
                for child in site.children.values():
                    os.truncate(child.log, 0)
            if day % 30 == 29 or day == days - 1:
                yield Month(
                    day // 30 + 1,
                    len(taken),
                    statistics.median(taken),
                    site.memory("bot") / 1e6,
                    site.memory("actions") / 1e6,
                    *(_bytes(site.folder, name) for name in ("events.db*", "directory.db*")),
                    _bytes(site.folder, "audit/*"),
                    _bytes(site.folder, "*.log"),
                )
                taken.clear()


def _bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def year_report(months: Sequence[Month]) -> str:
    """Return a table of the months."""
    head = "month, turns, p50, bot, action server, conversations, directory, audit log, logs"
    lines = [f"| {head.replace(', ', ' | ')} |", f"|{'---:|' * 9}"]
    for one in months:
        sizes = (one.events, one.directory, one.audit, one.logs)
        lines.append(
            f"| {one.number} | {one.turns} | {one.p50:.0f} ms | {one.bot:.0f} MB "
            f"| {one.actions:.0f} MB | {' | '.join(f'{size / 1000:.0f} kB' for size in sizes)} |"
        )
    return "\n".join(lines)


def turns_report(marks: Sequence[Mark]) -> str:
    """Return a table of the marks."""
    lines = [
        "| after | p50 | of somebody new meanwhile | ratio | processor time of the bot |",
        f"|{'---:|' * 5}",
        *(
            f"| {one.turns} turns | {one.own:.0f} ms | {one.others:.0f} ms "
            f"| {one.own / one.others:.2f} | {one.busy:.0f} ms |"
            for one in marks
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    long = commands.add_parser("turns", help="the turns of a long conversation")
    long.add_argument("--turns", type=int, default=2000)
    year = commands.add_parser("year", help="a bot that runs for a year")
    year.add_argument("--days", type=int, default=365)
    year.add_argument("--turns", type=int, default=8, help="a day")
    for command in (long, year):
        command.add_argument("--model", type=Path, help="an archive; the project's unless given")
        command.add_argument("--out", type=Path, help="write the table there as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site, model = Site("ours", "mobile", Path(folder)), given.model or ensure_model()
        os.environ["AUDIT_DAYS"] = str(AUDIT_DAYS)
        try:
            clock = Clock(Path(folder)) if given.command == "year" else None
            with servers.up(site, model):
                if clock is None:
                    report = turns_report(measure(site, given.turns))
                else:
                    months = []
                    for month in run_year(site, clock, given.days, given.turns):
                        print(month, flush=True)
                        months.append(month)
                    report = year_report(months)
        except UserError as error:
            sys.exit(str(error))
    print(report)
    if given.out:
        given.out.write_text(f"{report}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
