"""Finding a session's worker again: its container, its executor, and whether it is still the wanted one."""

from collections.abc import Callable

import msgspec

from application.aggregates import Loaded
from application.command_context import CommandContext
from application.effects.effect import EffectObsolete
from application.executor_protocol import WorkspaceCall
from application.ports import ContainerSpec, Executor, ExecutorDirectory, WorkerRuntime
from application.session_commands import Sessions
from domain.identifiers import worker_token
from domain.session.commands import RecordContainerLost, RecordContainerStarted
from domain.session.state import Boot, Running, SessionWorker


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A session's container of its current generation, as the log has it."""

    session_id: str
    state: SessionWorker

    @property
    def container_id(self) -> str:
        if self.state.container is None:
            raise EffectObsolete(f"session {self.session_id} has no container")
        return self.state.container.container_id

    def call(self) -> WorkspaceCall:
        return WorkspaceCall(
            session_id=self.session_id, container_id=self.container_id, generation=self.state.generation
        )


class Workers:
    """Loads workers and reaches their containers and executors."""

    def __init__(
        self, *, sessions: Sessions, runtime: WorkerRuntime, directory: ExecutorDirectory, secret: bytes
    ) -> None:
        self.sessions, self.runtime = sessions, runtime
        self._directory, self._secret = directory, secret

    async def find(self, session_id: str, generation: int | None = None) -> Worker:
        """The worker, at `generation` when given. Raises EffectObsolete when the session has gone on."""
        loaded: Loaded[SessionWorker] = await self.sessions.load(session_id)
        if loaded.state is None:
            raise EffectObsolete(f"no session {session_id} is known")
        if generation is not None and loaded.state.generation != generation:
            raise EffectObsolete(f"session {session_id} is at generation {loaded.state.generation}, not {generation}")
        return Worker(session_id=session_id, state=loaded.state)

    def spec(self, worker: Worker) -> ContainerSpec:
        generation = worker.state.generation
        token = worker_token(self._secret, worker.session_id, generation, "executor")
        return ContainerSpec(session_id=worker.session_id, generation=generation, token=token)

    def executor(self, worker: Worker, run_id: str = "") -> Executor:
        """The executor of a worker that is up. Raises EffectObsolete when the log knows of none."""
        boot = worker.state.boot
        if boot is None:
            raise EffectObsolete(f"session {worker.session_id} has no executor that runs")
        return self._directory.executor(
            session_id=worker.session_id, generation=worker.state.generation, url=boot.url, run_id=run_id
        )

    async def gone(self, worker: Worker, context: Callable[[str], CommandContext]) -> bool:
        """Whether the very daemon says that the container is gone; that is recorded then. Raises RuntimeUnavailable."""
        container = worker.state.container
        if container is None:
            return True
        info = await self.runtime.inspect(self.spec(worker), container.container_id, container.daemon_id)
        if info is not None:
            return False
        await self.sessions.handle(
            worker.session_id,
            RecordContainerLost(
                generation=worker.state.generation,
                detail=f"{container.runtime} has no container {container.container_id} any more",
            ),
            context("lost"),
        )
        return True

    async def ensure_up(self, session_id: str, context: Callable[[str], CommandContext]) -> bool:
        """Make sure that a running worker really runs: start its executor again when it has died. False when the
        container turned out to be gone, which is recorded. Raises RuntimeUnavailable, StartFailed."""
        worker = await self.find(session_id)
        container = worker.state.container
        if not isinstance(worker.state.lifecycle, Running) or container is None:
            return True
        info = await self.runtime.inspect(self.spec(worker), container.container_id, container.daemon_id)
        if info is not None and info.status == "running":
            return True
        return await self.revive(worker, context) is not None

    async def revive(self, worker: Worker, context: Callable[[str], CommandContext]) -> Worker | None:
        """Start the executor of a running worker again when it has died; None when its container is gone."""
        if not isinstance(worker.state.lifecycle, Running):
            raise EffectObsolete(f"session {worker.session_id} is {worker.state.public_state}")
        if await self.gone(worker, context):
            return None
        info = await self.runtime.start(self.spec(worker), worker.container_id)
        health = await self._directory.executor(
            session_id=worker.session_id, generation=worker.state.generation, url=info.url
        ).health()
        handled = await self.sessions.handle(
            worker.session_id,
            RecordContainerStarted(
                generation=worker.state.generation,
                boot=Boot(boot_id=health.boot_id, url=info.url),
                purpose="revival",
            ),
            context(f"revived/{health.boot_id}"),
        )
        return Worker(session_id=worker.session_id, state=handled.state)

    async def boot_of(self, worker: Worker, url: str) -> Boot:
        """The executor that answers at `url`."""
        executor = self._directory.executor(session_id=worker.session_id, generation=worker.state.generation, url=url)
        return Boot(boot_id=(await executor.health()).boot_id, url=url)
