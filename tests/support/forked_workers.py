"""`fleetlog worker`s of a fork server, as tests see them."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.support.fleetlog_server import REPOSITORY, inherited_environment
from tests.support.worker_fork_server import StartWorker, WorkerEvent

START_TIMEOUT_S = 240
EXIT_TIMEOUT_S = 120


@dataclass
class ForkedWorker:
    """One `fleetlog worker` that may kill itself. `code`: its exit code once it has died."""

    pid: int = 0
    code: int | None = None
    _works: threading.Event = field(default_factory=threading.Event)
    _dead: threading.Event = field(default_factory=threading.Event)

    @property
    def alive(self) -> bool:
        return not self._dead.is_set()

    def started(self) -> None:
        """Wait until it works, or has died."""
        assert self._works.wait(START_TIMEOUT_S), "a worker did not start in time"

    def died(self, timeout_s: float) -> int | None:
        """Its exit code, or None when it still lives after `timeout_s`."""
        return self.code if self._dead.wait(timeout_s) else None

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and gone when this returns."""
        if self.alive:
            self.send(signal.SIGKILL)
        assert self._dead.wait(EXIT_TIMEOUT_S), f"worker {self.pid} survives kill -9"

    def handle(self, event: WorkerEvent) -> None:
        self.pid = event.pid
        if event.code is not None:
            self.code = event.code
            self._dead.set()
        self._works.set()


class WorkerForkServer:
    """Forks workers on one installation."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self._numbers = process, itertools.count()
        self._workers: dict[int, ForkedWorker] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def worker(self, *, run_id: str, session_id: str, fatal: str, record: Path) -> ForkedWorker:
        """A new worker, once it works."""
        number = next(self._numbers)
        worker = self._workers[number] = ForkedWorker()
        order = StartWorker(number=number, run_id=run_id, session_id=session_id, fatal=fatal, record=str(record))
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        worker.started()
        return worker

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = msgspec.json.decode(line, type=WorkerEvent)
            self._workers[event.number].handle(event)

    def close(self) -> None:
        """End the fork server and all its workers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(EXIT_TIMEOUT_S)
        self._listener.join(EXIT_TIMEOUT_S)
        self._process.stdout.close()


@contextmanager
def worker_fork_server(environment: Mapping[str, str], log: Path) -> Iterator[WorkerForkServer]:
    """`environment`: the installation's settings; its workers log to `log`."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.worker_fork_server"],
            cwd=REPOSITORY,
            env=inherited_environment() | dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,
        )
    found = WorkerForkServer(process)
    try:
        yield found
    finally:
        found.close()
