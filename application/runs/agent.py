"""Following a running agent: records its journal in the log, ends it when the log has a request to, and lets go of it
while it waits for a person."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from application.aggregates.aggregates import Loaded
from application.aggregates.command_sequence import Step, handle_sequence
from application.aggregates.waiting import wait_for_state
from application.command_context import CommandContext
from application.executor_protocol import JournalEntry, StartRequest
from application.ports.effect_handler import EffectObsolete
from application.ports.executor import Executor, ExecutorError
from application.ports.worker_runtime import RuntimeUnavailable, StartFailed
from application.runs.ending import final_sync_request
from application.runs.execution_context import ExecutionContext
from application.runs.fork_conversations import with_inherited_conversation
from application.runs.lease import final_sync_id
from application.runs.models import note_model
from application.runs.withheld import filled, placeholders, to_redact
from application.sessions.session_workers import LoadedWorker
from application.task_cancellation import cancel_and_wait
from domain.errors import Conflict
from domain.event import MAX_PAYLOAD_DEPTH, UnknownEventType, decode, event_types, nested_deeper
from domain.identifiers import run_stream
from domain.run.commands import BeginFinalSync, RecordJournalEntry, RunCommand, TimeOutRun
from domain.run.events import LeasedEvent, RunAgentFinished, RunWarning
from domain.run.evolve import journal_event_id
from domain.run.state import Active, Finishing, Run
from domain.run.values import ErrorClass, RunSpec, Warn

log = logging.getLogger(__name__)
RECONNECT_DELAY_S = 1.0
WATCH_INTERVAL_S = 60.0
EXIT_GRACE_S = 2.0
PARK_AGAIN_AFTER_S = 30.0
"""How long an agent is silent until its run is parked again, if it went on although nobody had answered: else each sign
of life would cost a parking and a claim."""
END_POLL_S, LONGEST_END_S = 0.25, 60.0
"""How often an agent that is over a quota is looked at, and how long its end is waited for."""


class FollowAgent:
    """Follows one attempt's journal from the last entry that the log has; after a lost connection, again from there.
    `just_attached`: this execution has attached the run and seen that the session worker is up. `was_parked`: it has
    gone on with a run that waited for a person."""

    def __init__(self, execution: ExecutionContext, *, just_attached: bool = False, was_parked: bool = False) -> None:
        self._execution, self._ports, self._run_id = execution, execution.ports, execution.run_id
        self._runs, self._workers = execution.ports.runs, execution.ports.workers
        self._lease = execution.lease.generation
        self._just_attached = just_attached
        self._last_entry_at = execution.ports.clock()
        self._was_parked = was_parked
        self._known_questions: tuple[str, ...] = ()
        self._until_quiet = asyncio.timeout(None)
        self._seen_running = False
        self._reconnects_without_entries = self._waits_for_end = 0

    async def to_its_end(self, run: Run) -> Run:
        """The run after its agent's end is recorded, or parked."""
        if run.spec is None:
            return await self._external_run_ended(run)
        self._known_questions = run.open_questions if self._was_parked else ()
        watch = asyncio.create_task(self._watch(), name=f"watch {self._run_id}")
        try:
            while isinstance(run.stage, Active) and run.stage.phase == "running" and not run.stage.parked:
                run = await self._follow_until_quiet(run)
            return run
        finally:
            await cancel_and_wait([watch])

    async def _follow_until_quiet(self, run: Run) -> Run:
        """Follow once, or park the run if the watch finds that it has become quiet."""
        try:
            async with asyncio.timeout(None) as self._until_quiet:
                return await self._follow_once(run)
        except TimeoutError:
            if not self._until_quiet.expired():
                raise
        return await self._execution.park(run, "person")

    async def _follow_once(self, run: Run) -> Run:
        try:
            workers, just_attached, self._just_attached = self._workers, self._just_attached, False
            worker = await (workers.recent(run.session_id) if just_attached else workers.find(run.session_id))
            if worker.state.container is None or worker.state.generation != self._generation(run):
                return await self._lost(run, "the session's container is gone")
            executor = self._workers.executor(worker, self._run_id)
            if not await self._started(run, worker, executor):
                return (await self._runs.load(self._run_id)).state or run
            return await self._recorded(run, executor)
        except EffectObsolete as error:
            return await self._lost(run, str(error))
        except Conflict as error:
            if error.reason != "journal_gap":
                raise
            run = (await self._runs.load(self._run_id)).state or run
            return await self._journal_lost(run, executor, str(error))
        except ExecutorError as error:
            run = (await self._runs.load(self._run_id)).state or run
            if _is_lasting(error):
                return await self._journal_lost(run, executor, str(error))
            log.warning("run %s: lost its executor: %s", self._run_id, error)
            return await self._recover(run, str(error))

    def _generation(self, run: Run) -> int:
        assert isinstance(run.stage, Active)
        return run.stage.generation

    async def _started(self, run: Run, worker: LoadedWorker, executor: Executor) -> bool:
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
        assert run.spec is not None
        secrets = await self._secrets_of(run.spec)
        if secrets is None:
            message = "the secrets in its options are not kept any more; start it again as a new run"
            await self._execution.fail_attempt(run, "bad_input", message, never_started=True)
            return False
        try:
            await executor.start_run(self._start_request(run, filled(run.spec, secrets), secrets, worker))
        except ExecutorError as error:
            if error.kind != "http" or error.reason == "gate_under_way":
                raise
            error_class: ErrorClass = "bad_input" if error.status in {400, 422} else "environment"
            message = f"the executor did not start the agent: {error}"
            await self._execution.fail_attempt(run, error_class, message, never_started=True)
            return False
        self._seen_running = True
        return True

    async def _recorded(self, run: Run, executor: Executor) -> Run:
        """The run after its journal was recorded to the end, or up to a quota."""
        if run.over_quota:
            return await self._end_over_quota(run, executor)
        async for batch in executor.follow(self._run_id, run.entries):
            run = await self._record(run, batch)
            if run.over_quota:
                break
        return run

    async def _end_over_quota(self, run: Run, executor: Executor) -> Run:
        """Nothing more is recorded of an agent whose run is over a quota: it is ended, and of its journal only the last
        entry is read."""
        await executor.stop_run(self._run_id)
        state = await executor.run_state(self._run_id)
        if state is None or state.attempt != run.attempt:
            return await self._journal_lost(run, executor, "the executor does not know the run any more")
        if not state.finished:
            self._waits_for_end += 1
            if self._waits_for_end * END_POLL_S > LONGEST_END_S:
                return await self._journal_lost(run, executor, f"the agent did not end within {LONGEST_END_S:g} s")
            await asyncio.sleep(END_POLL_S)
            return (await self._runs.load(self._run_id)).state or run
        async for batch in executor.follow(self._run_id, state.entries - 1):
            run = await self._record(run, batch)
        return run

    async def _secrets_of(self, spec: RunSpec) -> Mapping[str, str] | None:
        """What stands in the run's options as a placeholder; None if some of it is gone."""
        wanted = placeholders(spec)
        if not wanted or self._ports.run_secrets is None:
            return {}
        found = await self._ports.run_secrets.of(self._run_id)
        return found if wanted <= found.keys() else None

    def _start_request(self, run: Run, spec: RunSpec, secrets: Mapping[str, str], worker: LoadedWorker) -> StartRequest:
        call, callback_url = worker.call(), self._ports.callback_url(self._run_id)
        return StartRequest(
            session_id=run.session_id,
            container_id=call.container_id,
            generation=call.generation,
            session_seq=call.session_seq,
            run_id=self._run_id,
            attempt=run.attempt,
            spec=with_inherited_conversation(spec, run),
            human_loop_timeout_ms=int(self._ports.human_loop_timeout.total_seconds() * 1000),
            callback_url=callback_url,
            callback_token=self._workers.callback_token(worker) if callback_url else "",
            variables=self._ports.agent_variables(spec),
            secrets=to_redact(tuple(secrets.values())),
        )

    async def _journal_lost(self, run: Run, executor: Executor, reason: str) -> Run:
        """The rest of the journal can't be read, now or later. The agent may still run, unobserved: it is stopped."""
        with contextlib.suppress(ExecutorError):
            await executor.stop_run(self._run_id)
        return await self._lost(run, f"the agent's journal is lost: {reason}")

    async def _record(self, run: Run, batch: Sequence[JournalEntry]) -> Run:
        self._last_entry_at = self._ports.clock()
        commands: list[tuple[RunCommand, str]] = []
        events = [_event_of(entry) for entry in batch]
        note_model(self._ports.outages, run, events)
        for entry, event in zip(batch, events, strict=True):
            command = RecordJournalEntry(lease_generation=self._lease, attempt=entry.attempt, n=entry.n, event=event)
            commands.append((command, journal_event_id(self._run_id, entry.attempt, entry.boot_id, entry.n)))
        steps = [Step(aggregates=self._runs, key=self._run_id, commands=commands, context=self._context("journal"))]
        if batch[-1].type == RunAgentFinished.wire_name:
            sync_id = final_sync_id(self._run_id, batch[-1].attempt)
            commands.append((BeginFinalSync(lease_generation=self._lease, sync_id=sync_id), ""))
            steps.append(self._request_sync(run.session_id, sync_id))
        handled = await handle_sequence(steps)
        self._reconnects_without_entries = 0
        quota = self._context(f"quota/{batch[-1].attempt}/{batch[-1].n}")
        return await self._ports.session_quotas.count(self._run_id, handled[0].state, handled[0].events, quota)

    def _request_sync(self, session_id: str, sync_id: str) -> Step:
        """Requests the final sync in the commit that records the agent's end. EndRun makes up for it if that fails."""
        return Step(
            aggregates=self._workers.sessions,
            key=session_id,
            commands=[(final_sync_request(self._run_id, sync_id), "")],
            context=self._context("request_sync"),
            when=lambda run: isinstance(run.stage, Finishing) and run.stage.sync_id == sync_id,
            may_be_refused=True,
        )

    async def _recover(self, run: Run, error: str) -> Run:
        """After a lost connection: the executor answers again, or is started again, or its container is gone."""
        try:
            worker = await self._workers.find(run.session_id)
            executor = self._workers.executor(worker, self._run_id)
            try:
                health = await executor.health()
                recovered = health.serves(run.session_id)
            except ExecutorError:
                recovered = False
            self._reconnects_without_entries += 1
            if recovered and self._reconnects_without_entries > 1:
                await asyncio.sleep(RECONNECT_DELAY_S)
            if not recovered and await self._workers.revive(worker, self._context) is None:
                return await self._lost(run, "the session's container is gone")
        except EffectObsolete as obsolete:
            return await self._lost(run, str(obsolete))
        except (RuntimeUnavailable, StartFailed, ExecutorError) as unavailable:
            log.warning("run %s: its executor can't be reached yet: %s; after %s", self._run_id, unavailable, error)
            await asyncio.sleep(RECONNECT_DELAY_S)
        return (await self._runs.load(self._run_id)).state or run

    async def _lost(self, run: Run, reason: str) -> Run:
        return await self._execution.fail_attempt(run, "executor_lost", reason, tail_lost=True)

    async def _watch(self) -> None:
        """Tell the executor to stop the agent once a cancel or an expired question asks for it, and repeat that until
        this task is cancelled; end the following when the run waits for a person and is quiet. Any error (an
        unreachable database, say) is retried: nobody else delivers a cancel."""
        while True:
            try:
                attention = _needs_attention if self._execution.parks else _agent_must_be_stopped
                wanted = await self._reached(attention, await self._until_check())
                if wanted is not None and not _agent_must_be_stopped(wanted.state):
                    wanted = await self._reached(_more_than(wanted.state), await self._until_check(waits=True))
                    if wanted is not None and not _agent_must_be_stopped(wanted.state):
                        continue
                if wanted is None or wanted.state is None:
                    await self._end_what_takes_too_long()
                    await self._let_go_when_quiet()
                    continue
                if not (wanted.state.cancel_requested or wanted.state.abort):
                    await asyncio.sleep(EXIT_GRACE_S)
                worker = await self._workers.find(wanted.state.session_id)
                await self._workers.executor(worker, self._run_id).stop_run(self._run_id)
            except (ExecutorError, EffectObsolete) as error:
                log.warning("run %s: its agent could not be stopped yet: %s", self._run_id, error)
            except Exception:
                log.exception("run %s: it could not be checked whether its agent must be stopped", self._run_id)
            await asyncio.sleep(RECONNECT_DELAY_S)

    async def _reached(self, reached: Callable[[Run | None], bool], timeout_s: float) -> Loaded[Run] | None:
        return await wait_for_state(
            self._runs,
            self._ports.tail,
            key=self._run_id,
            stream=run_stream(self._run_id),
            reached=reached,
            timeout_s=timeout_s,
            seen=True,
        )

    async def _until_check(self, *, waits: bool = False) -> float:
        """Seconds until the next limit may be reached, or, if the run `waits` for a person, until it may be quiet."""
        run = (await self._runs.recent(self._run_id)).state
        now = self._ports.clock()
        if run is None:
            return WATCH_INTERVAL_S
        left = self._ports.limits.next_check(run, now, now - self._last_entry_at)
        checks = [WATCH_INTERVAL_S] if left is None else [WATCH_INTERVAL_S, left.total_seconds() + 0.05]
        return min(*checks, max(self._until_quiet_s(run), 0.0)) if waits else min(checks)

    def _until_quiet_s(self, run: Run) -> float:
        """Seconds until a run that waits for a person may be parked if nothing more comes."""
        known = run.open_questions == self._known_questions
        after_s = PARK_AGAIN_AFTER_S if known else self._ports.park_after_s
        return after_s - (self._ports.clock() - self._last_entry_at).total_seconds()

    async def _let_go_when_quiet(self) -> None:
        run = (await self._runs.recent(self._run_id)).state
        if run is None or not self._execution.parks:
            return
        if not run.waits_for_a_person or self._until_quiet_s(run) > 0:
            return
        loop = asyncio.get_running_loop()
        if self._until_quiet.when() is None:
            self._until_quiet.reschedule(loop.time())
        await asyncio.sleep(RECONNECT_DELAY_S)  # a refusal, and the return of this process, take their time

    async def _end_what_takes_too_long(self) -> None:
        run, now = (await self._runs.load(self._run_id)).state, self._ports.clock()
        over = self._ports.limits.over(run, now, now - self._last_entry_at) if run is not None else None
        if over is not None:
            what, limit_ms = over
            command = TimeOutRun(lease_generation=self._lease, what=what, limit_ms=limit_ms)
            await self._runs.handle(self._run_id, command, self._context(f"timed_out/{what}"))

    async def _external_run_ended(self, run: Run) -> Run:
        """The run once callbacks have reported its end, or as it is after WATCH_INTERVAL_S."""
        loaded = await wait_for_state(
            self._runs,
            self._ports.tail,
            key=self._run_id,
            stream=run_stream(self._run_id),
            reached=lambda state: state is not None and not isinstance(state.stage, Active),
            timeout_s=WATCH_INTERVAL_S,
        )
        return loaded.state if loaded and loaded.state else run

    def _context(self, step: str) -> CommandContext:
        return self._execution.command_context(step)


def _agent_must_be_stopped(run: Run | None) -> bool:
    """Whether the agent must be stopped: a cancel or an abort asks for it, or a callback reported its end (then after
    EXIT_GRACE_S)."""
    if run is None:
        return False
    reported_its_end = isinstance(run.stage, Finishing) and run.stage.by_callback
    return run.cancel_requested or run.abort is not None or reported_its_end


def _needs_attention(run: Run | None) -> bool:
    return _agent_must_be_stopped(run) or (run is not None and run.waits_for_a_person)


def _more_than(known: Run | None) -> Callable[[Run | None], bool]:
    """Whether it must be stopped, or its open questions are others than they were."""
    asked = known.open_questions if known is not None else ()
    return lambda run: _agent_must_be_stopped(run) or (run is not None and run.open_questions != asked)


def _is_lasting(error: ExecutorError) -> bool:
    """Whether following would fail again: the journal is damaged, gone, or shorter than what was read of it, or its
    executor failed to write it."""
    return error.reason in {"stream_garbled", "journal_damaged", "journal_failed", "invalid_input", "not_found"}


def _event_of(entry: JournalEntry) -> LeasedEvent:
    """The event of a journal entry; one that this code can't read is kept as a warning, never a crash."""
    payload = bytes(entry.payload)
    try:
        event_type = event_types().get(entry.type)
        version = event_type.schema_version if event_type else 1
        event = decode(entry.type, version, payload)
        if not isinstance(event, LeasedEvent):
            problem = "it is not an agent's to report"
        elif nested_deeper(payload, MAX_PAYLOAD_DEPTH):
            problem = f"it is nested deeper than {MAX_PAYLOAD_DEPTH} levels"
        else:
            return event
    except (UnknownEventType, msgspec.ValidationError, RecursionError) as error:
        problem = str(error)
    text = payload.decode(errors="replace")[:4096]
    return RunWarning(warning=Warn(code="unreadable_journal_entry", message=f"{entry.type}: {problem}: {text}"))
