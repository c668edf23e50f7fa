"""The `docker` runtime: one hardened container per generation of a session worker."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from threading import Event
from typing import Any, TypeVar

import msgspec

from application.executor_protocol import ExecutorConfig
from application.ports.worker_runtime import (
    ContainerGone,
    ContainerInfo,
    ContainerSpec,
    OversizedContainer,
    OwnContainer,
    RuntimeUnavailable,
    StartFailed,
)
from infrastructure.runtimes.container_locks import ContainerLocks
from infrastructure.runtimes.container_settings import (
    AGENT_USER,
    CONFIG_FILE,
    CONFIG_FOLDER,
    EXECUTOR_PORT,
    LABEL_GENERATION,
    LABEL_SESSION,
    ContainerSettings,
    docker_name,
    labels,
)
from infrastructure.runtimes.docker_disks import ContainerDisks
from infrastructure.runtimes.docker_engine import DockerEngine, public_status, published_url, status_of
from infrastructure.runtimes.egress import EgressNotEnforceable, HostFirewall
from infrastructure.runtimes.executor_health import ProbeFailed, belongs_to, probe
from infrastructure.runtimes.executor_setup import ExecutorSetup, WorkerFolders, serves_as
from infrastructure.runtimes.polling import wait_until

FOLDERS = WorkerFolders(
    workspace=PurePosixPath("/workspace"),
    home=PurePosixPath("/home/agent"),
    state=PurePosixPath("/var/lib/fleetlog"),
)
_PROBE_S = 5.0
_SECOND_END_S = 2.0
_LOOK_S = 0.25
"""Seconds between two questions to the daemon, during a start, whether the container still runs."""

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class DockerWorkerRuntime:
    """Implements WorkerRuntime. `installation` distinguishes our containers from others on the same daemon.

    `environment` is this process's, for DOCKER_HOST and its like; `firewall` limits what containers reach. A
    container's id is Docker's own. Starts, stops and removals of one container run one at a time within this process;
    between processes the effect's lease ensures it. `shared`: other processes may work with the same containers.
    """

    name = "docker"

    def __init__(
        self,
        installation: str,
        settings: ContainerSettings,
        setup: ExecutorSetup,
        *,
        environment: Mapping[str, str],
        firewall: HostFirewall | None = None,
        shared: bool = False,
        start_timeout_s: float = 60.0,
        stop_timeout_s: int = 15,
        threads: int = 16,
    ) -> None:
        self._installation = installation
        self._firewall = firewall
        self._settings = settings
        self._setup = replace(setup, idle_exit_s=0)  # Docker would start it again at once
        self._engine = DockerEngine(environment, installation=installation, connections=threads)
        self._shared = shared
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="docker-runtime")
        self._locks = ContainerLocks()
        self._closing = Event()
        self._disks = ContainerDisks(self._engine, settings.disk_bytes)
        self._daemon_id = ""  # as last read: good enough to report, never to decide that a container is gone

    async def prepare(self) -> None:
        """Make the containers' network, and put its rules in force; leave that to the first container while no daemon
        answers. Raises EgressNotEnforceable."""
        with suppress(RuntimeUnavailable):
            await self._call(self._prepare)

    async def egress(self) -> str:
        await self._call(self._limit)
        return self._firewall.told() if self._firewall is not None else "as the processes have it that make containers"

    async def create(self, spec: ContainerSpec) -> ContainerInfo:
        """Raises StartFailed if the image is missing or the daemon refuses."""
        return await self._call(self._create, spec)

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        """Raises ContainerGone if the daemon that answers now has no such container; `inspect` also checks its id."""
        return await self._call(self._start, spec, container_id, maintenance)

    async def stop(self, spec: ContainerSpec, container_id: str) -> None:
        """Raises RuntimeUnavailable, and leaves it alone, if it is not of this session and generation."""
        await self._call(self._stop, spec, container_id)

    async def remove(self, spec: ContainerSpec, container_id: str) -> None:
        """Raises RuntimeUnavailable, and leaves it alone, if it is not of this session and generation."""
        await self._call(self._remove, spec, container_id)

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        return await self._call(self._inspect, spec, container_id, daemon_id)

    async def own_containers(self) -> list[OwnContainer]:
        return await self._call(self._own_containers)

    async def oversized(self) -> list[OversizedContainer]:
        return await self._call(self._disks.oversized)

    def image_labels(self) -> dict[str, str] | None:
        """The labels of the session workers' image; None if there is none. Blocks. Raises RuntimeUnavailable."""
        return self._engine.image_labels(self._settings.image)

    async def check(self) -> None:
        await self._call(self._engine.daemon_id)

    async def shutdown(self) -> None:
        """As `end_idle`: Docker keeps containers with a run going, and the next process goes on with their runs."""
        await self.end_idle()

    async def end_idle(self) -> None:
        """Stop the containers without an active run, with their files in them; none if other processes may work with
        them. What can't be asked or stopped is left running."""
        if self._shared:
            return
        try:
            own = await self._call(self._engine.own)
        except RuntimeUnavailable as error:
            log.warning("containers were left as they are: %s", error)
            return
        running = [each["Id"] for each in own if public_status(each["State"]) == "running"]
        ended = await asyncio.gather(*(self._call(self._end_if_idle, each) for each in running), return_exceptions=True)
        for container_id, failure in zip(running, ended, strict=True):
            if isinstance(failure, BaseException):
                log.warning("container %s was left running: %s", container_id[:12], failure)

    def close(self) -> None:
        """Release threads and connections and abort starts under way. Containers stay."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._engine.close()

    def _create(self, spec: ContainerSpec) -> ContainerInfo:
        name = docker_name(self._installation, spec)
        found = self._engine.find(name)
        if found is None:
            self._limit()
            self._engine.create(spec, self._settings)
            found = self._engine.find(name)
        if found is None:
            raise RuntimeUnavailable(f"{name} was made and is not there")
        self._check_owner(found, spec)
        self._daemon_id = self._engine.daemon_id()
        return self._info(found, self._daemon_id)

    def _prepare(self) -> None:
        if self._firewall is None:
            return
        if self._firewall.policy == "open":
            if self._engine.remove_unused_network(self._firewall.bridge):
                self._firewall.remove()
            return
        self._engine.own_network(self._firewall.bridge)
        self._firewall.enforce(anew=True)

    def _limit(self) -> None:
        """Put the rules in force for what containers reach, should they not be any more."""
        if self._firewall is None:
            return
        try:
            if self._firewall.bridge_is_missing():
                self._prepare()
            self._firewall.enforce()
        except EgressNotEnforceable as error:
            raise RuntimeUnavailable(str(error)) from error

    def _start(self, spec: ContainerSpec, container_id: str, maintenance: bool) -> ContainerInfo:
        config = self._setup.config(
            spec,
            container_id,
            FOLDERS,
            mode="maintenance" if maintenance else "normal",
            host="0.0.0.0",  # noqa: S104  within the container: outside, only what is published counts
            port=EXECUTOR_PORT,
            agent_user=AGENT_USER,
        )
        self._limit()
        with self._locks.alone(container_id):
            found = self._found(spec, container_id)
            if not self._adopted(found, spec, config):
                if status_of(found) == "running":
                    self._engine.stop(container_id, patience_s=self._stop_timeout_s)
                self._boot(found, spec, config)
            return self._info(self._found(spec, container_id), self._daemon_id or self._engine.daemon_id())

    def _adopted(self, found: dict[str, Any], spec: ContainerSpec, config: ExecutorConfig) -> bool:
        """Whether the container runs, its executor answers in time, and its configuration will do."""
        container_id = found["Id"]
        if found["State"]["Status"] != "running":
            return False
        content = self._engine.file(container_id, f"{CONFIG_FOLDER}/{CONFIG_FILE}")
        if content is None:  # another process is about to write its configuration, or died before it did
            content = self._put_config(container_id, config)
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            self._check_open()
            url = published_url(found, self._settings.network)
            try:
                health = probe(url, timeout_s=_PROBE_S)
                break
            except ProbeFailed:
                if time.monotonic() > deadline or found["State"]["Status"] != "running":
                    return False
            time.sleep(0.1)
            found = self._found(spec, container_id)
        if not belongs_to(health, spec) or health.maintenance != config.maintenance:
            return False
        present = msgspec.json.decode(content, type=ExecutorConfig)
        return serves_as(present, config, health.protocol_version) or (
            present.token == config.token and bool(health.active_runs)
        )

    def _boot(self, before: dict[str, Any], spec: ContainerSpec, config: ExecutorConfig) -> None:
        """Start the container and wait until its executor serves. Raises StartFailed.

        A new container gets its configuration after its start: the executor waits for the file, and loads meanwhile.
        One that ran before may hold a file with another mode or token, so it gets the current one first."""
        container_id, new = before["Id"], status_of(before) == "created"
        if not new:
            self._put_config(container_id, config)
        self._engine.start(container_id)
        found = self._found(spec, container_id)
        if new:
            self._put_config(container_id, config)
        restarts, looked_at = found["RestartCount"], time.monotonic()
        last_answer = "it was not asked"

        def died() -> bool:
            return found["RestartCount"] != restarts or status_of(found) != "running"

        def served_or_died() -> bool:
            nonlocal found, looked_at, last_answer
            self._check_open()
            if time.monotonic() - looked_at > _LOOK_S:
                found, looked_at = self._found(spec, container_id), time.monotonic()
            if died():
                return True
            try:
                health = probe(published_url(found, self._settings.network), timeout_s=_PROBE_S)
                last_answer = f"session {health.session_id}, generation {health.generation}"
                return belongs_to(health, spec)
            except ProbeFailed as failure:
                last_answer = str(failure)
                if isinstance(failure.__cause__, ConnectionRefusedError):
                    looked_at = 0.0  # it may have ended: ask at once, before Docker restarts it 100 ms later
                return False

        if wait_until(served_or_died, self._start_timeout_s) and not died():
            return
        what = (
            self._ending(spec, container_id)
            if died()
            else f"did not serve within {self._start_timeout_s:.0f} s (last: {last_answer})"
        )
        log = self._log_tail(container_id)
        self._engine.stop(container_id, patience_s=0)  # or Docker would restart it again and again
        raise StartFailed(f"the executor in {container_id[:12]} {what}; the end of its log:\n{log}")

    def _ending(self, spec: ContainerSpec, container_id: str) -> str:
        """How an executor ended, as text. Docker restarts it again and again; it has an exit code only while down."""
        state: dict[str, Any] = {}

        def is_down() -> bool:
            nonlocal state
            state = self._found(spec, container_id)["State"]
            return bool(state["Status"] != "running")

        if not wait_until(is_down, _SECOND_END_S):
            return "ended, and was started again by Docker"
        return f"ended with code {state['ExitCode']}{' (out of memory)' if state['OOMKilled'] else ''}"

    def _log_tail(self, container_id: str) -> str:
        return self._setup.redact(self._engine.log_tail(container_id))

    def _put_config(self, container_id: str, config: ExecutorConfig) -> bytes:
        """Its text."""
        content = msgspec.json.encode(config)
        self._engine.put_file(container_id, CONFIG_FOLDER, CONFIG_FILE, content)
        return content

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise RuntimeUnavailable("this process ends; the container goes on starting by itself")

    def _stop(self, spec: ContainerSpec, container_id: str) -> None:
        with self._locks.alone(container_id):
            if self._find(spec, container_id):
                self._engine.stop(container_id, patience_s=self._stop_timeout_s)

    def _end_if_idle(self, container_id: str) -> None:
        with self._locks.alone(container_id):
            found = self._engine.find(container_id)
            if found is None or status_of(found) != "running":
                return
            if not probe(published_url(found, self._settings.network), timeout_s=_PROBE_S).active_runs:
                self._engine.stop(container_id, patience_s=self._stop_timeout_s)

    def _remove(self, spec: ContainerSpec, container_id: str) -> None:
        with self._locks.alone(container_id):
            if self._find(spec, container_id) is None:
                return
            self._engine.stop(container_id, patience_s=self._stop_timeout_s)
            self._engine.remove(container_id)
            if not wait_until(lambda: self._engine.find(container_id) is None, self._stop_timeout_s):
                raise RuntimeUnavailable(f"Docker is still removing {container_id[:12]}")

    def _inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        found = self._find(spec, container_id)
        # Read after `_find`: if the id matches now, that daemon also gave the answer that there is no container.
        present = self._engine.daemon_id()
        self._daemon_id = present
        if present != daemon_id:
            raise RuntimeUnavailable(f"the Docker daemon is {present}, the container is on {daemon_id}")
        return self._info(found, present) if found else None

    def _own_containers(self) -> list[OwnContainer]:
        self._limit()  # somebody may have flushed the host's rules; this is asked every minute
        listed = [
            OwnContainer(
                container_id=each["Id"],
                session_id=each["Labels"].get(LABEL_SESSION, ""),
                generation=int(each["Labels"].get(LABEL_GENERATION, 0)),
                status=public_status(each["State"]),
                created_at=datetime.fromtimestamp(each["Created"], UTC),
            )
            for each in self._engine.own()
        ]
        return sorted(listed, key=lambda each: (each.created_at, each.session_id, each.generation))

    def _info(self, found: dict[str, Any], daemon_id: str) -> ContainerInfo:
        status = status_of(found)
        return ContainerInfo(
            container_id=found["Id"],
            runtime=self.name,
            daemon_id=daemon_id,
            status=status,
            url=published_url(found, self._settings.network) if status == "running" else "",
            exit_log=self._log_tail(found["Id"]) if status == "exited" else "",
        )

    def _found(self, spec: ContainerSpec, container_id: str) -> dict[str, Any]:
        found = self._find(spec, container_id)
        if found is None:
            raise ContainerGone(f"Docker has no container {container_id}")
        return found

    def _find(self, spec: ContainerSpec, container_id: str) -> dict[str, Any] | None:
        found = self._engine.find(container_id)
        if found:
            self._check_owner(found, spec)
        return found

    def _check_owner(self, found: dict[str, Any], spec: ContainerSpec) -> None:
        present = found["Config"]["Labels"] or {}
        if any(present.get(name) != value for name, value in labels(self._installation, spec).items()):
            raise RuntimeUnavailable(
                f"{found['Name']} is not the container of session {spec.session_id}, generation {spec.generation}"
            )

    async def _call(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
