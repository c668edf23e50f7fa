"""The `external` runtime: one executor for all sessions, run outside of Fleetlog (EXECUTOR_BASE_URL).

It starts and ends nothing. Every call names a session and a generation, for which the executor keeps a folder. That a
worker is stopped or removed is recorded in the log and changes nothing at the executor.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from application.ports.worker_runtime import (
    ContainerInfo,
    ContainerSpec,
    OversizedContainer,
    OwnContainer,
    RuntimeUnavailable,
)
from domain.identifiers import container_name
from infrastructure.runtimes.executor_health import ProbeFailed, probe

_PROBE_S = 5.0
_THREADS = 4


class ExternalExecutorRuntime:
    """Implements WorkerRuntime. Raises RuntimeUnavailable while nothing answers at `base_url`: that an executor can't
    be reached never means that it is gone."""

    name = "external"

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="external-runtime")

    async def create(self, spec: ContainerSpec) -> ContainerInfo:
        return self._info(container_name(spec.session_id, spec.generation))

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        del spec, maintenance
        await self._look()
        return self._info(container_id)

    async def stop(self, spec: ContainerSpec, container_id: str) -> None:
        """Do nothing: the gate sync has ended the session's processes, and other sessions share the executor."""

    async def remove(self, spec: ContainerSpec, container_id: str) -> None:
        """Do nothing: the session's next generation is restored from the object store."""

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        del spec
        if daemon_id != self._base_url:
            raise RuntimeUnavailable(f"EXECUTOR_BASE_URL is {self._base_url}, the workspace is at {daemon_id}")
        await self._look()
        return self._info(container_id)

    async def own_containers(self) -> list[OwnContainer]:
        return []

    async def check(self) -> None:
        """Do nothing: there is no daemon."""

    async def prepare(self) -> None:
        """Do nothing: the executor may come later."""

    async def egress(self) -> str:
        return "as whoever runs the executor has it"

    async def oversized(self) -> list[OversizedContainer]:
        return []

    async def shutdown(self) -> None:
        """Do nothing: the executor is not ours."""

    async def end_idle(self) -> None:
        """Do nothing, as `shutdown`."""

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _info(self, container_id: str) -> ContainerInfo:
        return ContainerInfo(
            container_id=container_id,
            runtime=self.name,
            daemon_id=self._base_url,
            status="running",
            url=self._base_url,
        )

    async def _look(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._probe)
        except ProbeFailed as error:
            raise RuntimeUnavailable(f"the shared executor does not answer: {error}") from error

    def _probe(self) -> None:
        probe(self._base_url, timeout_s=_PROBE_S)
