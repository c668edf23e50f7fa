"""What runs that wait for a person cost one process: memory each, and the time that a fresh run takes from its claim to
its agent's start, against that while none waits.

The control plane is one process with all its background tasks, on a Postgres of its own; all runs are at one executor
over HTTP, whose agents do nothing but ask and wait. A waiting run has a session of its own. Memory is what the process
has more while they wait than before they were queued. At the end one of them is answered, and must go on to its end.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from _capacity_ours import Measured
from _measuring import CommandLine, conclude, machine, postgres, show

FOLDER = Path(__file__).resolve().parent
ALLOWED_KB, ALLOWED_RATIO = 100, 1.5


@contextmanager
def executor() -> Iterator[str]:
    """Its URL."""
    command = [sys.executable, str(FOLDER / "_waiting_executor.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(30)


def measured(dsn: str, url: str, waiting: int, fresh: int) -> Measured:
    command = [sys.executable, str(FOLDER / "_capacity_ours.py"), dsn, url, str(waiting), str(fresh)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=1200)
    return msgspec.json.decode(done.stdout, type=Measured)


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def main() -> None:
    parser = CommandLine("capacity", __doc__, rounds=3)
    parser.add_size("--waiting", 1000, toy=20, about="runs that wait")
    parser.add_size("--fresh", 500, toy=20, about="fresh runs that are measured, each time")
    arguments = parser.parse()
    with postgres() as server:
        host = machine(server)
        rounds = []
        for _ in range(arguments.rounds):
            with executor() as url:
                rounds.append(measured(server.create_database(), url, arguments.waiting, arguments.fresh))
    memory = statistics.median(each.memory for each in rounds) / 1000
    alone = statistics.median(p99(each.alone) for each in rounds)
    beside = statistics.median(p99(each.beside) for each in rounds)
    medians = [statistics.median(statistics.median(times) for times in of_all) for of_all in
               ([each.alone for each in rounds], [each.beside for each in rounds])]  # fmt: skip
    show(
        f"capacity: {arguments.waiting:,} runs wait for a person in one process, medians of {arguments.rounds} rounds",
        ("claim to start of a fresh run", "median", "p99", "ratio", "memory each"),
        (
            ("none waits", f"{medians[0]:,.1f} ms", f"{alone:,.1f} ms", "", ""),
            ("all wait", f"{medians[1]:,.1f} ms", f"{beside:,.1f} ms", f"{beside / alone:.2f}x", f"{memory:,.1f} kB"),
            ("allowed", "", "", f"{ALLOWED_RATIO}x", f"{ALLOWED_KB} kB"),
        ),
        host,
    )
    result = {
        "bench": "capacity",
        "rounds": arguments.rounds,
        "ours": round(beside, 2),
        "baseline": round(alone, 2),
        "ratio": round(beside / alone, 2),
        "kb_each": round(memory, 1),
        "machine": host,
    }
    conclude(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
