"""How soon users with one run each get their turn beside one with hundreds, against the order in which all were queued.

Fleetlog is one process with all its background tasks, its executor stubbed out at the port. One user's runs are queued
first, then one of each other user, while the queue is paused. The figure is the number of claims, in the order of the
log, until each of the others has had one.
"""

import statistics
import subprocess
import sys
from pathlib import Path

import msgspec
from _measuring import CommandLine, conclude, machine, postgres, show

FOLDER = Path(__file__).resolve().parent
AT_ONCE = 8
ALLOWED_PER_USER = 2


def claims(dsn: str, many: int, others: int) -> list[str]:
    command = [sys.executable, str(FOLDER / "_fair_ours.py"), dsn, str(many), str(others), str(AT_ONCE)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=900)
    return msgspec.json.decode(done.stdout, type=list[str])


def main() -> None:
    parser = CommandLine("fair", __doc__, rounds=3)
    parser.add_size("--many", 500, toy=30, about="runs of the one user")
    parser.add_size("--others", 20, toy=3, about="users with one run each")
    arguments = parser.parse()
    with postgres() as server:
        host = machine(server)
        found = []
        for _ in range(arguments.rounds):
            users = claims(server.create_database(), arguments.many, arguments.others)
            found.append(1 + max(index for index, user in enumerate(users) if user != "many"))
    ours, baseline = statistics.median(found), arguments.many + arguments.others
    show(
        f"fair: {arguments.others} users with a run each, queued behind {arguments.many} of one user, "
        f"medians of {arguments.rounds} rounds",
        ("order", "claims until all of them had their turn", "ratio", "rounds"),
        (
            ("as queued", f"{baseline}", "", ""),
            ("fleetlog", f"{ours:g}", f"{baseline / ours:.1f}x", " ".join(map(str, found))),
            ("allowed", f"{ALLOWED_PER_USER * arguments.others}", "", ""),
        ),
        host,
    )
    result = {
        "bench": "fair",
        "rounds": arguments.rounds,
        "ours": ours,
        "baseline": baseline,
        "ratio": round(baseline / ours, 2),
        "machine": host,
    }
    conclude(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
