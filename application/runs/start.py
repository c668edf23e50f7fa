"""The start of a run: its claim, a session worker that is up, the run attached to its session, and run.started.

Where the session worker is up, all of it is appended in one commit. Otherwise the claim is recorded first; then the
session worker is brought up.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from application.aggregates.command_sequence import Step, handle_sequence
from application.aggregates.waiting import wait_for_state
from application.command_context import CommandContext
from application.outages import DOCKER
from application.ports.effect_handler import EffectObsolete
from application.ports.executor import ExecutorError
from application.ports.worker_runtime import RuntimeDown, RuntimeUnavailable, StartFailed
from application.runs.execution_context import ExecutionContext
from application.sessions.session_workers import LoadedWorker
from application.task_cancellation import cancel_and_wait
from domain.errors import Conflict, DomainError
from domain.identifiers import run_stream, session_stream
from domain.run.commands import ClaimRun, EnterPhase, InheritConversation, RunCommand, StartAgent
from domain.run.events import RunClaimed
from domain.run.state import Active, Queued, Run
from domain.run.values import Phase, RunSpec, WaitsFor
from domain.session.commands import ActivateSession, AttachRun
from domain.session.state import Activating, Running, SessionWorker

ACTIVATION_TIMEOUT_S = 3600.0
"""Of a run that is not parked while it waits. Each step of an activation has a shorter limit; a session may wait long
for one of the MAX_WORKERS slots."""
CANCEL_CHECK_S = 3600.0
LOOK_TIMEOUT_S = 0.5
PHASES: tuple[Phase, ...] = ("restoring", "linking", "preparing")


class StartRun:
    """`attached`: this execution has attached the run to its session, and has seen that the session worker is up.
    `was_parked`: what the run waited for before this execution claimed it."""

    def __init__(self, execution: ExecutionContext) -> None:
        self._execution, self._run_id = execution, execution.run_id
        self._runs, self._workers = execution.ports.runs, execution.ports.workers
        self._sessions, self._lease = execution.ports.workers.sessions, execution.lease.generation
        self.attached = False
        self.was_parked: WaitsFor | None = None

    async def claim(self) -> Run:
        """The run after its claim is recorded, and also its start if the session worker is up."""
        claim = ClaimRun(lease_generation=self._lease, owner=self._execution.lease.owner)
        claimed = Step(
            aggregates=self._runs, key=self._run_id, commands=[(claim, "")], context=self._context("claimed")
        )
        start = await self._steps_if_up()
        handled = await handle_sequence((claimed, *start))
        self.attached = bool(start) and len(handled) == 1 + len(start)
        self.was_parked = next((each.was_parked for each in handled[0].events if isinstance(each, RunClaimed)), None)
        run: Run = handled[-1 if self.attached else 0].state
        return run

    async def prepare(self, run: Run) -> Run:
        """The run, claimed before, after the start of its agent is recorded, or the attempt has failed; or parked."""
        if run.cancel_requested:
            return await self._canceled(run)
        if run.abort is not None:
            return await self._execution.fail_attempt(run, run.abort.error_class, run.abort.message)
        assert run.spec is not None
        try:
            worker = await self._unless_canceled(self._attached_worker(run.spec))
            boot_id = (await self._workers.executor(worker, self._run_id).health()).boot_id
            inherited = await self._inherited_conversation(run, worker)
        except _Canceled:
            return await self._canceled(run)
        except _Waits as waiting:
            return await self._execution.park(run, waiting.what)
        except _NotReady as error:
            return await self._execution.fail_attempt(run, "bad_input" if error.final else "environment", str(error))
        except (ExecutorError, EffectObsolete, RuntimeUnavailable, StartFailed) as error:
            down = isinstance(error, RuntimeDown) and self._execution.ports.outages.failed(DOCKER, str(error))
            return await self._execution.fail_attempt(run, "environment", str(error), excused=down)
        commands = self._start_commands(worker, boot_id, inherited)
        started = (await self._runs.handle_batch(self._run_id, commands, self._context("started"))).state
        self.attached = True
        return started

    async def _canceled(self, run: Run) -> Run:
        return await self._execution.fail_attempt(run, "internal", "canceled before the agent started")

    async def _steps_if_up(self) -> Sequence[Step]:
        """The steps after the claim if the session worker is up: attach the run, record its start. Empty if it is not,
        or does not answer soon. Only reads, since the claim is not recorded yet."""
        run = (await self._runs.recent(self._run_id)).state
        if run is None or run.spec is None or not isinstance(run.stage, Queued):
            return ()
        session = (await self._sessions.recent(run.session_id)).state
        # What a run of a fork inherits can only be decided once it is attached.
        if session is None or not isinstance(session.lifecycle, Running) or session.fork is not None:
            return ()
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                worker = await self._workers.recent(run.session_id)
                if not await self._workers.is_up(worker):
                    return ()
                health = await self._workers.executor(worker, self._run_id).health()
        except (TimeoutError, ExecutorError, EffectObsolete, RuntimeUnavailable):
            return ()
        generation = worker.state.generation
        return (
            Step(
                aggregates=self._sessions,
                key=run.session_id,
                commands=[(_activation(run.spec), ""), (AttachRun(run_id=self._run_id), "")],
                context=self._context("touch"),
                when=_awaits_its_start,
                may_be_refused=True,
            ),
            Step(
                aggregates=self._runs,
                key=self._run_id,
                commands=self._start_commands(worker, health.boot_id),
                context=self._context("started"),
                when=lambda session: isinstance(session.lifecycle, Running) and session.generation == generation,
            ),
        )

    def _start_commands(
        self, worker: LoadedWorker, boot_id: str, inherited: Sequence[RunCommand] = ()
    ) -> Sequence[tuple[RunCommand, str]]:
        """All phases (those that were entered before change nothing), what the run inherits, and the start."""
        commands: list[RunCommand] = [EnterPhase(lease_generation=self._lease, phase=phase) for phase in PHASES]
        started = StartAgent(lease_generation=self._lease, generation=worker.state.generation, boot_id=boot_id)
        return [(command, "") for command in (*commands, *inherited, started)]

    async def _inherited_conversation(self, run: Run, worker: LoadedWorker) -> Sequence[RunCommand]:
        """What a run of a forked session inherits, to be recorded before its start."""
        conversations = self._execution.ports.conversations
        inherited = None if conversations is None else await conversations.for_run(self._run_id, run, worker.state)
        if inherited is None:
            return ()
        return [
            InheritConversation(lease_generation=self._lease, carried=inherited.carried, warnings=inherited.warnings)
        ]

    async def _attached_worker(self, spec: RunSpec) -> LoadedWorker:
        """The worker, up, with the run attached to its session. Raises _NotReady, _Waits, and as SessionWorkers.revive
        does."""
        patience_s = self._execution.ports.prepare_s if self._execution.parks else ACTIVATION_TIMEOUT_S
        deadline = asyncio.get_running_loop().time() + patience_s
        worker = await self._activated_worker(spec, deadline)
        await self._attach(spec.session_id, deadline)
        return worker

    async def _activated_worker(self, spec: RunSpec, deadline: float) -> LoadedWorker:
        """The session's worker, brought up. The phases on the way are recorded as they begin."""
        session_id = spec.session_id
        if self.was_parked:
            await self._refuse_failed_activation(session_id)
        session = (await self._sessions.recent(session_id)).state
        seemed_up = session is not None and isinstance(session.lifecycle, Running)
        if not seemed_up:
            await self._enter("restoring")
        try:
            handled = await self._sessions.handle(session_id, _activation(spec), self._context("activate"))
        except DomainError as error:
            raise _NotReady(str(error), final=True) from error
        if not isinstance(handled.state.lifecycle, Running):
            if seemed_up:
                await self._enter("restoring")
            await self._session_reaches(session_id, lambda state: state.restored, deadline)
            await self._enter("linking")
            await self._session_reaches(session_id, lambda state: isinstance(state.lifecycle, Running), deadline)
        if not await self._workers.ensure_up(session_id, self._context):
            raise _NotReady("the session's container is gone", final=False)
        worker = await self._workers.find(session_id)
        if not isinstance(worker.state.lifecycle, Running):
            raise _not_ready(worker.state)
        return worker

    async def _refuse_failed_activation(self, session_id: str) -> None:
        """Raises _NotReady if the activation that the run waited for, while it was parked, has failed: that ends the
        attempt, instead of one activation after the other."""
        session = (await self._sessions.load(session_id)).state
        if session is None or isinstance(session.lifecycle, Running) or session.activation_pending:
            return
        if session.last_error:
            raise _not_ready(session)

    async def _enter(self, phase: Phase) -> None:
        await self._execution.handle(EnterPhase(lease_generation=self._lease, phase=phase), phase)

    async def _session_reaches(
        self, session_id: str, reached: Callable[[SessionWorker], bool], deadline: float
    ) -> None:
        """Return once `reached` holds, or when the activation has ended otherwise. Raises _Waits at the deadline."""
        loaded = await wait_for_state(
            self._sessions,
            self._execution.ports.tail,
            key=session_id,
            stream=session_stream(session_id),
            reached=lambda state: state is not None and (reached(state) or not state.activation_pending),
            timeout_s=max(deadline - asyncio.get_running_loop().time(), 0.0),
        )
        if loaded is None:
            session = (await self._sessions.recent(session_id)).state
            has_no_place = session is not None and isinstance(session.lifecycle, Activating) and session.boot is None
            raise self._too_long("place" if has_no_place else "session")

    async def _attach(self, session_id: str, deadline: float) -> None:
        """Attach the run to its session, as soon as no other run is. Raises _NotReady; _Waits at the deadline."""
        loop, tail = asyncio.get_running_loop(), self._execution.ports.tail
        while True:
            seq = (await self._sessions.load(session_id)).seq
            try:
                await self._sessions.handle(session_id, AttachRun(run_id=self._run_id), self._context(f"attach/{seq}"))
                return
            except Conflict as error:
                if error.reason != "session_busy":
                    raise _NotReady(str(error), final=False) from error
                if loop.time() > deadline:
                    raise self._too_long("session") from error
                await tail.wait_for_stream(session_stream(session_id), seq, max(deadline - loop.time(), 0.0))

    def _too_long(self, waits_for: WaitsFor) -> "_Waits | _NotReady":
        if self._execution.parks:
            return _Waits(waits_for)
        return _NotReady(f"its {waits_for} was not ready after {ACTIVATION_TIMEOUT_S:g} s", final=False)

    async def _unless_canceled(self, work: Coroutine[Any, Any, LoadedWorker]) -> LoadedWorker:
        """The result of `work`, which may wait long for a slot. Raises _Canceled as soon as the log has a request to
        cancel the run."""
        working = asyncio.create_task(work, name=f"prepare {self._run_id}")
        canceled = asyncio.create_task(self._cancel_requested(), name=f"watch {self._run_id}")
        try:
            await asyncio.wait({working, canceled}, return_when=asyncio.FIRST_COMPLETED)
            if canceled.done():
                canceled.result()
                raise _Canceled
            return working.result()
        finally:
            await cancel_and_wait([working, canceled])

    async def _cancel_requested(self) -> None:
        """Return when the log has a request to cancel the run."""
        while (
            await wait_for_state(
                self._runs,
                self._execution.ports.tail,
                key=self._run_id,
                stream=run_stream(self._run_id),
                reached=lambda run: run is not None and run.cancel_requested,
                timeout_s=CANCEL_CHECK_S,
            )
            is None
        ):
            pass

    def _context(self, step: str) -> CommandContext:
        return self._execution.command_context(step)


def _activation(spec: RunSpec) -> ActivateSession:
    """The command that brings up the worker of a run's session, or marks it as used if it is up."""
    return ActivateSession(
        session_id=spec.session_id,
        app_id=spec.app_id,
        project_name=spec.project_name,
        user_login_name=spec.user_login_name,
    )


def _not_ready(session: SessionWorker) -> "_NotReady":
    reason = session.last_error or f"it is {session.public_state}"
    return _NotReady(f"the session's worker did not become ready: {reason}", final=bool(session.last_missing_paths))


def _awaits_its_start(run: Run) -> bool:
    is_claimed = isinstance(run.stage, Active) and run.stage.phase == "claimed"
    return is_claimed and not run.cancel_requested and run.abort is None


class _NotReady(Exception):
    """The session can't take the run; `final`: trying again would not help."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


class _Waits(Exception):
    """The session will be able to take the run, but not at once."""

    def __init__(self, what: WaitsFor) -> None:
        super().__init__(what)
        self.what = what


class _Canceled(Exception):
    """The run was canceled before its agent started."""
