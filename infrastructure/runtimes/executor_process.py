"""The executor process of one container of the `process` runtime: found, started, adopted and ended. Blocking.

The caller holds the folder's lock while it starts, adopts or ends one.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from application.executor_protocol import ExecutorAddress, ExecutorConfig, ExecutorHealth
from application.ports.worker_runtime import ContainerSpec, StartFailed
from infrastructure.durable_file import write_durably
from infrastructure.process_tree import ProcessInfo, descendants, kill_below, marked, process_info, send
from infrastructure.runtimes.executor_health import ProbeFailed, belongs_to, probe
from infrastructure.runtimes.executor_setup import serves_as
from infrastructure.runtimes.polling import wait_until
from infrastructure.runtimes.process_identity import ProcessIdentity, alive, identify, still_there
from infrastructure.runtimes.worker_folder import WorkerFolder

_PROBE_S = 5.0
_KILL_S = 10.0


@dataclass(frozen=True, kw_only=True)
class ExecutorProgram:
    """How an executor is started: `argv` before `--config FILE`, and its whole environment but HOME. `redact` removes
    the environment's secrets from its output."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    redact: Callable[[str], str] = str


class LeftoversSurvive(Exception):
    """Processes of a container survive SIGKILL, for example while they wait for a disk that does not answer."""


class ChildProcesses:
    """The executors that this process started: `collect` reaps those that have ended, so that none stays a zombie."""

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def add(self, child: subprocess.Popen[bytes]) -> None:
        self._running[child.pid] = child

    def collect(self) -> None:
        for pid, child in list(self._running.items()):
            if child.poll() is not None:
                self._running.pop(pid, None)


class ExecutorProcess:
    """Timeouts are in seconds. `running`, `endpoint` and `health` change nothing and need no lock."""

    def __init__(self, folder: WorkerFolder, program: ExecutorProgram, children: ChildProcesses) -> None:
        self._folder = folder
        self._program = program
        self._children = children

    def running(self) -> ProcessIdentity | None:
        """The executor process if it is alive, whichever control plane started it."""
        self._children.collect()
        process = self._folder.process()
        return process if process and alive(process) else None

    def endpoint(self) -> ExecutorAddress | None:
        """The address of the running executor; None until it serves. A file of an earlier boot does not count."""
        process = self.running()
        endpoint = self._folder.endpoint()
        return endpoint if process and endpoint and endpoint.pid == process.pid else None

    def health(self, spec: ContainerSpec) -> ExecutorHealth | None:
        """The health of the running executor; None if it does not answer or is not the one of `spec` and this boot."""
        endpoint = self.endpoint()
        if endpoint is None:
            return None
        try:
            health = probe(endpoint.url, timeout_s=_PROBE_S)
        except ProbeFailed:
            return None
        return health if belongs_to(health, spec) and health.boot_id == endpoint.boot_id else None

    def adopt(self, spec: ContainerSpec, config: ExecutorConfig, *, timeout_s: float) -> ExecutorAddress | None:
        """The address of the running executor if it answers in time and its configuration will do; else None."""
        if self.running() is None:
            return None
        answers: list[ExecutorHealth] = []

        def answered() -> bool:
            health = self.health(spec)
            if health:
                answers.append(health)
            return health is not None or self.running() is None

        wait_until(answered, timeout_s)
        if not answers or not self._suits(answers[-1], config):
            return None
        return self.endpoint()

    def boot(self, spec: ContainerSpec, config: ExecutorConfig, *, timeout_s: float) -> ExecutorAddress:
        """Start a new executor process and wait until it serves. Raises StartFailed if it does not in time."""
        folder = self._folder
        folder.forget_process()
        write_durably(folder.config_file, msgspec.json.encode(config))
        child = self._spawn(folder.config_file)
        self._children.add(child)
        process = identify(child.pid)
        if process:
            folder.remember_process(process)
        started = time.monotonic()
        served = wait_until(lambda: child.poll() is not None or self.health(spec) is not None, timeout_s)
        if child.poll() is None and served:
            endpoint = self.endpoint()
            if endpoint:
                return endpoint
        took = time.monotonic() - started
        ended = child.poll()
        what = f"ended with code {ended}" if ended is not None else f"did not serve within {took:.0f} s"
        self.end(patience_s=0)
        log = self._program.redact(folder.log_tail())
        raise StartFailed(f"the executor of {folder.name} {what}; the end of its log:\n{log}")

    def end(self, *, patience_s: float) -> None:
        """SIGTERM to the executor, which ends its agents; after `patience_s` seconds, or once it has ended, SIGKILL to
        all processes of this container that are left. Raises LeftoversSurvive."""
        process = self.running()
        seen: list[ProcessInfo] = []
        if process:
            own = process_info(process.pid)
            seen = [*([own] if own else []), *descendants([process.pid])]
            send([info for info in [own] if info], signal.SIGTERM)
            wait_until(lambda: self.running() is None, patience_s)

        def left() -> list[ProcessInfo]:
            return [*marked(f"HOME={self._folder.home}"), *(info for info in seen if still_there(info))]

        def none_left() -> bool:
            self._children.collect()
            found = left()
            kill_below([info.pid for info in found], found)
            return not found

        if not wait_until(none_left, _KILL_S):
            survivors = sorted({info.pid for info in left()})
            raise LeftoversSurvive(f"processes of {self._folder.name} survive SIGKILL: {survivors}")
        self._folder.forget_process()

    def _suits(self, health: ExecutorHealth, config: ExecutorConfig) -> bool:
        if health.maintenance != config.maintenance:
            return False
        try:
            present = msgspec.json.decode(self._folder.config_file.read_bytes(), type=ExecutorConfig)
        except (OSError, msgspec.MsgspecError):
            return False
        if present.token != config.token:
            return False  # nobody could call it any more
        return bool(health.active_runs) or serves_as(present, config, health.protocol_version)

    def _spawn(self, config_file: Path) -> subprocess.Popen[bytes]:
        log = self._folder.open_log()
        try:
            return subprocess.Popen(
                [*self._program.argv, "--config", str(config_file)],
                cwd=self._folder.path,
                env={**self._program.environment, "HOME": str(self._folder.home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(log)
