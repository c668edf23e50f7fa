"""Following a running agent: its journal into the log, and the log's wish to end it into the agent."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from application.command_context import CommandContext
from application.commands_in_turn import Step, handle_in_turn
from application.effects.effect import EffectObsolete
from application.effects.workers import Worker
from application.ending_tasks import end_tasks
from application.executor_protocol import JournalEntry, StartRequest
from application.ports import Executor, ExecutorError, RuntimeUnavailable, StartFailed
from application.run_ending import final_sync_request
from application.run_queue import RunLease, final_sync_id, run_context
from application.waiting import wait_for_state
from domain.errors import Conflict
from domain.event import UnknownEventType, decode, event_types
from domain.identifiers import run_stream
from domain.run.commands import BeginFinalSync, FailAttempt, RecordJournalEntry, RunCommand, TimeOutRun
from domain.run.events import LeasedEvent, RunAgentFinished, RunWarning
from domain.run.evolve import journal_event_id
from domain.run.state import Active, Finishing, Run
from domain.run.values import ErrorClass, RunError, Warn

if TYPE_CHECKING:
    from application.run_execution import RunExecutions

log = logging.getLogger(__name__)
RECONNECT_DELAY_S = 1.0
WATCH_INTERVAL_S = 60.0
FAREWELL_S = 2.0


class FollowAgent:
    """Follows one attempt's journal from the log's cursor. Whatever is lost on the way is read again by that cursor.
    `just_attached`: this process has attached the run to its session just now, and knows its worker."""

    def __init__(self, parts: "RunExecutions", lease: RunLease, *, just_attached: bool = False) -> None:
        self._parts, self._lease, self._run_id = parts, lease, lease.run_id
        self._just_attached = just_attached
        self._heard_at = parts.clock()
        self._seen_running = False
        self._fruitless = 0

    async def to_its_end(self, run: Run, start: StartRequest | None) -> Run:
        """The run after its agent's end is recorded."""
        if start is None:
            return await self._ended(run)
        watch = asyncio.create_task(self._stop_agent_when_wanted(), name=f"watch {self._run_id}")
        try:
            while isinstance(run.stage, Active) and run.stage.phase == "running":
                run = await self._follow_once(run, start)
            return run
        finally:
            await end_tasks([watch])

    async def _follow_once(self, run: Run, start: StartRequest) -> Run:
        try:
            workers, just_attached, self._just_attached = self._parts.workers, self._just_attached, False
            worker = await (workers.recent(run.session_id) if just_attached else workers.find(run.session_id))
            if worker.state.container is None or worker.state.generation != self._generation(run):
                return await self._lost(run, "the session's container is gone", tail_lost=True)
            executor = self._parts.workers.executor(worker, self._run_id)
            if not await self._started(run, worker, executor, start):
                return (await self._parts.runs.load(self._run_id)).state or run
            async for batch in executor.follow(self._run_id, run.entries):
                run = await self._record(run, batch)
            return run
        except EffectObsolete as error:
            return await self._lost(run, str(error), tail_lost=True)
        except Conflict as error:
            if error.reason != "journal_gap":
                raise
            run = (await self._parts.runs.load(self._run_id)).state or run
            return await self._journal_lost(run, executor, str(error))
        except ExecutorError as error:
            run = (await self._parts.runs.load(self._run_id)).state or run
            if _is_lasting(error):
                return await self._journal_lost(run, executor, str(error))
            log.warning("run %s: lost its executor: %s", self._run_id, error)
            return await self._recover(run, str(error))

    def _generation(self, run: Run) -> int:
        assert isinstance(run.stage, Active)
        return run.stage.generation

    async def _started(self, run: Run, worker: Worker, executor: Executor, start: StartRequest) -> bool:
        """Start the agent unless its journal is there already. False when there is nothing to follow: the executor
        refused for good, or it has lost the journal of an agent that had been started, which is never started again."""
        known = await executor.run_state(self._run_id)
        if known is not None and known.attempt == run.attempt:
            self._seen_running = True
            return True
        if self._seen_running or run.entries:
            if (await executor.health()).serves(run.session_id):
                await self._journal_lost(run, executor, "the executor does not know the run any more")
            else:
                await self._recover(run, "another executor answers in its place")
            return False
        call = worker.call()
        request = msgspec.structs.replace(
            start,
            container_id=call.container_id,
            generation=call.generation,
            session_seq=call.session_seq,
            callback_token=self._parts.workers.callback_token(worker) if start.callback_url else "",
        )
        try:
            await executor.start_run(request)
        except ExecutorError as error:
            if error.kind != "http" or error.reason == "gate_under_way":
                raise
            error_class: ErrorClass = "bad_input" if error.status in {400, 422} else "environment"
            await self._fail(run, error_class, f"the executor did not start the agent: {error}", never_started=True)
            return False
        self._seen_running = True
        return True

    async def _journal_lost(self, run: Run, executor: Executor, reason: str) -> Run:
        """The rest of the journal can't be had, now or later. Its agent may run yet; nobody would hear it: it ends."""
        with contextlib.suppress(ExecutorError):
            await executor.stop_run(self._run_id)
        return await self._lost(run, f"the agent's journal is lost: {reason}", tail_lost=True)

    async def _record(self, run: Run, batch: Sequence[JournalEntry]) -> Run:
        self._heard_at = self._parts.clock()
        commands: list[tuple[RunCommand, str]] = []
        for entry in batch:
            command = RecordJournalEntry(
                lease_generation=self._lease.generation,
                attempt=entry.attempt,
                n=entry.n,
                event=_event_of(entry),
            )
            commands.append((command, journal_event_id(self._run_id, entry.attempt, entry.boot_id, entry.n)))
        steps = [
            Step(aggregates=self._parts.runs, key=self._run_id, commands=commands, context=self._context("journal"))
        ]
        if batch[-1].type == RunAgentFinished.wire_name:
            sync_id = final_sync_id(self._run_id, batch[-1].attempt)
            commands.append((BeginFinalSync(lease_generation=self._lease.generation, sync_id=sync_id), ""))
            steps.append(self._request_sync(run.session_id, sync_id))
        handled = await handle_in_turn(steps)
        self._fruitless = 0
        ended: Run = handled[0].state
        return ended

    def _request_sync(self, session_id: str, sync_id: str) -> Step:
        """What follows the end of the agent, in the same commit; whoever ends the run makes sure of it."""
        return Step(
            aggregates=self._parts.workers.sessions,
            key=session_id,
            commands=[(final_sync_request(self._run_id, sync_id), "")],
            context=self._context("request_sync"),
            when=lambda run: isinstance(run.stage, Finishing) and run.stage.sync_id == sync_id,
            may_be_refused=True,
        )

    async def _recover(self, run: Run, error: str) -> Run:
        """Find out what became of the executor: it answers again, it can be started again, or its container is gone."""
        try:
            worker = await self._parts.workers.find(run.session_id)
            executor = self._parts.workers.executor(worker, self._run_id)
            try:
                health = await executor.health()
                recovered = health.serves(run.session_id)
            except ExecutorError:
                recovered = False
            self._fruitless += 1
            if recovered and self._fruitless > 1:
                await asyncio.sleep(RECONNECT_DELAY_S)
            if not recovered and await self._parts.workers.revive(worker, self._context) is None:
                return await self._lost(run, "the session's container is gone", tail_lost=True)
        except EffectObsolete as obsolete:
            return await self._lost(run, str(obsolete), tail_lost=True)
        except (RuntimeUnavailable, StartFailed, ExecutorError) as unavailable:
            log.warning("run %s: its executor can't be reached yet: %s; after %s", self._run_id, unavailable, error)
            await asyncio.sleep(RECONNECT_DELAY_S)
        return (await self._parts.runs.load(self._run_id)).state or run

    async def _lost(self, run: Run, reason: str, *, tail_lost: bool) -> Run:
        return await self._fail(run, "executor_lost", reason, tail_lost=tail_lost)

    async def _fail(
        self,
        run: Run,
        error_class: ErrorClass,
        message: str,
        *,
        never_started: bool = False,
        tail_lost: bool = False,
    ) -> Run:
        command = FailAttempt(
            lease_generation=self._lease.generation,
            error=RunError(error_class=error_class, message=message),
            retry_at=self._parts.clock() + self._parts.delay(run.attempt),
            never_started=never_started,
            tail_lost=tail_lost,
        )
        context = self._context(f"failed/{run.attempt}")
        return (await self._parts.runs.handle(self._run_id, command, context)).state

    async def _stop_agent_when_wanted(self) -> None:
        """Tell the executor to end the agent once a cancel or an expired question wants it; until it has.

        Whatever goes wrong on the way (a database that is away, say) is tried again: nobody else brings a cancel.
        """
        while True:
            try:
                wanted = await wait_for_state(
                    self._parts.runs,
                    self._parts.tail,
                    key=self._run_id,
                    stream=run_stream(self._run_id),
                    reached=_agent_is_to_end,
                    timeout_s=await self._until_check(),
                    seen=True,
                )
                if wanted is None or wanted.state is None:
                    await self._end_what_takes_too_long()
                    continue
                if not (wanted.state.cancel_requested or wanted.state.abort):
                    await asyncio.sleep(FAREWELL_S)
                worker = await self._parts.workers.find(wanted.state.session_id)
                await self._parts.workers.executor(worker, self._run_id).stop_run(self._run_id)
            except (ExecutorError, EffectObsolete) as error:
                log.warning("run %s: its agent could not be stopped yet: %s", self._run_id, error)
            except Exception:
                log.exception("run %s: whether its agent is to be stopped could not be seen", self._run_id)
            await asyncio.sleep(RECONNECT_DELAY_S)

    async def _until_check(self) -> float:
        run = (await self._parts.runs.recent(self._run_id)).state
        now = self._parts.clock()
        left = self._parts.limits.next_check(run, now, now - self._heard_at) if run is not None else None
        return WATCH_INTERVAL_S if left is None else min(WATCH_INTERVAL_S, left.total_seconds() + 0.05)

    async def _end_what_takes_too_long(self) -> None:
        run, now = (await self._parts.runs.load(self._run_id)).state, self._parts.clock()
        over = self._parts.limits.over(run, now, now - self._heard_at) if run is not None else None
        if over is not None:
            what, limit_ms = over
            command = TimeOutRun(lease_generation=self._lease.generation, what=what, limit_ms=limit_ms)
            await self._parts.runs.handle(self._run_id, command, self._context(f"timed_out/{what}"))

    async def _ended(self, run: Run) -> Run:
        """An outside run: callbacks bring its end."""
        loaded = await wait_for_state(
            self._parts.runs,
            self._parts.tail,
            key=self._run_id,
            stream=run_stream(self._run_id),
            reached=lambda state: state is not None and not isinstance(state.stage, Active),
            timeout_s=WATCH_INTERVAL_S,
        )
        return loaded.state if loaded and loaded.state else run

    def _context(self, step: str) -> CommandContext:
        return run_context(self._lease, step)


def _agent_is_to_end(run: Run | None) -> bool:
    """A cancel or an abort wants it, or a callback says that it has ended: then it has a moment to do so."""
    if run is None:
        return False
    said_so = isinstance(run.stage, Finishing) and run.stage.by_callback
    return run.cancel_requested or run.abort is not None or said_so


def _is_lasting(error: ExecutorError) -> bool:
    """Whether following would fail in the same way for ever: the journal is damaged, shorter than what was read of it,
    forgotten, or was given up by an executor that could not write it."""
    return error.reason in {"stream_garbled", "journal_damaged", "journal_failed", "invalid_input", "not_found"}


def _event_of(entry: JournalEntry) -> LeasedEvent:
    """The event of a journal entry; one that this code can't read is kept as a warning, never a crash."""
    payload = bytes(entry.payload)
    try:
        event_type = event_types().get(entry.type)
        version = event_type.schema_version if event_type else 1
        event = decode(entry.type, version, payload)
        if isinstance(event, LeasedEvent):
            return event
        problem = "it is not an agent's to report"
    except (UnknownEventType, msgspec.ValidationError) as error:
        problem = str(error)
    text = payload.decode(errors="replace")[:4096]
    return RunWarning(warning=Warn(code="unreadable_journal_entry", message=f"{entry.type}: {problem}: {text}"))
