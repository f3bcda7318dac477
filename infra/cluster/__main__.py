"""``python -m infra.cluster``: a cluster to try, and a prompt to break parts of it."""

from __future__ import annotations

import argparse
import sys

from bot.processes import stopping_on_signals
from infra.cluster import Cluster, ClusterError
from infra.cluster.engines import end_of

HELP = "kill NAME, stop NAME, start NAME, restart NAME, rolling, log NAME, or quit"


def main() -> None:
    """Run a cluster until its user has enough of it."""
    parser = argparse.ArgumentParser(description="The bot as in production, on this machine.")
    parser.add_argument("--bots", type=int, default=2)
    parser.add_argument("--actions", type=int, default=2)
    parser.add_argument("--broker", action="store_true", help="with RabbitMQ")
    given = parser.parse_args()
    print("Starting; half a minute …", flush=True)
    try:
        with (
            stopping_on_signals(),
            Cluster(given.bots, given.actions, broker=given.broker) as cluster,
        ):
            _show(cluster)
            while line := _ask():
                _obey(cluster, line.split())
    except ClusterError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def _show(cluster: Cluster) -> None:
    for part in cluster.parts.values():
        print(f"  {part.name:<12} {part.url}  {f'process {part.pid}' if part.running else 'down'}")
    print(f"\n  export TOKEN={cluster.token('me', 'directory:phone')}")
    print(
        f'  curl -s {cluster.mobile_url}/messages -H "Authorization: Bearer $TOKEN" \\\n'
        "    -H 'Content-Type: application/json' "
        '-d \'{"type": "text", "text": "Qui connaît Python ?"}\'\n'
    )
    print(HELP, flush=True)


def _ask() -> str:
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return ""
        if line in ("quit", "exit"):
            return ""
        if line:
            return line


def _obey(cluster: Cluster, words: list[str]) -> None:
    commands = {
        "kill": cluster.kill,
        "stop": cluster.stop,
        "start": cluster.start,
        "restart": cluster.restart,
    }
    verb, *names = words
    try:
        if verb == "rolling" and not names:
            cluster.rolling_restart()
        elif len(names) != 1 or names[0] not in cluster.parts:
            print(HELP)
            return
        elif verb == "log":
            print(end_of(cluster.parts[names[0]].log))
            return
        elif verb in commands:
            commands[verb](names[0])
        else:
            print(HELP)
            return
    except ClusterError as error:
        print(error)
    _show(cluster)


if __name__ == "__main__":
    main()
