"""A runtime and an executor that do nothing, behind their ports, so that only the control plane's work is measured."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from application.executor_protocol import (
    ExecutorHealth,
    JournalEntry,
    LinkResult,
    ReplyResult,
    RestoreResult,
    RunState,
    StartRequest,
    SyncResult,
    ValidateResult,
)
from application.ports.providers import ProviderState
from application.ports.worker_runtime import ContainerInfo, ContainerSpec
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec
from domain.workspace.sync import SyncRef

BOOT = "0123456789abcdef"
SYNCED = SyncRef(manifest_key="p/manifests/1-1-0.json", manifest_hash="0" * 64)


class StubRuntime:
    name = "stub"

    def info(self, spec: ContainerSpec) -> ContainerInfo:
        return ContainerInfo(
            container_id=spec.session_id, runtime="stub", daemon_id="stub", status="running", url="http://stub"
        )

    async def create(self, spec: ContainerSpec) -> ContainerInfo:
        return self.info(spec)

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        return self.info(spec)

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo:
        return self.info(spec)

    async def own_containers(self) -> list[Any]:
        return []

    async def oversized(self) -> list[Any]:
        return []

    async def check(self) -> None: ...

    async def prepare(self) -> None: ...

    async def egress(self) -> str:
        return "stub"

    async def shutdown(self) -> None: ...

    def close(self) -> None: ...


class StubProviders:
    async def capabilities_of(self, spec: RunSpec) -> Capabilities:
        return Capabilities(provider="scripted", todo_stream=True)

    def secret_options(self, provider: str) -> tuple[str, ...]:
        return ()

    def variables_of(self, spec: RunSpec) -> dict[str, str]:
        return {}

    async def all(self) -> tuple[ProviderState, ...]:
        return ()


class StubExecutor:
    def __init__(self, session_id: str, generation: int, begun: dict[str, float], clock: Any) -> None:
        self._session_id, self._generation = session_id, generation
        self._begun, self._clock = begun, clock

    async def health(self) -> ExecutorHealth:
        return ExecutorHealth(boot_id=BOOT, session_id=self._session_id, generation=self._generation, restored=True)

    async def restore(self, _request: Any) -> RestoreResult:
        return RestoreResult()

    async def link_agent_data(self, _request: Any) -> LinkResult:
        return LinkResult()

    async def validate(self, _request: Any) -> ValidateResult:
        return ValidateResult(ok=True)

    async def sync(self, _request: Any) -> SyncResult:
        return SyncResult(sync=SYNCED, unchanged=True)

    async def run_state(self, run_id: str) -> RunState | None:
        return None

    async def start_run(self, request: StartRequest) -> RunState:
        self._begun[request.run_id] = self._clock()
        return RunState(run_id=request.run_id, attempt=request.attempt, boot_id=BOOT, entries=0, finished=False)

    async def follow(self, run_id: str, cursor: int) -> AsyncIterator[list[JournalEntry]]:
        """The journal of an empty script: the end is its only entry."""
        yield [
            JournalEntry(
                n=1,
                boot_id=BOOT,
                attempt=1,
                type="run.agent_finished",
                payload=msgspec.Raw(b'{"outcome":"succeeded","exitCode":0}'),
                ts=datetime.now(UTC),
            )
        ]

    async def stop_run(self, run_id: str) -> RunState | None:
        return None

    async def reply(self, run_id: str, request: Any) -> ReplyResult:
        return ReplyResult()


class StubDirectory:
    """`begun`: when each run's agent was started, by run id."""

    def __init__(self, clock: Any) -> None:
        self.begun: dict[str, float] = {}
        self._clock = clock

    def executor(
        self, *, session_id: str, generation: int, url: str, run_id: str = "", storage: Any = None
    ) -> StubExecutor:
        return StubExecutor(session_id, generation, self.begun, self._clock)

    def circuit_states(self) -> dict[str, Any]:
        return {}


@asynccontextmanager
async def opened(directory: StubDirectory) -> AsyncIterator[StubDirectory]:
    yield directory
