"""One session as a value: its log's fold, its effects, the world, and all that is under way. The code under test is the
real one: decide and evolve, the process managers, the effect worker, its handlers, `SessionWorkers`, `Aggregates`."""

import copy
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from application.aggregates.aggregates import Aggregates
from application.aggregates.reconcile_log import ReconcileLog, TakeoverLog
from application.effects.observed_effects import ObservedEffects
from application.effects.retry_schedules import RETRY_SCHEDULES
from application.effects.table import effect_handlers
from application.effects.worker import EffectWorker
from application.ports.effect_ledger import ClaimedEffect, EffectLease
from application.ports.event_store import AppendResult, ExpectedSeqConflict, StreamPage
from application.ports.executor import ExecutorError
from application.ports.snapshots import Snapshot
from application.ports.telemetry import NO_MEASUREMENTS, NO_SPANS
from application.ports.worker_runtime import RuntimeUnavailable
from application.process_managers.outcomes import WantedEffect
from application.process_managers.table import outcomes_of
from application.sessions.session_workers import SessionWorkers
from application.sessions.workspace_syncs import WorkspaceSyncs
from domain.identifiers import session_stream
from domain.record import NewEvent, RecordedEvent
from domain.session.decide import decide
from domain.session.evolve import evolve
from domain.session.state import SessionWorker
from tests.support.specification import T0, occurrence
from tests.unit.domain.session.log_rules import Reader
from tests.unit.interleavings.asking import Ask, Held, answered, go_on
from tests.unit.interleavings.message import Journey, Message
from tests.unit.interleavings.world import SESSION, World, WorldExecutors, WorldRuntime

STREAM = session_stream(SESSION)
FEW_TRIES = 2
"""In the model a quick effect is given up after its second try."""


@dataclass(frozen=True)
class Effect:
    """A row of the ledger. `late`: its last try failed, and it waits for its next."""

    wanted: WantedEffect
    attempt: int = 0
    late: bool = False
    held: Held | None = None

    def claimed(self) -> ClaimedEffect:
        kind, attempt = self.wanted.kind, self.attempt
        quick = RETRY_SCHEDULES[kind].max_attempts < 100
        return ClaimedEffect(
            effect_id=self.wanted.effect_id,
            kind=kind,
            params=self.wanted.params,
            attempt=attempt,
            last_attempt=quick and attempt >= FEW_TRIES,
            actor="ann",
            correlation_id="c",
            causation_id="e",
        )


@dataclass
class Model:
    """`budget`: how often each thing from outside may still happen."""

    budget: dict[str, int]
    state: SessionWorker | None = None
    seq: int = 0
    event_ids: frozenset[str] = frozenset()
    reader: Reader = field(default_factory=Reader)
    world: World = field(default_factory=World)
    effects: tuple[Effect, ...] = ()
    messages: tuple[Message, ...] = ()
    now: int = 0
    names: int = 0
    idle_before: datetime | None = None
    stopped_before: datetime | None = None

    def copy(self) -> "Model":
        twin = copy.copy(self)
        twin.budget, twin.reader = dict(self.budget), copy.copy(self.reader)
        twin.reader.attached, twin.reader.synced = set(self.reader.attached), set(self.reader.synced)
        return twin

    @property
    def time(self) -> datetime:
        return T0 + timedelta(minutes=self.now)

    def new_name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def message(self, name: str) -> Message:
        return next(each for each in self.messages if each.name == name)

    def put_message(self, message: Message) -> None:
        self.messages = tuple(message if each.name == message.name else each for each in self.messages)

    def put_effect(self, effect: Effect, *, done: bool = False) -> None:
        present = [each for each in self.effects if each.wanted.effect_id != effect.wanted.effect_id]
        places = {each.wanted.effect_id: index for index, each in enumerate(self.effects)}
        if not done:
            present.insert(places[effect.wanted.effect_id], effect)
        self.effects = tuple(present)

    def append(self, expected_seq: int, events: Sequence[NewEvent]) -> AppendResult:
        if all(event.event_id in self.event_ids for event in events):
            return AppendResult(positions=(self.seq,) * len(events), last_seq=self.seq, duplicate=True)
        if expected_seq != self.seq:
            raise ExpectedSeqConflict(STREAM, expected_seq, self.seq)
        for given in events:
            event = msgspec.structs.replace(given, occurred_at=self.time)
            self.state = evolve(self.state, event)
            self.seq += 1
            self.event_ids |= {event.event_id}
            self.reader.read(event.event)
            self._want(event)
        return AppendResult(positions=tuple(range(expected_seq + 1, self.seq + 1)), last_seq=self.seq)

    def _want(self, event: NewEvent) -> None:
        recorded = RecordedEvent(
            position=self.seq,
            stream=STREAM,
            seq=self.seq,
            event_id=event.event_id,
            event=event.event,
            occurred_at=event.occurred_at,
            recorded_at=event.occurred_at,
            metadata=event.metadata,
        )
        self.effects += tuple(Effect(each) for each in outcomes_of(recorded) if isinstance(each, WantedEffect))

    def handle(self, command: Any) -> Any:
        """A command from outside, in one step. Raises what decide raises."""
        name = self.new_name("command")
        new = [occurrence(event, event_id=f"{name}/{index}") for index, event in enumerate(decide(self.state, command))]
        return self.append(self.seq, new) if new else None

    # What is under way.

    def begin(self, effect: Effect) -> None:
        effect = replace(effect, attempt=effect.attempt + 1, late=False)
        self.put_effect(effect)
        self._settle(effect, go_on(perform(effect), (), self))

    def take_up(self, message: Message) -> None:
        message = replace(message, lease=message.lease + 1)
        self.put_message(message)
        self._travelled(message, go_on(travel(message), (), self))

    def step(self, holder: Effect | Message, fault: str = "") -> None:
        """Let what is held go on by one step; `fault` is that the world's call fails `before` or `after` it is done."""
        held = holder.held
        assert held is not None
        answer = held.answered
        if answer is None:
            if fault == "before":
                answer = (_away(held.at),)
            else:
                answer = (answered(held.at, self),)
                if fault == "after":
                    answer = (_away(held.at),)
            if held.at.kind == "act":
                return self._hold(holder, replace(held, answered=answer))
        coroutine = perform(holder) if isinstance(holder, Effect) else travel(holder)
        further = go_on(coroutine, (*held.answers, *answer), self)
        if isinstance(holder, Effect):
            return self._settle(holder, further)
        return self._travelled(holder, further)

    def _hold(self, holder: Effect | Message, held: Held | None) -> None:
        if isinstance(holder, Effect):
            self.put_effect(replace(holder, held=held))
        else:
            self.put_message(replace(self.message(holder.name), held=held))

    def _settle(self, effect: Effect, held: Held | None) -> None:
        if held is not None:
            self._hold(effect, held)

    def _travelled(self, message: Message, held: Held | None) -> None:
        self._hold(message, held)

    def crash(self) -> None:
        """The control plane dies: what was under way is not, and what it held may be claimed again."""
        self.effects = tuple(replace(each, held=None) for each in self.effects)
        self.messages = tuple(replace(each, held=None) for each in self.messages)


def _away(ask: Ask) -> Exception:
    if ask.name in {"create", "start", "start maintenance", "stop", "remove", "inspect"}:
        return RuntimeUnavailable("away")
    return ExecutorError("away", kind="network", path=ask.name, attempt=1, max_attempts=1)


class _Store:
    """The session's stream and its newest snapshot, which is the fold itself."""

    async def append(self, stream: str, expected_seq: int, events: Sequence[NewEvent]) -> AppendResult:
        return await Ask("store", "append", lambda model: model.append(expected_seq, events))

    async def read_page(self, stream: str, *, after_seq: int = 0, **_: Any) -> Any:
        # Always from a fresh fold, so there is nothing after it but for who comes back from a lost race.
        events = await Ask(
            "store", "read", lambda model: [_Catchup(model.state, model.seq)] if model.seq > after_seq else []
        )
        return StreamPage(events=events, more=False)

    async def find_event(self, stream: str, event_id: str) -> Any:
        return await Ask("store", "find", lambda model: _Found() if event_id in model.event_ids else None)

    async def newest(self, stream: str) -> Snapshot[SessionWorker] | None:
        def newest(model: Model) -> Snapshot[SessionWorker] | None:
            return Snapshot(state=model.state, seq=model.seq, position=model.seq) if model.state else None

        return await Ask("store", "newest", newest)

    def keep(self, stream: str, snapshot: Any) -> None:
        pass


class _Catchup(msgspec.Struct, frozen=True):
    """Stands for all events up to `seq`: folding it gives their fold."""

    state: Any
    seq: int

    @property
    def position(self) -> int:
        return self.seq


class _Found(msgspec.Struct, frozen=True):
    position: int = 0


def _fold(state: Any, event: Any) -> Any:
    return event.state if isinstance(event, _Catchup) else evolve(state, event)


class _Ledger:
    async def settle(
        self, lease: EffectLease, outcome: str, *, error: str = "", delay: timedelta = timedelta()
    ) -> None:
        def settle(model: Model) -> None:
            effect = next(each for each in model.effects if each.wanted.effect_id == lease.effect.effect_id)
            model.put_effect(replace(effect, late=True, held=None), done=outcome != "failed")

        await Ask("look", "settle", settle)

    async def wait_for_work(self, timeout_s: float) -> None:
        raise AssertionError("the model hands effects out itself")


async def _given_up(effect: ClaimedEffect, error: str) -> None:
    pass


def _workers() -> SessionWorkers:
    store: Any = _Store()
    runtime: Any = WorldRuntime()
    executors: Any = WorldExecutors()
    sessions: Any = Aggregates(
        store=store, clock=lambda: T0, stream_of=session_stream, decide=decide, evolve=_fold, snapshots=store
    )
    return SessionWorkers(sessions=sessions, runtime=runtime, directory=executors, secret=b"s")


def perform(effect: Effect) -> Coroutine[Any, Any, None]:
    ledger: Any = _Ledger()
    nothing: Any = None
    workers = _workers()
    syncs = WorkspaceSyncs(workers, first_after_s=None)
    worker = EffectWorker(
        ledger=ledger,
        handlers=effect_handlers(
            run_aggregates=nothing,
            workers=workers,
            store=nothing,
            collector=nothing,
            copier=nothing,
            syncs=syncs,
            commands=nothing,
        ),
        given_up=_given_up,
        takeover_log=TakeoverLog(ReconcileLog(store=nothing, clock=lambda: T0)),
        owner="w",
        slots={"short": 1},
    )
    lease = EffectLease(effect=effect.claimed(), generation=effect.attempt)
    return worker._perform(lease, ObservedEffects(NO_SPANS, NO_MEASUREMENTS).begin(lease))


def travel(message: Message) -> Coroutine[Any, Any, None]:
    return Journey(message, _workers()).travel()
