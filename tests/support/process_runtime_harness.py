"""A `process` runtime on its own folder, and what tests do to its containers from outside."""

import fcntl
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from application.ports.worker_runtime import ContainerSpec
from infrastructure.object_store.location import S3Location
from infrastructure.runtimes.executor_setup import ExecutorSetup
from infrastructure.runtimes.polling import wait_until
from infrastructure.runtimes.process import ProcessWorkerRuntime
from infrastructure.runtimes.process_identity import ProcessIdentity, alive
from infrastructure.runtimes.worker_folder import WorkerFolder, folder_of
from tests.support.async_run import run

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in_executor.py")))
REAL = (sys.executable, "-P", "-m", "interfaces.executor")
UNREACHABLE_STORE = S3Location(
    endpoint="http://127.0.0.1:9", bucket="none", region="us-east-1", access_key="key", secret_key="s3-secret-5up3r"
)


class ProcessRuntimeHarness:
    def __init__(self, home: Path, store: S3Location = UNREACHABLE_STORE, argv: tuple[str, ...] = STAND_IN) -> None:
        self.home = home
        self.argv = argv
        self.setup = ExecutorSetup(object_store=store)
        self._held_lock: int | None = None
        self._runtimes: list[ProcessWorkerRuntime] = []
        self.runtime = self.another_process()

    def another_process(self, setup: ExecutorSetup | None = None) -> ProcessWorkerRuntime:
        runtime = ProcessWorkerRuntime(
            self.home,
            setup or self.setup,
            environment={**os.environ, "DATABASE_URL": "postgres://u:5up3r@db", "AWS_SECRET_ACCESS_KEY": "5up3r"},
            executor_argv=self.argv,
            start_timeout_s=90,
            stop_timeout_s=5,
        )
        self._runtimes.append(runtime)
        return runtime

    def with_idle_exit(self, seconds: int) -> ExecutorSetup:
        return replace(self.setup, idle_exit_s=seconds)

    def folder(self, spec: ContainerSpec) -> WorkerFolder:
        return folder_of((self.home / "workers").resolve(), spec)

    def process(self, spec: ContainerSpec) -> ProcessIdentity:
        process = self.folder(spec).process()
        assert process
        return process

    def write(self, spec: ContainerSpec, name: str) -> None:
        (self.folder(spec).path / "workspace" / name).write_text(name)

    def written(self, spec: ContainerSpec, name: str) -> bool:
        return (self.folder(spec).path / "workspace" / name).exists()

    def state(self, spec: ContainerSpec, name: str) -> Path:
        return self.folder(spec).path / "state" / name

    def break_start(self, spec: ContainerSpec) -> str:
        if self.argv == STAND_IN:
            self.state(spec, "fail-to-start").touch()
            return "the test asked for it"
        self._held_lock = os.open(self.state(spec, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._held_lock, fcntl.LOCK_EX)
        return "another executor serves"

    def kill_executor(self, spec: ContainerSpec) -> None:
        process = self.process(spec)
        os.kill(process.pid, signal.SIGKILL)
        assert wait_until(lambda: not alive(process), 90)

    def delete_by_hand(self, spec: ContainerSpec) -> None:
        shutil.rmtree(self.folder(spec).path)

    def visible_to_others(self, spec: ContainerSpec) -> str:
        proc = Path("/proc", str(self.process(spec).pid))
        return (proc / "cmdline").read_text() + (proc / "environ").read_text()

    def modes(self, spec: ContainerSpec) -> dict[str, int]:
        path = self.folder(spec).path
        return {entry.name: entry.stat().st_mode & 0o777 for entry in (path, *path.iterdir())}

    def config(self, spec: ContainerSpec) -> dict[str, object]:
        return msgspec.json.decode(self.folder(spec).config_file.read_bytes(), type=dict[str, object])

    def clean_up(self) -> None:
        run(self.runtime.shutdown())
        if self._held_lock is not None:
            os.close(self._held_lock)
        for runtime in self._runtimes:
            runtime.close()
