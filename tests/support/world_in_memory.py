"""The control plane on a log in memory, with a runtime and executors of which only the behaviour counts."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from application.aggregates.aggregates import Aggregates
from application.command_context import CommandContext
from application.effects.table import effect_handlers
from application.outages import Outages
from application.ports.effect_handler import EffectHandler, EffectObsolete
from application.ports.effect_kinds import EffectKind
from application.ports.effect_ledger import ClaimedEffect
from application.ports.run_queue import LostRun, ParkedRun, QueueItem, RunLease, external_run_key
from application.ports.session_traffic import Traffic
from application.ports.worker_runtime import ContainerInfo, ContainerSpec, OversizedContainer
from application.ports.workspace_copier import CopiedWorkspace
from application.process_managers.commands import ProcessManagerCommands, SentPage, to_send
from application.process_managers.outcomes import (
    DequeueRun,
    EnqueueFinish,
    EnqueueRun,
    Outcome,
    ParkRun,
    PostponeRun,
    WakeRun,
    WakeRunsOf,
    WantedEffect,
)
from application.process_managers.table import outcomes_of
from application.runs.commands import Runs
from application.runs.execution import RunExecutions
from application.runs.execution_context import PARK_AFTER_S, ExecutionPorts
from application.runs.limits import RunLimits
from application.runs.session_quotas import HourlyQuotas, SessionQuotas
from application.sessions.commands import Sessions
from application.sessions.session_workers import SessionWorkers
from application.sessions.workspace_syncs import WorkspaceSyncs
from domain.errors import DomainError
from domain.identifiers import run_stream, session_stream
from domain.record import RecordedEvent
from domain.run import decide as run_decide
from domain.run.commands import QueueRun
from domain.run.quotas import RunQuotas, evolve_counting
from domain.run.values import Message, RunSpec
from domain.session import decide as session_decide
from domain.session import evolve as session_evolve
from domain.workspace.sync import SyncRef
from tests.support.executor_in_memory import MemoryExecutor
from tests.support.log_in_memory import LogInMemory
from tests.support.runs import SCRIPTED

GRACE_S = 0.02
HOURLY = HourlyQuotas()
NO_LIMITS = RunLimits(run=timedelta(), silence=timedelta())


def now() -> datetime:
    return datetime.now(UTC)


def context(command_id: str) -> CommandContext:
    return CommandContext(actor="test", command_id=command_id, correlation_id=command_id)


class MemoryRuntime:
    name = "memory"

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.too_large: list[OversizedContainer] = []
        self.ended: set[str] = set()
        """Sessions whose executor has ended, until it is started again."""
        self.moved: dict[str, str] = {}
        """Session → the address at which its executor serves since it was started again."""

    def info(self, spec: ContainerSpec) -> ContainerInfo:
        if spec.session_id in self.ended:
            return ContainerInfo(
                container_id=spec.session_id, runtime=self.name, daemon_id="d", status="exited", exit_log="ending: idle"
            )
        url = self.moved.get(spec.session_id, spec.session_id)
        return ContainerInfo(container_id=spec.session_id, runtime=self.name, daemon_id="d", status="running", url=url)

    async def create(self, spec: ContainerSpec) -> ContainerInfo:
        return self.info(spec)

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        self.ended.discard(spec.session_id)
        return self.info(spec)

    async def stop(self, spec: ContainerSpec, container_id: str) -> None: ...

    async def remove(self, spec: ContainerSpec, container_id: str) -> None: ...

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        return None if container_id in self.gone else self.info(spec)

    async def own_containers(self) -> list[Any]:
        return []

    async def oversized(self) -> list[OversizedContainer]:
        return self.too_large


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
        self.parked: dict[str, ParkRun] = {}
        self.sessions: dict[str, str] = {}
        self.ending: set[str] = set()
        self.expired: dict[str, str] = {}
        self.lost: set[str] = set()
        self.released: list[tuple[str, timedelta]] = []
        self._generations: dict[str, int] = defaultdict(int)
        self._news = asyncio.Event()

    def apply(self, outcome: Outcome) -> None:
        match outcome:
            case EnqueueRun(run_id=run_id, session_id=session_id):
                self.sessions[run_id] = session_id
                self.waiting[run_id] = (session_id, now())
            case EnqueueFinish(run_id=run_id):
                self.waiting[run_id] = (external_run_key(run_id), now())
            case PostponeRun(run_id=run_id, available_at=available_at):
                self.leased.pop(run_id, None)
                self.waiting[run_id] = (run_id, available_at)
            case ParkRun(run_id=run_id, lease_generation=generation):
                lease = self.leased.get(run_id)
                if lease is not None and lease.generation == generation:
                    del self.leased[run_id]
                    self.parked[run_id] = outcome
            case WakeRun(run_id=run_id, ends=ends) if run_id in self.parked:
                del self.parked[run_id]
                self.waiting[run_id] = (run_id, now())
                if ends:
                    self.ending.add(run_id)
            case WakeRunsOf(session_id=session_id):
                for run_id in [each for each in self.parked if self.sessions[each] == session_id]:
                    self.apply(WakeRun(run_id=run_id))
            case DequeueRun(run_id=run_id):
                self.waiting.pop(run_id, None)
                self.parked.pop(run_id, None)
                self.leased.pop(run_id, None)
        self._news.set()

    def due(self, run_id: str) -> None:
        """Its delay is over."""
        self.waiting[run_id] = (run_id, now())
        self._news.set()

    def expire(self, run_id: str) -> None:
        self.expired[run_id] = self.leased.pop(run_id).owner
        self._news.set()

    async def claim(
        self, *, owner: str, limit: int, lease: timedelta, ending: int = 0, only_stale: bool = False
    ) -> Sequence[RunLease]:
        due = dict(self.expired)
        if not only_stale:
            due |= {run_id: "" for run_id, (_, at) in self.waiting.items() if at <= now()}
        at_once = [run_id for run_id in due if run_id in self.ending][:ending]
        others = [run_id for run_id in due if run_id not in at_once][:limit]
        claimed = []
        for run_id in (*at_once, *others):
            taken_from = due[run_id]
            self.ending.discard(run_id)
            self._generations[run_id] += 1
            self.expired.pop(run_id, None)
            self.waiting.pop(run_id, None)
            new = RunLease(
                run_id=run_id,
                owner=owner,
                generation=self._generations[run_id],
                taken_from=taken_from,
                ending=run_id in at_once,
            )
            self.leased[run_id] = new
            claimed.append(new)
        return claimed

    async def claim_looks(self, limit: int) -> Sequence[ParkedRun]:
        """All of them, each time."""
        return [
            ParkedRun(
                run_id=run_id,
                session_id=self.sessions[run_id],
                waits_for=parked.waits_for,
                lease_generation=parked.lease_generation,
            )
            for run_id, parked in list(self.parked.items())[:limit]
        ]

    async def wake(self, parked: ParkedRun) -> None:
        self.apply(WakeRun(run_id=parked.run_id))

    async def wait_for_look(self, timeout_s: float) -> None:
        await asyncio.sleep(GRACE_S)

    async def renew(self, lease: RunLease, duration: timedelta) -> bool:
        return lease.run_id not in self.lost and self.leased.get(lease.run_id) == lease

    async def release(self, lease: RunLease, delay: timedelta, *, begun: bool = True) -> None:
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

    async def line_up_lost(self, limit: int) -> Sequence[str]:
        return ()

    async def wait_for_ending(self, timeout_s: float) -> None:
        await asyncio.sleep(GRACE_S)

    async def wait_for_work(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()


class MemoryTraffic:
    """The SessionTraffic port, within one hour."""

    def __init__(self) -> None:
        self._counted: dict[str, Traffic] = {}

    async def add(self, session_id: str, added: Traffic) -> Traffic:
        known = self._counted.get(session_id, Traffic(events=0, bytes=0))
        counted = Traffic(events=known.events + added.events, bytes=known.bytes + added.bytes)
        self._counted[session_id] = counted
        return counted


class World:
    """`limits` of runs; `retry_delay` of attempts that failed, and its `jitter`, from 0 to 1; `outages` that are known;
    quotas of a run, and of a session in an hour."""

    def __init__(
        self,
        *,
        limits: RunLimits = NO_LIMITS,
        retry_delay: timedelta = timedelta(minutes=5),
        jitter: float = 0.0,
        park_after_s: float = PARK_AFTER_S,
        outages: Outages | None = None,
        quotas: RunQuotas = run_decide.DEFAULT_QUOTAS,
        hourly: HourlyQuotas = HOURLY,
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
            store=self.log,
            clock=now,
            stream_of=run_stream,
            decide=partial(run_decide.decide, quotas=quotas),
            evolve=evolve_counting,
        )
        directory: Any = self
        self.workers = SessionWorkers(sessions=self.sessions, runtime=self.runtime, directory=directory, secret=b"s")
        syncs = WorkspaceSyncs(self.workers, first_after_s=None)
        self.retry_delay = retry_delay
        self.execution_ports = ExecutionPorts(
            runs=self.runs,
            workers=self.workers,
            syncs=syncs,
            tail=self.log,
            clock=now,
            human_loop_timeout=timedelta(hours=1),
            limits=limits,
            jitter=lambda: jitter,
            session_quotas=SessionQuotas(runs=self.runs, traffic=MemoryTraffic(), quotas=hourly),
            park_after_s=park_after_s,
            prepare_s=2 * park_after_s,
            outages=outages or Outages(),
            agent_variables=lambda _: {},
        )
        self.executions = RunExecutions(self.execution_ports)
        unused: tuple[Any, Any] = NoContent(), NoForks()
        self._commands = ProcessManagerCommands(runs=self.runs, sessions=self.sessions, store=self.log, clock=now)
        self._handlers = effect_handlers(
            run_aggregates=self.runs,
            workers=self.workers,
            store=self.log,
            collector=unused[0],
            copier=unused[1],
            syncs=syncs,
            commands=self._commands,
        )

    def executor(
        self, *, session_id: str, generation: int = 1, url: str = "", run_id: str = "", storage: Any = None
    ) -> MemoryExecutor:
        return self.executors.setdefault(session_id, MemoryExecutor(session_id))

    async def queued(self, run_id: str = "r", session_id: str = "s", **more: Any) -> RunLease:
        """A run, queued and claimed."""
        spec = RunSpec(
            session_id=session_id,
            user_login_name="ada",
            messages=(Message(role="user", content=":"),),
            **{"provider": "scripted", **more},
        )
        await self.runs.handle(run_id, QueueRun(spec=spec, capabilities=SCRIPTED), context(f"queue/{run_id}"))
        return RunLease(run_id=run_id, owner="w1", generation=1)

    async def react(self) -> None:
        """The process managers and an effect worker, until cancelled; effects of the kinds in `left` stay undone."""
        done = 0
        while True:
            for recorded in self.log.events[done:]:
                done += 1
                caused = [(recorded, outcome) for outcome in outcomes_of(recorded)]
                assert await self._commands.send_page("run_life", to_send(caused, caused)) == SentPage()
                for _, outcome in caused:
                    self.queue.apply(outcome)
                    if isinstance(outcome, WantedEffect) and outcome.kind not in self.left:
                        await self._perform(recorded, outcome)
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
    async with asyncio.timeout(90):
        while not holds():
            await log.changed()
