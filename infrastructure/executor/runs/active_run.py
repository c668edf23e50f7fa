"""One run while its agent lives: journals the agent's events, delivers answers to its questions, stops it."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from application.executor_protocol import ReplyResult, RunState
from application.ports.object_store import ObjectStoreError, ObjectStoreUnavailable
from domain.errors import Conflict, NotFound
from domain.event import MAX_PAYLOAD_BYTES, Event, encode
from domain.run.events import (
    HumanLoopCanceled,
    HumanLoopRequested,
    HumanLoopResolved,
    RunAgentFinished,
    TodosReplaced,
    ToolEnded,
)
from domain.run.values import OutputRef, RunError, Todo
from infrastructure.executor.journal.coalescing import CoalescingJournal
from infrastructure.executor.journal.run_journal import JournalFailed, RunJournal
from infrastructure.executor.providers.contract import AgentFailed, AgentSession, ReplyNotDelivered
from infrastructure.executor.providers.provider_warnings import warning
from infrastructure.executor.runs.agent_processes import AgentProcesses
from infrastructure.executor.runs.flattened_values import flattened
from infrastructure.redaction import RedactedEvents, Redactor

# How long a stopped session, whose processes are dead, may take to yield its last event.
_LAST_EVENT_S = 10.0
_PREVIEW_CHARS = 2000
_STORE_PATIENCE_S = 60.0
_STORE_RETRY_S = 1.0
_ENVELOPE_BYTES = 1024
_log = logging.getLogger("fleetlog.executor.run")

PutOutput = Callable[[str, bytes], Awaitable[str]]
"""Stores output (SHA-256 in hex, bytes) in the object store; returns the key."""


class ActiveRun:
    """Use from the event loop's thread. Its owner runs `run` as a task and keeps it until it ends."""

    def __init__(
        self, run_id: str, attempt: int, *, session: AgentSession, journal: RunJournal, processes: AgentProcesses,
        put_output: PutOutput, redactor: Redactor,
    ) -> None:  # fmt: skip
        self.run_id = run_id
        self.attempt = attempt
        self.journal = journal
        self._session = session
        self._processes = processes
        self._put_output = put_output
        self.redactor = redactor
        self._coalescing = CoalescingJournal(journal)
        self._answered: set[str] = set()
        self._asked: set[str] = set()
        self._delivering = asyncio.Lock()
        self._stopping: asyncio.Task[None] | None = None
        self._stop_reason: RunAgentFinished | None = None
        self._pump: asyncio.Task[RunAgentFinished | None] | None = None

    def state(self, boot_id: str) -> RunState:
        return RunState(
            run_id=self.run_id,
            attempt=self.attempt,
            boot_id=boot_id,
            entries=self.journal.entries,
            finished=self.journal.finished,
            open_questions=tuple(self.journal.open_questions),
        )

    async def run(self) -> None:
        """Take events until the agent has ended, then journal run.agent_finished, whatever happened. Raises
        JournalFailed."""
        self._pump = asyncio.create_task(self._take_events())
        try:
            finished = await self._pump
        except asyncio.CancelledError:
            finished = None
            if self._stopping is None:
                raise
        except JournalFailed:
            await self._processes.end_all(0)
            raise
        except AgentFailed as error:
            await self._processes.end_all(0)
            finished = RunAgentFinished(outcome="failed", error=error.error)
        except Exception as error:  # noqa: BLE001  logged, and the run ends as failed for it
            _log.exception("the provider of run %s failed", self.run_id)
            await self._processes.end_all(0)
            finished = _failed(f"the provider failed: {type(error).__name__}: {error}")
        if self._stopping is not None:
            await asyncio.wait([self._stopping])
        if finished is None:
            finished = _failed("the agent's events ended without a last one")
        await self._finish(finished if self._stop_reason is None else self._as_stopped(finished))

    def stop(self, reason: RunAgentFinished | None = None) -> asyncio.Task[None]:
        """Begin to end the agent; the run then ends with `reason`, by default as canceled. A second call changes
        nothing."""
        if self._stopping is None:
            self._stop_reason = reason if reason is not None else RunAgentFinished(outcome="canceled")
            self._stopping = asyncio.create_task(self._stop())
        return self._stopping

    async def reply(self, question_id: str, answer: Any) -> ReplyResult:
        """Deliver an answer once, and wait until human_loop.resolved is durable. Raises NotFound for an unknown
        question, Conflict for one that is not open or an answer that the agent did not take."""
        async with self._delivering:
            if question_id in self._answered:
                return ReplyResult(duplicate=True)
            if question_id not in self._asked:
                raise NotFound(f"run {self.run_id} has not asked {question_id!r}")
            if question_id not in self.journal.open_questions or self._stopping is not None:
                raise Conflict(f"the question {question_id!r} is not open any more", "question_not_open")
            try:
                await self._session.reply(question_id, answer)
            except ReplyNotDelivered as error:
                raise Conflict(f"the answer did not reach the agent: {error}", "not_delivered") from error
            self._answered.add(question_id)
            self._coalescing.flush()
            resolved = HumanLoopResolved(question_id=question_id, answer=answer)
            number = self.journal.append(self.redactor.event(resolved))
        await self.journal.durable(number)
        return ReplyResult()

    async def _take_events(self) -> RunAgentFinished | None:
        finished: RunAgentFinished | None = None
        redacted = RedactedEvents(self.redactor)
        async for reported in self._session.events():
            for event in redacted.take(flattened(reported)):
                if isinstance(event, RunAgentFinished):
                    finished = event
                else:
                    await self._take(event)
        for event in redacted.flush():
            await self._take(event)
        return finished

    async def _take(self, event: Event) -> None:
        if isinstance(event, HumanLoopRequested):
            if event.question_id in self._asked:
                event = warning("question_repeated", f"the question {event.question_id!r} was asked before")
            else:
                self._asked.add(event.question_id)
        await self._coalescing.take(await self._within_limits(event))

    async def _stop(self) -> None:
        try:
            await self._session.stop()
        except Exception:  # noqa: BLE001  its processes are ended below in any case
            _log.exception("run %s could not be stopped by its provider", self.run_id)
        await self._processes.end_all(0)
        if self._pump is not None:
            await asyncio.wait([self._pump], timeout=_LAST_EVENT_S)
            self._pump.cancel()

    async def _finish(self, finished: RunAgentFinished) -> None:
        self._coalescing.flush()
        why = "the run was canceled" if finished.outcome == "canceled" else "the agent has ended"
        for question_id in tuple(self.journal.open_questions):
            self.journal.append(HumanLoopCanceled(question_id=question_id, reason=why))
        await self.journal.durable(self.journal.append(_bounded(self.redactor.event(finished))))

    def _as_stopped(self, finished: RunAgentFinished) -> RunAgentFinished:
        assert self._stop_reason is not None
        if finished.outcome == "succeeded":
            return finished  # it succeeded before the stop reached it
        return msgspec.structs.replace(
            self._stop_reason,
            usage=finished.usage,
            provider_session_id=finished.provider_session_id,
            exit_code=finished.exit_code,
        )

    async def _within_limits(self, event: Event) -> Event:
        """The event, if a journal can hold it; or what can be kept of it; or a warning."""
        size = len(encode(event))
        if size <= MAX_PAYLOAD_BYTES:
            return event
        if isinstance(event, TodosReplaced):
            return _beginning(event)
        if not isinstance(event, ToolEnded):
            return warning("payload_too_large", f"a {event.wire_name} of {size} bytes was left out")
        text = event.output if isinstance(event.output, str) else None
        body = text.encode() if text is not None else msgspec.json.encode(event.output)
        digest = hashlib.sha256(body).hexdigest()
        preview = body[: _PREVIEW_CHARS * 4].decode("utf-8", "ignore")[:_PREVIEW_CHARS]
        try:
            key = await self._stored(digest, body)
        except ObjectStoreError as error:
            _log.warning("output of run %s could not be stored: %s", self.run_id, error)
            return msgspec.structs.replace(event, output=preview + "\n[cut: the object store was not available]")
        return msgspec.structs.replace(event, output=None, output_ref=OutputRef(sha256=digest, size=len(body), key=key))

    async def _stored(self, digest: str, body: bytes) -> str:
        """The key of stored output. While the store can't be reached it is tried again for a minute, in which the agent
        waits: where the control plane serves the store, it may be restarting."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _STORE_PATIENCE_S
        while True:
            try:
                return await self._put_output(digest, body)
            except ObjectStoreUnavailable as error:
                if loop.time() > until or self._stopping is not None:
                    raise
                _log.info("output of run %s can't be stored yet: %s", self.run_id, error)
                await asyncio.sleep(_STORE_RETRY_S)


def _beginning(event: TodosReplaced) -> Event:
    """As many of the list's first items as a journal entry can hold; the log says how many are left out."""
    kept: list[Todo] = []
    room = MAX_PAYLOAD_BYTES - _ENVELOPE_BYTES
    for todo in event.todos:
        room -= len(msgspec.json.encode(todo)) + 1
        if room < 0:
            break
        kept.append(todo)
    return TodosReplaced(todos=tuple(kept), left_out=event.left_out + len(event.todos) - len(kept))


def _failed(message: str) -> RunAgentFinished:
    return RunAgentFinished(outcome="failed", error=RunError(error_class="cli_crashed", message=message))


def _bounded(finished: RunAgentFinished) -> RunAgentFinished:
    if finished.error is None or len(finished.error.message) <= _PREVIEW_CHARS * 4:
        return finished
    error = msgspec.structs.replace(finished.error, message=finished.error.message[: _PREVIEW_CHARS * 4])
    return msgspec.structs.replace(finished, error=error)
