"""One run, from its claim to its end. Every step reads the log first, so whoever holds the lease goes on where the log
stands: a crash, a deploy and a stolen lease are all the same to it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from application.aggregates import Clock
from application.carried_conversations import CarriedConversations, begun_with
from application.command_context import CommandContext
from application.commands_in_turn import Step, handle_in_turn
from application.effects.effect import EffectObsolete
from application.effects.workers import Worker, Workers
from application.effects.workspace_syncs import WorkspaceSyncs
from application.executor_protocol import StartRequest
from application.ports import ExecutorError, LogTail, RuntimeUnavailable, StartFailed
from application.run_agent import FollowAgent
from application.run_commands import Runs
from application.run_ending import EndRun
from application.run_limits import RunLimits
from application.run_queue import RunLease, run_context
from application.waiting import wait_for_state
from domain.errors import Conflict, DomainError, Fenced, NotFound
from domain.identifiers import run_stream, session_stream
from domain.run.commands import (
    CarryConversation,
    ClaimRun,
    EnterPhase,
    FailAttempt,
    RecordLeaseLost,
    RunCommand,
    StartAgent,
)
from domain.run.state import Active, Finishing, Queued, Run
from domain.run.values import ErrorClass, Phase, RunError, RunSpec
from domain.session.commands import ActivateSession, AttachRun, DetachRun
from domain.session.state import Running, SessionWorker

log = logging.getLogger(__name__)
ACTIVATION_TIMEOUT_S = 3600.0  # a session may wait for a place of MAX_WORKERS; every step has bounds of its own
BUSY_SESSION_TIMEOUT_S = 60.0
LOOK_TIMEOUT_S = 0.5
PHASES: tuple[Phase, ...] = ("restoring", "linking", "preparing")


class RunExecutions:
    """Executes runs under their leases. One call of `execute` per lease; cancelling it leaves the run as it stands."""

    def __init__(
        self,
        *,
        runs: Runs,
        workers: Workers,
        syncs: WorkspaceSyncs,
        tail: LogTail,
        clock: Clock,
        retry_delay: timedelta,
        human_loop_timeout: timedelta,
        limits: RunLimits,
        jitter: Callable[[], float],
        callback_url: Callable[[str], str] = lambda _run_id: "",
        conversations: CarriedConversations | None = None,
    ) -> None:
        self.runs, self.workers, self.syncs = runs, workers, syncs
        self.tail, self.clock = tail, clock
        self.retry_delay, self.human_loop_timeout, self._jitter = retry_delay, human_loop_timeout, jitter
        self.limits, self.callback_url, self.conversations = limits, callback_url, conversations

    async def execute(self, lease: RunLease) -> Run | None:
        """See a run through to its end, or to its next retry. None when another holder has taken over.

        Raises whatever is unexpected; the caller releases the lease then.
        """
        try:
            execution = _Execution(self, lease)
            return await execution.run()
        except Fenced as error:
            log.info("run %s: another worker has taken over: %s", lease.run_id, error)
            return None

    async def record_lost(self, lease: RunLease) -> None:
        """Say in the log that the lease could not be renewed."""
        command = RecordLeaseLost(lost_lease_generation=lease.generation, owner=lease.owner)
        await self.runs.handle(lease.run_id, command, run_context(lease, "lost"))

    def with_retry_delay(self, retry_delay: timedelta) -> "RunExecutions":
        """The same, but with another pause before a retry."""
        return RunExecutions(
            runs=self.runs,
            workers=self.workers,
            syncs=self.syncs,
            tail=self.tail,
            clock=self.clock,
            retry_delay=retry_delay,
            human_loop_timeout=self.human_loop_timeout,
            limits=self.limits,
            jitter=self._jitter,
            callback_url=self.callback_url,
            conversations=self.conversations,
        )

    def delay(self, attempt: int) -> timedelta:
        """How long a failed attempt waits for the next: linear in the attempt, with up to 20 % of jitter."""
        return self.retry_delay * attempt * (1 + 0.2 * self._jitter())


class _Execution:
    def __init__(self, parts: RunExecutions, lease: RunLease) -> None:
        self._parts, self._lease, self._run_id = parts, lease, lease.run_id
        self._runs, self._workers = parts.runs, parts.workers

    async def run(self) -> Run | None:
        run, attached = await self._claimed()
        ending = EndRun(self._parts, self._lease)
        while True:
            match run.stage:
                case Active(phase="running"):
                    follow = FollowAgent(self._parts, self._lease, just_attached=attached)
                    run = await follow.to_its_end(run, self.start_request(run))
                case Active():
                    run = await self._prepare(run)
                    attached = True
                case Finishing():
                    run = await ending.to_its_end(run, run.stage)
                case _:
                    if not ending.detached:
                        await self._detach(run)
                    return run

    async def _claimed(self) -> tuple[Run, bool]:
        """The run after its claim is recorded, and whether it is attached to its session and about to start: where the
        worker is up and answers, that is one commit with the claim."""
        claim = ClaimRun(lease_generation=self._lease.generation, owner=self._lease.owner)
        claimed = Step(aggregates=self._runs, key=self._run_id, commands=[(claim, "")], context=self.context("claimed"))
        handled = await handle_in_turn((claimed, *await self._start_at_once()))
        all_done = len(handled) > 1 + 1
        return handled[-1 if all_done else 0].state, all_done

    async def _start_at_once(self) -> Sequence[Step]:
        """What follows the claim of a run whose worker needs nothing before. It only looks: nothing is done before the
        claim is recorded."""
        run = (await self._runs.recent(self._run_id)).state
        if run is None or run.spec is None or not isinstance(run.stage, Queued):
            return ()
        session = (await self._workers.sessions.recent(run.session_id)).state
        if session is None or not _is_soon_started(session):
            return ()
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                worker = await self._workers.recent(run.session_id)
                if not await self._workers.is_up(worker):
                    return ()
                health = await self._workers.executor(worker, self._run_id).health()
        except (TimeoutError, ExecutorError, EffectObsolete, RuntimeUnavailable):
            return ()
        return self._steps_to_start(run.spec, worker, health.boot_id)

    async def _detach(self, run: Run) -> None:
        """Let go of the session at once. The process manager wants the same, for when this process dies before it."""
        with contextlib.suppress(NotFound):
            command = DetachRun(run_id=self._run_id)
            await self._workers.sessions.handle(run.session_id, command, self.context("detach"))

    def context(self, step: str) -> CommandContext:
        return run_context(self._lease, step)

    async def _do(self, command: RunCommand, step: str) -> Run:
        return (await self._runs.handle(self._run_id, command, self.context(step))).state

    async def _prepare(self, run: Run) -> Run:
        """Activate the session, attach to it, and tell the log that the agent is about to start."""
        if run.cancel_requested:
            return await self._fail(run, "internal", "canceled before the agent started")
        assert run.spec is not None
        try:
            started = await self._started_in_running(run.spec)
            if started is not None:
                return started
            worker = await self._unless_canceled(self._attached(run.spec))
            health = await self._workers.executor(worker, self._run_id).health()
            taken_up = await self._conversation(run, worker, self._lease.generation)
        except _Canceled:
            return await self._fail(run, "internal", "canceled before the agent started")
        except _NotReady as error:
            return await self._fail(run, "bad_input" if error.final else "environment", str(error))
        except (ExecutorError, EffectObsolete, RuntimeUnavailable, StartFailed) as error:
            return await self._fail(run, "environment", str(error))
        start = self._start_commands(PHASES[-1:], worker.state.generation, health.boot_id, taken_up)
        return (await self._runs.handle_batch(self._run_id, start, self.context("started"))).state

    async def _conversation(self, run: Run, worker: Worker, lease: int) -> list[tuple[RunCommand, str]]:
        """What the run of a forked session takes up, for the log to tell."""
        if self._parts.conversations is None:
            return []
        carry = await self._parts.conversations.for_run(self._run_id, run, worker.state)
        if carry is None:
            return []
        command = CarryConversation(lease_generation=lease, carried=carry.carried, warnings=carry.warnings)
        return [(command, "")]

    async def _started_in_running(self, spec: RunSpec) -> Run | None:
        """The short way with a worker that is up already: touch it, attach, and tell the log that the agent is about to
        start, in one commit. None: take the long one."""
        sessions = self._workers.sessions
        state = (await sessions.recent(spec.session_id)).state
        if state is None or not _is_soon_started(state):
            return None
        if not await self._workers.ensure_up(spec.session_id, self.context, recent=True):
            return None
        worker = await self._workers.recent(spec.session_id)
        health = await self._workers.executor(worker, self._run_id).health()
        steps = self._steps_to_start(spec, worker, health.boot_id)
        handled = await handle_in_turn(steps)
        return handled[1].state if len(handled) == len(steps) else None

    def _steps_to_start(self, spec: RunSpec, worker: Worker, boot_id: str) -> tuple[Step, Step]:
        """Touch the session and attach to it; tell the log that the agent is about to start."""
        generation = worker.state.generation
        return (
            Step(
                aggregates=self._workers.sessions,
                key=spec.session_id,
                commands=[(activation(spec), ""), (AttachRun(run_id=self._run_id), "")],
                context=self.context("touch"),
                when=_is_to_start,
                may_be_refused=True,
            ),
            Step(
                aggregates=self._runs,
                key=self._run_id,
                commands=self._start_commands(PHASES, generation, boot_id),
                context=self.context("started"),
                when=lambda session: isinstance(session.lifecycle, Running) and session.generation == generation,
            ),
        )

    def _start_commands(
        self,
        phases: Sequence[Phase],
        generation: int,
        boot_id: str,
        taken_up: Sequence[tuple[RunCommand, str]] = (),
    ) -> Sequence[tuple[RunCommand, str]]:
        lease = self._lease.generation
        return [
            *((EnterPhase(lease_generation=lease, phase=phase), "") for phase in phases),
            *taken_up,
            (StartAgent(lease_generation=lease, generation=generation, boot_id=boot_id), ""),
        ]

    def start_request(self, run: Run) -> StartRequest | None:
        """What starts the agent of this attempt; None for an outside run."""
        if run.spec is None:
            return None
        return StartRequest(
            session_id=run.session_id,
            container_id="",
            generation=0,
            run_id=self._run_id,
            attempt=run.attempt,
            spec=begun_with(run.spec, run),
            human_loop_timeout_ms=int(self._parts.human_loop_timeout.total_seconds() * 1000),
            callback_url=self._parts.callback_url(self._run_id),
        )

    async def _unless_canceled(self, work: Coroutine[Any, Any, Worker]) -> Worker:
        """What `work` comes to. Raises _Canceled as soon as the log wants a cancel: a session may wait long for its
        place."""
        working = asyncio.create_task(work, name=f"prepare {self._run_id}")
        canceled = asyncio.create_task(self._cancel_wanted(), name=f"watch {self._run_id}")
        try:
            await asyncio.wait({working, canceled}, return_when=asyncio.FIRST_COMPLETED)
            if canceled.done():
                canceled.result()
                raise _Canceled
            return working.result()
        finally:
            for task in (working, canceled):
                task.cancel()
            await asyncio.gather(working, canceled, return_exceptions=True)

    async def _cancel_wanted(self) -> None:
        while (
            await wait_for_state(
                self._runs,
                self._parts.tail,
                key=self._run_id,
                stream=run_stream(self._run_id),
                reached=lambda run: run is not None and run.cancel_requested,
                timeout_s=ACTIVATION_TIMEOUT_S,
            )
            is None
        ):
            pass

    async def _attached(self, spec: RunSpec) -> Worker:
        await self._phase("restoring")
        worker = await self._activate(spec)
        await self._attach(spec.session_id)
        return worker

    async def _phase(self, phase: Phase) -> None:
        await self._do(EnterPhase(lease_generation=self._lease.generation, phase=phase), phase)

    async def _activate(self, spec: RunSpec) -> Worker:
        try:
            handled = await self._workers.sessions.handle(spec.session_id, activation(spec), self.context("activate"))
        except DomainError as error:
            raise _NotReady(str(error), final=True) from error
        if not isinstance(handled.state.lifecycle, Running):
            await self._session_reaches(spec.session_id, lambda state: state.restored)
        await self._phase("linking")
        await self._session_reaches(spec.session_id, lambda state: isinstance(state.lifecycle, Running))
        if not await self._workers.ensure_up(spec.session_id, self.context):
            raise _NotReady("the session's container is gone", final=False)
        worker = await self._workers.find(spec.session_id)
        if not isinstance(worker.state.lifecycle, Running):
            reason = worker.state.last_error or f"it is {worker.state.public_state}"
            final = bool(worker.state.last_missing_paths)
            raise _NotReady(f"the session's worker did not become ready: {reason}", final=final)
        return worker

    async def _session_reaches(self, session_id: str, reached: Callable[[SessionWorker], bool]) -> SessionWorker | None:
        """The session once `reached` holds; None when its activation ends otherwise, or takes too long."""
        loaded = await wait_for_state(
            self._workers.sessions,
            self._parts.tail,
            key=session_id,
            stream=session_stream(session_id),
            reached=lambda state: state is not None and (reached(state) or not state.on_the_way_up),
            timeout_s=ACTIVATION_TIMEOUT_S,
        )
        return loaded.state if loaded and loaded.state and reached(loaded.state) else None

    async def _attach(self, session_id: str) -> None:
        deadline = asyncio.get_running_loop().time() + BUSY_SESSION_TIMEOUT_S
        while True:
            seq = (await self._workers.sessions.load(session_id)).seq
            try:
                await self._workers.sessions.handle(
                    session_id, AttachRun(run_id=self._run_id), self.context(f"attach/{seq}")
                )
                return
            except Conflict as error:
                if error.reason != "session_busy" or asyncio.get_running_loop().time() > deadline:
                    raise _NotReady(str(error), final=False) from error
                await self._parts.tail.wait_for_stream(session_stream(session_id), seq, 5.0)

    async def _fail(self, run: Run, error_class: ErrorClass, message: str) -> Run:
        command = FailAttempt(
            lease_generation=self._lease.generation,
            error=RunError(error_class=error_class, message=message),
            retry_at=self._parts.clock() + self._parts.delay(run.attempt),
        )
        return await self._do(command, f"failed/{run.attempt}")


def activation(spec: RunSpec) -> ActivateSession:
    """The command that brings up the worker of a run's session."""
    return ActivateSession(
        session_id=spec.session_id,
        app_id=spec.app_id,
        project_name=spec.project_name,
        user_login_name=spec.user_login_name,
    )


def _is_soon_started(session: SessionWorker) -> bool:
    """Whether its worker needs nothing before a run's agent may start; what a fork takes up is decided when its run is
    attached."""
    return isinstance(session.lifecycle, Running) and session.boot is not None and session.fork is None


def _is_to_start(run: Run) -> bool:
    return isinstance(run.stage, Active) and run.stage.phase == "claimed" and not run.cancel_requested


class _NotReady(Exception):
    """The session can't take the run; `final`: trying again would not help."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


class _Canceled(Exception):
    """The run was canceled before its agent started."""
