"""A user's message on its way through its session, as application/runs/start.py, agent.py and ending.py handle it."""

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from application.command_context import CommandContext
from application.executor_protocol import StartRequest
from application.ports.effect_handler import EffectObsolete
from application.ports.executor import ExecutorError
from application.ports.worker_runtime import RuntimeUnavailable, StartFailed
from application.sessions.session_workers import SessionWorkers
from domain.errors import Conflict
from domain.run.values import RunSpec
from domain.session.commands import AttachRun, DetachRun, RequestSync
from domain.session.state import Running, SessionWorker
from tests.support.sessions import ACTIVATE
from tests.unit.interleavings.asking import Ask, Held
from tests.unit.interleavings.world import SESSION

PASSING = (ExecutorError, RuntimeUnavailable, StartFailed, EffectObsolete, Conflict)


@dataclass(frozen=True)
class Message:
    """What the log knows of its run survives a crash: `stage`, and the generation that its agent was started in."""

    name: str
    stage: str = "queued"
    generation: int = 0
    lost: bool = False
    lease: int = 1
    held: Held | None = None


class Journey:
    """One execution of a message under its lease. It ends wherever the run would go back to its queue, or look again;
    whoever finds the message not done takes it up again."""

    def __init__(self, message: Message, workers: SessionWorkers) -> None:
        self._name, self._message, self._workers = message.name, message, workers
        self._steps = 0

    async def travel(self) -> None:
        match self._message.stage:
            case "queued":
                await self._prepared()
            case "running":
                await self._followed()
            case "finishing":
                await self._finished()
            case "finished":
                await self._detached()

    async def _prepared(self) -> None:
        sessions = self._workers.sessions
        await sessions.handle(SESSION, ACTIVATE, self._context("activate"))
        await _until("the session is up or down", lambda state: not state.activation_pending)
        try:
            if not await self._workers.ensure_up(SESSION, self._context):
                return
            await _until("the session is free", self._may_attach)
            handled = await sessions.handle(SESSION, AttachRun(run_id=self._name), self._context("attach"))
        except PASSING:
            return
        await self._note("the agent is about to start", stage="running", generation=handled.state.generation)

    def _may_attach(self, state: SessionWorker) -> bool:
        return state.attached_runs in {(), (self._name,)} or not isinstance(state.lifecycle, Running)

    async def _followed(self) -> None:
        try:
            worker = await self._workers.find(SESSION)
            if worker.state.container is None or worker.state.generation != self._message.generation:
                return await self._note("the container is gone", stage="finishing", lost=True)
            executor = self._workers.executor(worker)
            if await executor.run_state(self._name) is None:
                call = worker.call()
                request = StartRequest(
                    session_id=SESSION,
                    container_id=call.container_id,
                    generation=call.generation,
                    session_seq=worker.seq,
                    run_id=self._name,
                    attempt=1,
                    spec=_SPEC,
                )
                await executor.start_run(request)
            await Ask("wait", "the agent ends", self._agent_ended)
            await self._note("the agent has ended", stage="finishing")
        except EffectObsolete:
            await self._note("the worker is gone", stage="finishing", lost=True)
        except ExecutorError:
            with contextlib.suppress(*PASSING):
                await self._workers.revive(await self._workers.find(SESSION), self._context)

    def _agent_ended(self, model: Any) -> bool:
        """True once nothing of the agent lives."""
        return all(box.agent != self._name for box in model.world.boxes)

    async def _finished(self) -> None:
        sessions, sync_id = self._workers.sessions, f"sync-{self._name}"
        state = (await sessions.load(SESSION)).state
        assert state is not None
        if state.settled_sync(sync_id) is None and all(sync.sync_id != sync_id for sync in state.pending_syncs):
            try:
                request = RequestSync(sync_id=sync_id, reason="run.finished", run_id=self._name)
                await sessions.handle(SESSION, request, self._context("request_sync"))
            except Conflict:
                await self._note("not exported", stage="finished")
                return
        await _until(
            "final sync ends",
            lambda state: (
                all(sync.sync_id != sync_id for sync in state.pending_syncs) or not isinstance(state.lifecycle, Running)
            ),
        )
        await self._note("finished", stage="finished")

    async def _detached(self) -> None:
        await self._workers.sessions.handle(SESSION, DetachRun(run_id=self._name), self._context("detach"))
        await self._note("detached", stage="done")

    def _context(self, step: str) -> CommandContext:
        self._steps += 1
        command_id = f"message/{self._name}/{self._message.lease}/{self._steps}/{step}"
        return CommandContext(actor="ann", command_id=command_id, correlation_id="c")

    async def _note(self, what: str, **changes: Any) -> None:
        """A commit of the run's own stream."""

        def note(model: Any) -> None:
            present = model.message(self._name)
            model.put_message(replace(present, **changes))

        await Ask("look", what, note)


async def _until(what: str, reached: Any) -> None:
    await Ask("wait", what, lambda model: reached(model.state))


_SPEC = RunSpec(
    session_id=SESSION, app_id="shop", project_name="web", user_login_name="ann", provider="scripted", messages=()
)
