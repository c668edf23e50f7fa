"""A process that forks `fleetlog worker`s: everything is imported already, so they start at once.

Each line of standard input is a StartWorker in JSON; each line of standard output a WorkerEvent. The end of standard
input ends the server and, with kill -9, all its workers. SIGUSR1 makes a worker write the stacks of all its tasks to
standard error.
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

from interfaces.cli.processes import run_worker_alone
from interfaces.settings_reading import load_settings
from tests.support.fault_points import FaultPoints

OUTPUT = 1


class StartWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that dies of kill -9 at the point `fatal` of a run's life, and writes the points to `record`."""

    number: int
    run_id: str
    session_id: str
    fatal: str
    record: str


class WorkerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The worker works, or has died with this exit code (negative: by this signal)."""

    number: int
    pid: int
    code: int | None = None


def report(event: WorkerEvent) -> None:
    os.write(OUTPUT, msgspec.json.encode(event) + b"\n")


def write_stacks() -> None:
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


async def work(number: int) -> int:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, write_stacks)
    event = WorkerEvent(number=number, pid=os.getpid())
    return await run_worker_alone(load_settings(os.environ), lambda _url, _notes: report(event))


def fork(order: StartWorker) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        FaultPoints(
            run_id=order.run_id, session_id=order.session_id, fatal=order.fatal, record=Path(order.record)
        ).install()
        code = uvloop.run(work(order.number))
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    children: dict[int, StartWorker] = {}
    with selectors.DefaultSelector() as ready, os.fdopen(0, "rb", buffering=0) as orders:
        ready.register(orders, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is orders:
                    line = orders.readline()
                    if not line:
                        end(list(children))
                        return
                    order = msgspec.json.decode(line, type=StartWorker)
                    pid = fork(order)
                    children[pid] = order
                    ready.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                else:
                    ready.unregister(key.fileobj)
                    os.close(key.fd)
                    _, status = os.waitpid(key.data, 0)
                    code = os.waitstatus_to_exitcode(status)
                    report(WorkerEvent(number=children.pop(key.data).number, pid=key.data, code=code))


def end(children: list[int]) -> None:
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    serve()
