"""Finding a session's worker again: its container, its executor, and whether it is still the wanted one."""

from collections.abc import Callable

import msgspec

from application.aggregates import Loaded
from application.command_context import CommandContext
from application.effects.effect import EffectObsolete
from application.executor_protocol import WorkspaceCall
from application.ports import (
    ContainerGone,
    ContainerInfo,
    ContainerSpec,
    Executor,
    ExecutorDirectory,
    RuntimeUnavailable,
    WorkerRuntime,
)
from application.session_commands import Sessions
from domain.errors import Fenced
from domain.identifiers import worker_token
from domain.session.commands import RecordContainerLost, RecordContainerStarted, SessionCommand
from domain.session.state import Boot, Running, SessionWorker

LOG_LIMIT = 4000
"""How many characters of a dead executor's log are kept."""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A session's container of its current generation, as the log has it."""

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


class Workers:
    """Loads workers and reaches their containers and executors."""

    def __init__(
        self, *, sessions: Sessions, runtime: WorkerRuntime, directory: ExecutorDirectory, secret: bytes
    ) -> None:
        self.sessions, self.runtime = sessions, runtime
        self._directory, self._secret = directory, secret

    async def find(self, session_id: str, generation: int | None = None) -> Worker:
        """The worker, at `generation` when given. Raises EffectObsolete when the session has gone on."""
        return self._worker(session_id, generation, await self.sessions.load(session_id))

    async def recent(self, session_id: str) -> Worker:
        """The worker as this process last saw it, for a call that shows whether it still is. Raises EffectObsolete."""
        return self._worker(session_id, None, await self.sessions.recent(session_id))

    def _worker(self, session_id: str, generation: int | None, loaded: Loaded[SessionWorker]) -> Worker:
        if loaded.state is None:
            raise EffectObsolete(f"no session {session_id} is known")
        if generation is not None and loaded.state.generation != generation:
            raise EffectObsolete(f"session {session_id} is at generation {loaded.state.generation}, not {generation}")
        return Worker(session_id=session_id, state=loaded.state, seq=loaded.seq)

    def spec(self, worker: Worker) -> ContainerSpec:
        generation = worker.state.generation
        token = worker_token(self._secret, worker.session_id, generation, "executor")
        return ContainerSpec(session_id=worker.session_id, generation=generation, token=token)

    def callback_token(self, worker: Worker) -> str:
        """What an agent in this worker may call the API's callbacks with (callback_tokens.py verifies it)."""
        return worker_token(self._secret, worker.session_id, worker.state.generation, "callback")

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
        return await self._inspected(worker, context) is None

    async def _inspected(self, worker: Worker, context: Callable[[str], CommandContext]) -> ContainerInfo | None:
        container = worker.state.container
        if container is None:
            return None
        info = await self.runtime.inspect(self.spec(worker), container.container_id, container.daemon_id)
        if info is None:
            command = RecordContainerLost(
                generation=worker.state.generation,
                detail=f"{container.runtime} has no container {container.container_id} any more",
            )
            await self._record(worker, command, context("lost"))
        return info

    async def start(
        self, worker: Worker, context: Callable[[str], CommandContext], *, maintenance: bool = False
    ) -> ContainerInfo | None:
        """Start its container and executor; None when that container is gone, which is recorded. Raises
        RuntimeUnavailable, StartFailed."""
        try:
            return await self.runtime.start(self.spec(worker), worker.container_id, maintenance=maintenance)
        except ContainerGone as error:
            if await self.gone(worker, context):
                return None
            raise RuntimeUnavailable(str(error)) from error

    async def remove(self, worker: Worker) -> None:
        """Remove its container, if it has one that is not gone yet. Raises RuntimeUnavailable, also where another
        daemon answers than the one that made the container: what that one does not have may well be there."""
        container, spec = worker.state.container, self.spec(worker)
        if container is None:
            return
        if await self.runtime.inspect(spec, container.container_id, container.daemon_id) is not None:
            await self.runtime.remove(spec, container.container_id)

    async def ensure_up(
        self, session_id: str, context: Callable[[str], CommandContext], *, recent: bool = False
    ) -> bool:
        """Make sure that a running worker really runs: start its executor again when it has died. False when the
        container turned out to be gone, which is recorded. `recent`: the worker as this process last saw it will do.
        Raises as `revive` does."""
        worker = await (self.recent(session_id) if recent else self.find(session_id))
        container = worker.state.container
        if not isinstance(worker.state.lifecycle, Running) or container is None:
            return True
        return await self.is_up(worker) or await self.revive(worker, context) is not None

    async def is_up(self, worker: Worker) -> bool:
        """Whether its container runs. Raises RuntimeUnavailable."""
        container = worker.state.container
        if container is None:
            return False
        info = await self.runtime.inspect(self.spec(worker), container.container_id, container.daemon_id)
        return info is not None and info.status == "running"

    async def revive(self, worker: Worker, context: Callable[[str], CommandContext]) -> Worker | None:
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
        return await self._record(worker, command, context(f"revived/{boot.boot_id}"))

    async def boot_of(self, worker: Worker, url: str) -> Boot:
        """The executor that answers at `url`."""
        executor = self._directory.executor(session_id=worker.session_id, generation=worker.state.generation, url=url)
        return Boot(boot_id=(await executor.health()).boot_id, url=url)

    async def _record(self, worker: Worker, command: SessionCommand, context: CommandContext) -> Worker:
        """The worker after `command`. Raises EffectObsolete when the session has gone on: to whoever executes a run,
        Fenced would say that the run's own lease is lost."""
        try:
            handled = await self.sessions.handle(worker.session_id, command, context)
        except Fenced as error:
            raise EffectObsolete(str(error)) from error
        return Worker(session_id=worker.session_id, state=handled.state, seq=handled.seq)
