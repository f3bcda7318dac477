"""How many conversations the bot holds, and for how long.

    python -m benchmarks.load levels [--only ours stock cluster] [--users 1 10 50 200]
                                     [--seconds 20] [--rounds 1] [--out FILE]
    python -m benchmarks.load soak [--minutes 20] [--users 4] [--pause 0.2] [--out FILE]

``levels``: so many users at once, without a pause between an answer and the next message, each
conversation by somebody new, on

* ``ours``: this bot in one process with its action server, through the mobile channel: tokens,
  idempotency keys, histories; each answer must belong to its question and conversation;
* ``stock``: domain, training data and actions of this bot as Rasa has it: ``rasa run`` with the
  pipeline of `rasa init`, the ``rest`` channel, the ``SQL`` tracker store on SQLite, and
  rasa_sdk's action server;
* ``cluster``: this bot in two processes with two action servers behind nginx, with PostgreSQL and
  Redis (infra/cluster). It is left out where Debian's nginx-light and redis-server are missing.

``soak``: a moderate load on ``ours`` for long; its memory must not grow.

The users (locust) run on the same machine, and take some of it from the servers.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import servers
from benchmarks.load.servers import Site
from bot.rasa_model import ensure_model
from bot.runtime.rasa_cli import PROJECT_ROOT
from common.errors import UserError
from infra.cluster import engines

WARM_UP_SECONDS = 5
SITES = ("ours", "stock", "cluster")
# Of a soak: samples of memory; the share of them in which caches fill; how many batches the others
# are averaged in, as neighbours say nearly the same; and what growth is noise.
SAMPLES = 240
SETTLING_SHARE = 0.2
BATCHES = 16
NOISE_SHARE = 0.01


@dataclass(frozen=True)
class Level:
    """What a number of users got.

    Attributes:
        turns, conversations: a second.
        p50, p95: of a turn, in milliseconds.
        asked, failed: turns; failed are those without an answer, or with a wrong one.
        cpu: milliseconds of processor time a turn, of all bots.
        reasons: of the failures.
    """

    site: str
    users: int
    turns: float
    conversations: float
    p50: float
    p95: float
    asked: int
    failed: int
    cpu: float
    reasons: tuple[str, ...] = ()


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    levels = commands.add_parser("levels", help="throughput and latency by number of users")
    levels.add_argument("--only", nargs="+", choices=SITES, default=list(SITES))
    levels.add_argument("--users", nargs="+", type=int, default=[1, 10, 50, 200])
    levels.add_argument("--seconds", type=int, default=20, help="of each number of users")
    levels.add_argument("--rounds", type=int, default=1)
    soak = commands.add_parser("soak", help="memory over time")
    soak.add_argument("--minutes", type=float, default=20)
    soak.add_argument("--users", type=int, default=4)
    soak.add_argument("--pause", type=float, default=0.2, help="seconds before the next message")
    for command in (levels, soak):
        command.add_argument("--out", type=Path, help="write the table there as well")
    given = parser.parse_args()
    try:
        if given.command == "levels":
            found = measure_levels(given.only, given.users, given.seconds, given.rounds)
            report, failed = levels_report(found), any(one.failed for one in found if is_ours(one))
        else:
            report, failed = run_soak(given.minutes, given.users, given.pause)
    except UserError as error:
        sys.exit(str(error))
    print(report)
    if given.out:
        given.out.write_text(report + "\n", encoding="utf-8")
    sys.exit(failed)


# --- users ------------------------------------------------------------------------------------


def load(site: Site, users: int, seconds: float, pause: float = 0.0) -> Level:
    """Let ``users`` hold conversations for ``seconds``."""
    key, results = site.folder / "key.pem", site.folder / f"load-{users}"
    key.write_bytes(site.provider.private_key)
    environ = {
        **os.environ,
        "BENCH_CHANNEL": site.channel,
        "BENCH_KEY": str(key),
        "BENCH_PAUSE": str(pause),
        "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    locustfile = str(Path(__file__).with_name("locustfile.py"))
    options = ["--headless", "--only-summary", "--reset-stats", "--exit-code-on-error", "0"]
    command = [sys.executable, "-m", "locust", "-f", locustfile, "--host", site.base, *options]
    command += ["--users", str(users), "--spawn-rate", str(users)]
    command += ["--run-time", f"{seconds:.0f}s", "--csv", str(results)]
    before = site.cpu_seconds("bot")
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True,
        timeout=seconds + 180,
    )  # fmt: skip
    spent = site.cpu_seconds("bot") - before
    if done.returncode:
        raise UserError(f"locust failed:\n{done.stderr[-4000:]}")
    # Without a single turn it has no row, and all is 0.
    rows = {row["Name"]: row for row in _rows(f"{results}_stats.csv")}
    turn, conversation = rows.get("turn", {}), rows.get("conversation", {})
    asked = int(turn.get("Request Count", 0))
    failures = _rows(f"{results}_failures.csv")
    return Level(
        site.name,
        users,
        float(turn.get("Requests/s", 0)),
        float(conversation.get("Requests/s", 0)),
        float(turn.get("50%", 0)),
        float(turn.get("95%", 0)),
        asked,
        sum(int(row["Occurrences"]) for row in failures),
        1000 * spent / max(1, asked),
        tuple(f"{row['Occurrences']} × {row['Name']}: {row['Error']}" for row in failures),
    )


def _rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- levels -----------------------------------------------------------------------------------


def measure_levels(names: list[str], users: list[int], seconds: float, rounds: int) -> list[Level]:
    """Return what every number of users got of every site, in turns."""
    found = []
    if "cluster" in names and (packages := engines.missing()):
        say(f"The cluster is left out: apt-get install {' '.join(packages)}")
        names = [name for name in names if name != "cluster"]
    models = {name: servers.stock_model() if name == "stock" else ensure_model() for name in names}
    for number in range(rounds):
        for name in names:
            say(f"Round {number + 1}: {name} starts …")
            with site_of(name, models[name]) as site:
                load(site, 2, WARM_UP_SECONDS)
                for count in users:
                    level = load(site, count, seconds)
                    say(f"  {count} users: {level.turns:.1f} turns/s, p95 {level.p95:.0f} ms")
                    for reason in level.reasons:
                        say(f"    {reason}")
                    found.append(level)
    return found


@contextlib.contextmanager
def site_of(name: str, model: Path) -> Iterator[Site]:
    """Give the site of that name, whose servers are up."""
    with tempfile.TemporaryDirectory(prefix="load-") as scratch:
        folder = Path(scratch) / name
        if name == "cluster":
            with servers.clustered(model, folder) as site:
                yield site
        else:
            channel = "mobile" if name == "ours" else "rest"
            with servers.up(Site(name, channel, folder), model) as site:
                yield site


def is_ours(level: Level) -> bool:
    """Return whether its failures are ours."""
    return level.site != "stock"


def levels_report(levels: list[Level]) -> str:
    """Return a Markdown table; of several rounds the median counts, by throughput."""
    lines = [
        "| bot | users | turns/s | conversations/s | turn p50 | p95 | lost or wrong | CPU a turn |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    middles = {}
    for key in dict.fromkeys((one.site, one.users) for one in levels):
        rounds = [one for one in levels if (one.site, one.users) == key]
        middles[key] = sorted(rounds, key=lambda one: one.turns)[len(rounds) // 2]
        one, failed = middles[key], sum(each.failed for each in rounds)
        lines.append(
            f"| {one.site} | {one.users} | {one.turns:.1f} | {one.conversations:.2f} "
            f"| {one.p50:.0f} ms | {one.p95:.0f} ms "
            f"| {failed} of {sum(each.asked for each in rounds)} | {one.cpu:.1f} ms |"
        )
    lines.append("")
    best = {
        site: max(one.turns for (name, _), one in middles.items() if name == site)
        for site in dict.fromkeys(name for name, _ in middles)
    }
    for site, turns in best.items():
        compared = "stock" in best and site != "stock"
        ratio = f", {turns / best['stock']:.1f} × stock" if compared else ""
        lines.append(f"Most of {site}: {turns:.1f} turns/s{ratio}")
    if {"ours", "stock"} <= best.keys():
        for users in sorted({users for _, users in middles}):
            ours, stock = (middles.get((site, users)) for site in ("ours", "stock"))
            if ours and stock:
                lines.append(
                    f"{users} users: {ours.turns / stock.turns:.1f} × the turns of stock, "
                    f"p95 {ours.p95 / stock.p95:.2f} of its"
                )
    return "\n".join(lines)


# --- soak -------------------------------------------------------------------------------------


def run_soak(minutes: float, users: int, pause: float) -> tuple[str, bool]:
    """Return a report on the memory of bot and action server, and whether something is wrong."""
    with site_of("ours", ensure_model()) as site:
        load(site, users, WARM_UP_SECONDS)
        samples: list[tuple[float, dict[str, float]]] = []
        stopped = threading.Event()
        begin = time.monotonic()

        def sample() -> None:
            while not stopped.wait(minutes * 60 / SAMPLES):
                memory = {name: site.memory(name) for name in site.children}
                samples.append((time.monotonic() - begin, memory))

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            level = load(site, users, minutes * 60, pause)
        finally:
            stopped.set()
            thread.join()
    lines = [
        f"{minutes:g} minutes, {level.turns:.1f} turns/s ({level.asked} turns), p95 "
        f"{level.p95:.0f} ms, {level.failed} lost or wrong",
        "",
        "| process | settled at | at last | trend since, 95 % interval | grows |",
        "|---|---:|---:|---:|---|",
    ]
    wrong = level.failed > 0
    for name in samples[0][1]:
        points = [(at / 3600, memory[name] / 1e6) for at, memory in samples]
        settled = points[int(len(points) * SETTLING_SHARE) :]
        slope, margin = trend(settled)
        certain = (slope - margin) * (settled[-1][0] - settled[0][0])
        grows = certain > NOISE_SHARE * settled[0][1]
        wrong = wrong or grows
        lines.append(
            f"| {name} | {settled[0][1]:.1f} MB | {settled[-1][1]:.1f} MB "
            f"| {slope:+.1f} ± {margin:.1f} MB/h | {'yes' if grows else 'no'} |"
        )
    return "\n".join([*lines, *level.reasons]), wrong


def trend(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope of a line through ``points`` and half the width of its 95 % interval.

    By batch means: neighbouring samples are not independent, and would feign certainty.
    """
    from scipy import stats

    size = max(1, len(points) // BATCHES)
    batches = [points[start : start + size] for start in range(0, len(points), size)]
    means = [
        tuple(sum(part) / len(batch) for part in zip(*batch, strict=True)) for batch in batches
    ]
    fit = stats.linregress([at for at, _ in means], [value for _, value in means])
    return float(fit.slope), float(stats.t.ppf(0.975, len(means) - 2) * fit.stderr)


def say(text: str) -> None:
    """Tell on the terminal how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
