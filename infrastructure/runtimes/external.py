"""The `external` runtime: one executor for all sessions, run by somebody else (EXECUTOR_BASE_URL).

It makes and ends nothing. A session's generation is a folder that the executor keeps for it, by the session and the
generation that every call names; whether one is stopped or removed is a matter of the log alone.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from application.ports import ContainerInfo, ContainerSpec, OwnContainer, RuntimeUnavailable
from domain.identifiers import container_name
from infrastructure.runtimes.executor_health import ProbeFailed, probe

_PROBE_S = 5.0
_THREADS = 4


class ExternalExecutorRuntime:
    """Implements WorkerRuntime. RuntimeUnavailable while nothing answers at `base_url`: an executor that can't be
    reached never is one that is gone."""

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
        """Its gate has ended what ran for the session; the executor itself is everybody's."""

    async def remove(self, spec: ContainerSpec, container_id: str) -> None:
        """The session's next generation is restored from the object store."""

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        del spec
        if daemon_id != self._base_url:
            raise RuntimeUnavailable(f"EXECUTOR_BASE_URL is {self._base_url}, the workspace is at {daemon_id}")
        await self._look()
        return self._info(container_id)

    async def own_containers(self) -> list[OwnContainer]:
        return []

    async def shutdown(self) -> None:
        """Nothing of it is ours."""

    async def end_idle(self) -> None:
        """The same."""

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
