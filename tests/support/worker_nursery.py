"""A process that forks `fleetlog worker`s: they have imported everything already, and start in a blink.

Each line of standard input is a Wanted in JSON; each line of standard output a Told. The end of standard input ends the
nursery and, with kill -9, all its workers. SIGUSR1 makes a worker write the stacks of all its tasks to standard error.
"""

import asyncio
import contextlib
import os
import selectors
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from interfaces.bootstrap.processes import run_worker_alone
from interfaces.settings import load_settings
from tests.support.fault_points import FaultPoints

OUTPUT = 1


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that dies of kill -9 at the point `fatal` of a run's life, and writes the points to `record`."""

    number: int
    run_id: str
    session_id: str
    fatal: str
    record: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The worker works, or has died with this exit code (negative: by this signal)."""

    number: int
    pid: int
    code: int | None = None


def tell(told: Told) -> None:
    os.write(OUTPUT, msgspec.json.encode(told) + b"\n")


def write_stacks() -> None:
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


async def work(number: int) -> int:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, write_stacks)
    told = Told(number=number, pid=os.getpid())
    return await run_worker_alone(load_settings(os.environ), lambda _url, _notes: tell(told))


def fork(wanted: Wanted) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        FaultPoints(
            run_id=wanted.run_id, session_id=wanted.session_id, fatal=wanted.fatal, record=Path(wanted.record)
        ).install()
        code = uvloop.run(work(wanted.number))
    finally:
        sys.stderr.flush()
        os._exit(code)


def nurse() -> None:
    children: dict[int, Wanted] = {}
    with selectors.DefaultSelector() as ready, os.fdopen(0, "rb", buffering=0) as orders:
        ready.register(orders, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is orders:
                    line = orders.readline()
                    if not line:
                        end(list(children))
                        return
                    wanted = msgspec.json.decode(line, type=Wanted)
                    pid = fork(wanted)
                    children[pid] = wanted
                    ready.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                else:
                    ready.unregister(key.fileobj)
                    os.close(key.fd)
                    _, status = os.waitpid(key.data, 0)
                    code = os.waitstatus_to_exitcode(status)
                    tell(Told(number=children.pop(key.data).number, pid=key.data, code=code))


def end(children: list[int]) -> None:
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    nurse()
