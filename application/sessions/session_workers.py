"""Session workers as effects and runs see them: their state in the log, their container and their executor."""

from collections.abc import Callable

import msgspec

from application.aggregates.aggregates import Loaded
from application.command_context import CommandContext
from application.executor_protocol import WorkspaceCall
from application.ports.effect_handler import EffectObsolete
from application.ports.executor import Executor, ExecutorDirectory
from application.ports.worker_runtime import (
    ContainerGone,
    ContainerInfo,
    ContainerSpec,
    RuntimeUnavailable,
    WorkerRuntime,
)
from application.repairs.kinds import CONTAINER_LOST, EXECUTOR_DIED, Repair
from application.repairs.said import UNCOUNTED, Found, Repairs
from application.sessions.commands import Sessions
from domain.errors import Fenced
from domain.identifiers import worker_token
from domain.session.commands import RecordContainerLost, RecordContainerStarted, SessionCommand
from domain.session.state import Boot, Running, SessionWorker
from domain.workspace.storage import StorageScope, storage_scope

LOG_LIMIT = 4000
"""How many characters of a dead executor's log are kept."""


class LoadedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A session worker as the log has it, up to `seq` of its stream."""

    session_id: str
    state: SessionWorker
    seq: int = 0

    @property
    def container_id(self) -> str:
        if self.state.container is None:
            raise EffectObsolete(f"session {self.session_id} has no container")
        return self.state.container.container_id

    def call(self) -> WorkspaceCall:
        return WorkspaceCall(
            session_id=self.session_id,
            container_id=self.container_id,
            generation=self.state.generation,
            session_seq=self.seq,
        )


class SessionWorkers:
    """Loads session workers and reaches their containers and executors. Every `context` makes the command context of a
    step, for what is recorded on the way."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        runtime: WorkerRuntime,
        directory: ExecutorDirectory,
        secret: bytes,
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self.sessions, self.runtime = sessions, runtime
        self._directory, self._secret = directory, secret

    async def find(self, session_id: str, generation: int | None = None) -> LoadedWorker:
        """The session worker. Raises EffectObsolete for an unknown session, or one that is not at `generation`, if
        given."""
        return self._worker(session_id, generation, await self.sessions.load(session_id))

    async def recent(self, session_id: str) -> LoadedWorker:
        """The session worker by the cached state, possibly stale: for calls that fail if it is. Raises
        EffectObsolete."""
        return self._worker(session_id, None, await self.sessions.recent(session_id))

    def _worker(self, session_id: str, generation: int | None, loaded: Loaded[SessionWorker]) -> LoadedWorker:
        if loaded.state is None:
            raise EffectObsolete(f"no session {session_id} is known")
        if generation is not None and loaded.state.generation != generation:
            raise EffectObsolete(f"session {session_id} is at generation {loaded.state.generation}, not {generation}")
        return LoadedWorker(session_id=session_id, state=loaded.state, seq=loaded.seq)

    def spec(self, worker: LoadedWorker) -> ContainerSpec:
        generation = worker.state.generation
        token = worker_token(self._secret, worker.session_id, generation, "executor")
        return ContainerSpec(session_id=worker.session_id, generation=generation, token=token, storage=_storage(worker))

    def callback_token(self, worker: LoadedWorker) -> str:
        """The bearer token of this worker's agents for the API's callbacks (callback_tokens.py verifies it)."""
        return worker_token(self._secret, worker.session_id, worker.state.generation, "callback")

    def executor(self, worker: LoadedWorker, run_id: str = "") -> Executor:
        """The worker's executor. Raises EffectObsolete when the log names none that runs."""
        boot = worker.state.boot
        if boot is None:
            raise EffectObsolete(f"session {worker.session_id} has no executor that runs")
        return self._directory.executor(
            session_id=worker.session_id,
            generation=worker.state.generation,
            url=boot.url,
            run_id=run_id,
            storage=_storage(worker),
        )

    async def gone(self, worker: LoadedWorker, context: Callable[[str], CommandContext]) -> bool:
        """Whether the daemon that made the container says that it is gone, which is recorded. Raises
        RuntimeUnavailable."""
        return await self._inspected(worker, context) is None

    async def _inspected(self, worker: LoadedWorker, context: Callable[[str], CommandContext]) -> ContainerInfo | None:
        container = worker.state.container
        if container is None:
            return None
        info = await self.runtime.inspect(self.spec(worker), container.container_id, container.daemon_id)
        if info is None:
            command = RecordContainerLost(
                generation=worker.state.generation,
                detail=f"{container.runtime} has no container {container.container_id} any more",
            )
            await self._record(worker, command, context("lost"), CONTAINER_LOST)
        return info

    async def start(
        self, worker: LoadedWorker, context: Callable[[str], CommandContext], *, maintenance: bool = False
    ) -> ContainerInfo | None:
        """Start its container and executor; None when that container is gone, which is recorded. Raises
        RuntimeUnavailable, StartFailed."""
        try:
            return await self.runtime.start(self.spec(worker), worker.container_id, maintenance=maintenance)
        except ContainerGone as error:
            if await self.gone(worker, context):
                return None
            raise RuntimeUnavailable(str(error)) from error

    async def remove(self, worker: LoadedWorker) -> None:
        """Remove its container, if there is one. Raises RuntimeUnavailable, also when another daemon answers than the
        one that made the container: that one may still have it."""
        container, spec = worker.state.container, self.spec(worker)
        if container is None:
            return
        if await self.runtime.inspect(spec, container.container_id, container.daemon_id) is not None:
            await self.runtime.remove(spec, container.container_id)

    async def ensure_up(self, session_id: str, context: Callable[[str], CommandContext]) -> bool:
        """Start the executor of a running session worker again if it has died. False when the container is gone, which
        is recorded; True for a worker that is not running according to the log. Raises as `revive` does."""
        worker = await self.find(session_id)
        container = worker.state.container
        if not isinstance(worker.state.lifecycle, Running) or container is None:
            return True
        return await self.is_up(worker) or await self.revive(worker, context) is not None

    async def is_up(self, worker: LoadedWorker) -> bool:
        """Whether its container runs, and its executor serves where the log says. It may serve elsewhere: a control
        plane that had started it again died before that was recorded. Raises RuntimeUnavailable."""
        container, boot = worker.state.container, worker.state.boot
        if container is None:
            return False
        info = await self.runtime.inspect(self.spec(worker), container.container_id, container.daemon_id)
        if info is None or info.status != "running":
            return False
        return boot is None or info.url in {"", boot.url}

    async def revive(self, worker: LoadedWorker, context: Callable[[str], CommandContext]) -> LoadedWorker | None:
        """Start the executor of a running worker again when it has died; None when its container is gone, which is
        recorded. Raises EffectObsolete, RuntimeUnavailable, StartFailed, ExecutorError."""
        if not isinstance(worker.state.lifecycle, Running):
            raise EffectObsolete(f"session {worker.session_id} is {worker.state.public_state}")
        died = await self._inspected(worker, context)
        info = None if died is None else await self.start(worker, context)
        if died is None or info is None:
            return None
        boot = await self.boot_of(worker, info.url)
        command = RecordContainerStarted(
            generation=worker.state.generation, boot=boot, purpose="revival", exit_log=died.exit_log[-LOG_LIMIT:]
        )
        return await self._record(worker, command, context(f"revived/{boot.boot_id}"), EXECUTOR_DIED)

    async def boot_of(self, worker: LoadedWorker, url: str) -> Boot:
        """The executor that answers at `url`."""
        executor = self._directory.executor(session_id=worker.session_id, generation=worker.state.generation, url=url)
        return Boot(boot_id=(await executor.health()).boot_id, url=url)

    async def _record(
        self, worker: LoadedWorker, command: SessionCommand, context: CommandContext, repair: Repair
    ) -> LoadedWorker:
        """The worker after `command`. Fenced by the session becomes EffectObsolete: whoever executes a run would take
        Fenced for the loss of the run's own lease."""
        try:
            handled = await self.sessions.handle(worker.session_id, command, context)
        except Fenced as error:
            raise EffectObsolete(str(error)) from error
        if handled.events:
            found = Found(session_id=worker.session_id, container_id=worker.container_id)
            self._repairs.of_round(repair, context, found)
        return LoadedWorker(session_id=worker.session_id, state=handled.state, seq=handled.seq)


def _storage(worker: LoadedWorker) -> StorageScope:
    return storage_scope(worker.state.workspace_prefix, worker.state.plan)
