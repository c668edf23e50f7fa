"""An executor of which only the behaviour counts: its journals are written by the tests."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from application.executor_protocol import (
    ExecutorHealth,
    JournalEntry,
    LinkResult,
    LogLines,
    ReplyResult,
    RestoreResult,
    RunState,
    StartRequest,
    SyncResult,
    ValidateResult,
)
from application.ports.executor import ExecutorError
from domain.workspace.sync import SyncRef

SYNCED = SyncRef(manifest_key="p/manifests/1-1-0.json", manifest_hash="0" * 64)


def executor_error(reason: str = "", *, status: int | None = None) -> ExecutorError:
    kind: Any = "network" if status is None else "http"
    return ExecutorError(reason or "away", kind=kind, path="/", attempt=1, max_attempts=1, status=status, reason=reason)


class MemoryExecutor:
    """Keeps journals that tests write with `say`. `troubles` are raised by the next calls of that name, in order."""

    def __init__(self, session_id: str) -> None:
        self.session_id, self.boot_id = session_id, "boot1"
        self.journals: dict[str, list[JournalEntry]] = {}
        self.attempts: dict[str, int] = {}
        self.starts: list[str] = []
        self.requests: list[StartRequest] = []
        self.stopped: list[str] = []
        self.troubles: dict[str, list[ExecutorError]] = defaultdict(list)
        self.changed = asyncio.Condition()

    async def say(self, run_id: str, type_: str, skip: int = 0, **payload: Any) -> None:
        """One more entry of a run's journal; `skip` leaves out so many numbers before it."""
        journal = self.journals[run_id]
        n = (journal[-1].n if journal else 0) + 1 + skip
        entry = JournalEntry(
            n=n,
            boot_id=self.boot_id,
            attempt=self.attempts[run_id],
            type=type_,
            payload=msgspec.Raw(msgspec.json.encode(payload)),
            ts=datetime.now(UTC),
        )
        async with self.changed:
            journal.append(entry)
            self.changed.notify_all()

    async def end(self, run_id: str, outcome: str = "succeeded") -> None:
        await self.say(run_id, "run.agent_finished", outcome=outcome)

    async def started(self, run_id: str) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: run_id in self.starts)

    def _trouble(self, call: str) -> None:
        if self.troubles[call]:
            raise self.troubles[call].pop(0)

    async def health(self) -> ExecutorHealth:
        self._trouble("health")
        return ExecutorHealth(boot_id=self.boot_id, session_id=self.session_id, generation=1, restored=True)

    async def restore(self, _request: Any) -> RestoreResult:
        self._trouble("restore")
        return RestoreResult()

    async def link_agent_data(self, _request: Any) -> LinkResult:
        return LinkResult()

    async def validate(self, _request: Any) -> ValidateResult:
        return ValidateResult(ok=True)

    async def sync(self, _request: Any) -> SyncResult:
        self._trouble("sync")
        return SyncResult(sync=SYNCED)

    async def run_state(self, run_id: str) -> RunState | None:
        self._trouble("run_state")
        return self._state(run_id) if run_id in self.journals else None

    async def start_run(self, request: StartRequest) -> RunState:
        self._trouble("start_run")
        async with self.changed:
            self.starts.append(request.run_id)
            self.requests.append(request)
            self.attempts[request.run_id], self.journals[request.run_id] = request.attempt, []
            self.changed.notify_all()
        return self._state(request.run_id)

    async def follow(self, run_id: str, cursor: int) -> AsyncIterator[list[JournalEntry]]:
        while True:
            self._trouble("follow")
            if run_id not in self.journals:
                raise executor_error("not_found", status=404)
            entries = [entry for entry in self.journals[run_id] if entry.n > cursor]
            for entry in entries:
                yield [entry]
                cursor = entry.n
                self._trouble("follow")
            if entries and entries[-1].type == "run.agent_finished":
                return
            async with self.changed:
                await self.changed.wait()

    async def stop_run(self, run_id: str) -> RunState | None:
        self.stopped.append(run_id)
        if run_id not in self.journals:
            return None
        if not self._state(run_id).finished:
            await self.end(run_id, "canceled")
        return self._state(run_id)

    async def reply(self, run_id: str, request: Any) -> ReplyResult:
        """The agent takes the answer at once."""
        await self.say(run_id, "human_loop.resolved", questionId=request.question_id, answer=request.answer)
        return ReplyResult()

    async def log(self) -> LogLines:
        return LogLines()

    async def take_log(self) -> LogLines:
        return LogLines()

    def _state(self, run_id: str) -> RunState:
        journal = self.journals[run_id]
        return RunState(
            run_id=run_id,
            attempt=self.attempts[run_id],
            boot_id=self.boot_id,
            entries=len(journal),
            finished=bool(journal) and journal[-1].type == "run.agent_finished",
        )
