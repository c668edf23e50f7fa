"""The control plane on a log in memory: the real commands, process managers and effect handlers, between a runtime and
executors of which only the behaviour counts that callers see."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from application.aggregates import Aggregates
from application.command_context import CommandContext
from application.effects.effect import ClaimedEffect, EffectHandler, EffectObsolete
from application.effects.table import effect_handlers
from application.effects.workers import Workers
from application.effects.workspace_syncs import WorkspaceSyncs
from application.executor_protocol import (
    Health,
    JournalEntry,
    LinkResult,
    ReplyResult,
    RestoreResult,
    RunState,
    StartRequest,
    SyncResult,
    ValidateResult,
)
from application.forked_workspaces import CopiedWorkspace
from application.ports import ContainerInfo, ContainerSpec, ExecutorError
from application.process_managers.table import react
from application.reactions import DequeueRun, EffectKind, EnqueueRun, PostponeRun, Reaction, WantedEffect
from application.run_commands import Runs
from application.run_execution import RunExecutions
from application.run_limits import RunLimits
from application.run_queue import LostRun, QueueItem, RunLease
from application.session_commands import Sessions
from domain.errors import DomainError
from domain.identifiers import run_stream, session_stream
from domain.record import RecordedEvent
from domain.run import decide as run_decide
from domain.run import evolve as run_evolve
from domain.run.commands import QueueRun
from domain.run.values import Message, RunSpec
from domain.session import decide as session_decide
from domain.session import evolve as session_evolve
from domain.workspace.sync import SyncRef
from tests.support.log_in_memory import LogInMemory
from tests.support.runs import SCRIPTED

SYNCED = SyncRef(manifest_key="p/manifests/1-1-0.json", manifest_hash="0" * 64)
GRACE_S = 0.02
NO_LIMITS = RunLimits(run=timedelta(), silence=timedelta())


def now() -> datetime:
    return datetime.now(UTC)


def context(command_id: str) -> CommandContext:
    return CommandContext(actor="test", command_id=command_id, correlation_id=command_id)


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
            ts=now(),
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

    async def health(self) -> Health:
        self._trouble("health")
        return Health(boot_id=self.boot_id, session_id=self.session_id, generation=1, restored=True)

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
        return ReplyResult()

    def _state(self, run_id: str) -> RunState:
        journal = self.journals[run_id]
        return RunState(
            run_id=run_id,
            attempt=self.attempts[run_id],
            boot_id=self.boot_id,
            entries=len(journal),
            finished=bool(journal) and journal[-1].type == "run.agent_finished",
        )


class MemoryRuntime:
    name = "memory"

    def __init__(self) -> None:
        self.gone: set[str] = set()

    def info(self, spec: ContainerSpec) -> ContainerInfo:
        return ContainerInfo(
            container_id=spec.session_id, runtime=self.name, daemon_id="d", status="running", url=spec.session_id
        )

    async def create(self, spec: ContainerSpec) -> ContainerInfo:
        return self.info(spec)

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        return self.info(spec)

    async def stop(self, spec: ContainerSpec, container_id: str) -> None: ...

    async def remove(self, spec: ContainerSpec, container_id: str) -> None: ...

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        return None if container_id in self.gone else self.info(spec)

    async def own_containers(self) -> list[Any]:
        return []


class NoForks:
    """Nothing is forked in this world."""

    async def copy(self, source: SyncRef, target: SyncRef) -> CopiedWorkspace:
        raise AssertionError(f"nobody asked for a copy of {source} to {target}")


class NoContent:
    """No content is collected here."""


class MemoryQueue:
    """The run queue's rules without its database: leases, generations, one run per session. Nothing runs out by itself:
    `expire` says when. `lost` names runs whose leases can't be renewed."""

    def __init__(self) -> None:
        self.waiting: dict[str, tuple[str, datetime]] = {}
        self.leased: dict[str, RunLease] = {}
        self.expired: dict[str, str] = {}
        self.lost: set[str] = set()
        self.released: list[tuple[str, timedelta]] = []
        self._generations: dict[str, int] = defaultdict(int)
        self._news = asyncio.Event()

    def apply(self, reaction: Reaction) -> None:
        match reaction:
            case EnqueueRun(run_id=run_id, session_id=session_id):
                self.waiting[run_id] = (session_id, now())
            case PostponeRun(run_id=run_id, available_at=available_at):
                self.leased.pop(run_id, None)
                self.waiting[run_id] = (run_id, available_at)
            case DequeueRun(run_id=run_id):
                self.waiting.pop(run_id, None)
                self.leased.pop(run_id, None)
        self._news.set()

    def expire(self, run_id: str) -> None:
        self.expired[run_id] = self.leased.pop(run_id).owner
        self._news.set()

    async def claim(self, *, owner: str, limit: int, lease: timedelta, only_stale: bool = False) -> Sequence[RunLease]:
        due = dict(self.expired)
        if not only_stale:
            due |= {run_id: "" for run_id, (_, at) in self.waiting.items() if at <= now()}
        claimed = []
        for run_id, taken_from in list(due.items())[:limit]:
            self._generations[run_id] += 1
            self.expired.pop(run_id, None)
            self.waiting.pop(run_id, None)
            new = RunLease(run_id=run_id, owner=owner, generation=self._generations[run_id], taken_from=taken_from)
            self.leased[run_id] = new
            claimed.append(new)
        return claimed

    async def renew(self, lease: RunLease, duration: timedelta) -> bool:
        return lease.run_id not in self.lost and self.leased.get(lease.run_id) == lease

    async def release(self, lease: RunLease, delay: timedelta) -> None:
        if self.leased.get(lease.run_id) == lease:
            del self.leased[lease.run_id]
            self.released.append((lease.run_id, delay))
            self.waiting[lease.run_id] = (lease.run_id, now() + delay)

    async def item(self, run_id: str) -> QueueItem | None:
        return None

    async def missing(self, limit: int) -> Sequence[str]:
        return ()

    async def restore(self, lost: LostRun) -> bool:
        return False

    async def wait_for_work(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()


class World:
    """`limits` of runs; `retry_delay` of attempts that failed, and its `jitter`, from 0 to 1."""

    def __init__(
        self, *, limits: RunLimits = NO_LIMITS, retry_delay: timedelta = timedelta(minutes=5), jitter: float = 0.0
    ) -> None:
        self.log, self.queue, self.runtime = LogInMemory(), MemoryQueue(), MemoryRuntime()
        self.executors: dict[str, MemoryExecutor] = {}
        self.left: set[EffectKind] = set()
        self.sessions: Sessions = Aggregates(
            store=self.log,
            clock=now,
            stream_of=session_stream,
            decide=session_decide.decide,
            evolve=session_evolve.evolve,
        )
        self.runs: Runs = Aggregates(
            store=self.log, clock=now, stream_of=run_stream, decide=run_decide.decide, evolve=run_evolve.evolve
        )
        directory: Any = self
        self.workers = Workers(sessions=self.sessions, runtime=self.runtime, directory=directory, secret=b"s")
        syncs = WorkspaceSyncs(self.workers, first_after_s=None)
        self.executions = RunExecutions(
            runs=self.runs,
            workers=self.workers,
            syncs=syncs,
            tail=self.log,
            clock=now,
            retry_delay=retry_delay,
            human_loop_timeout=timedelta(hours=1),
            limits=limits,
            jitter=lambda: jitter,
        )
        collector: Any = NoContent()
        copier: Any = NoForks()
        self._handlers = effect_handlers(
            run_aggregates=self.runs,
            workers=self.workers,
            store=self.log,
            collector=collector,
            copier=copier,
            syncs=syncs,
        )

    def executor(self, *, session_id: str, generation: int = 1, url: str = "", run_id: str = "") -> MemoryExecutor:
        return self.executors.setdefault(session_id, MemoryExecutor(session_id))

    async def queued(self, run_id: str = "r", session_id: str = "s", **more: Any) -> RunLease:
        """A run, queued and claimed."""
        spec = RunSpec(
            session_id=session_id,
            user_login_name="ada",
            provider="scripted",
            messages=(Message(role="user", content=":"),),
            **more,
        )
        await self.runs.handle(run_id, QueueRun(spec=spec, capabilities=SCRIPTED), context(f"queue/{run_id}"))
        return RunLease(run_id=run_id, owner="w1", generation=1)

    async def react(self) -> None:
        """The process managers and an effect worker, until cancelled. It performs no effects of the kinds in `left`,
        and those that others are to do only when they did not."""
        done = 0
        while True:
            for recorded in self.log.events[done:]:
                done += 1
                for reaction in react(recorded):
                    self.queue.apply(reaction)
                    if isinstance(reaction, WantedEffect) and reaction.kind not in self.left:
                        await self._perform(recorded, reaction)
            if done == len(self.log.events):
                await self.log.changed()

    async def _perform(self, recorded: RecordedEvent, wanted: WantedEffect) -> None:
        if wanted.delay:
            await asyncio.sleep(GRACE_S)
        handler: EffectHandler = self._handlers[wanted.kind]
        effect = ClaimedEffect(
            effect_id=wanted.effect_id,
            kind=wanted.kind,
            params=wanted.params,
            attempt=1,
            last_attempt=True,
            actor="test",
            correlation_id="c",
            causation_id=recorded.event_id,
        )
        try:
            await handler.perform(effect)
        except (EffectObsolete, DomainError):
            return
        except Exception as error:  # noqa: BLE001  # as an effect worker does at the last try
            await handler.give_up(effect, str(error))


@asynccontextmanager
async def world(**more: Any) -> AsyncIterator[World]:
    """A world whose process managers and effects work."""
    made = World(**more)
    working = asyncio.create_task(made.react())
    try:
        yield made
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def until(log: LogInMemory, holds: Callable[[], bool]) -> None:
    """Wait for the log to go on until it holds."""
    async with asyncio.timeout(30):
        while not holds():
            await log.changed()
