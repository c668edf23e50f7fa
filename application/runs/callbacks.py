"""Callbacks: what an agent or an external runner reports about a run. Each is recorded, once for its event id."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from application.aggregates.aggregates import MAX_RACES, Clock, Loaded
from application.command_context import CommandContext
from application.ordered_batches import OrderedBatches
from application.ports.event_store import AppendResult, EventStore, ExpectedSeqConflict
from application.ports.redaction import Redact
from application.ports.run_secrets import RunSecrets
from application.runs.commands import Runs
from application.runs.session_quotas import SessionQuotas
from application.runs.withheld import placeholders, to_redact
from application.turns import LARGE_BODIES, Turn
from domain.errors import Conflict, DomainError, InvalidInput
from domain.event import Event, event_types
from domain.identifiers import run_stream, unmatched_stream
from domain.record import NewEvent
from domain.run import events as e
from domain.run.commands import RecordCallback
from domain.run.state import Blocked, Finished, Finishing, Run
from domain.run.values import Warn

CallbackAction = Literal[
    "duplicate_ignored",
    "message_stop_synced",
    "message_stop_missing_run",
    "todo_upserted",
    "human_loop_requested",
    "human_loop_resolved",
    "human_loop_missing_run",
    "run_finished",
    "recorded",
]
KeptReason = Literal["unknown_run", "late"]
BYTES_LOOKED_THROUGH = 64 * 1024
MAX_UNMATCHED = 1_000
MAX_UNMATCHED_BYTES = 16 * 1024
"""How many callbacks that belong to no live run are kept for one run id, and how large a payload is kept of each."""
FULL_EVENT_ID = "full"
OVER = (Finished, Finishing, Blocked)
ACCEPTED: dict[str, type[Event]] = {
    name: event_type for name, event_type in event_types().items() if event_type in e.AGENT_EVENTS
} | {"run.finished": e.RunAgentFinished, "run.agent_finished": e.RunAgentFinished}


class Callback(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One report. `type` is a wire name of a run event; `payload` that event's fields. A callback of
    another type is recorded unchanged in a `run.warning`."""

    event_id: str
    type: str
    payload: dict[str, Any] = {}


class CallbackResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    event_id: str
    processed: bool
    duplicate: bool
    action: CallbackAction
    position: int = 0


def callback_event(callback: Callback, field: str = "payload") -> Event:
    """The event that a callback reports. Raises InvalidInput for a payload that doesn't fit its type."""
    event_type = ACCEPTED.get(callback.type)
    if event_type is None:
        content = msgspec.json.encode({"type": callback.type, "payload": callback.payload}).decode()
        return e.RunWarning(warning=Warn(code="unknown_callback", message=content))
    try:
        return msgspec.convert(callback.payload, event_type)
    except msgspec.ValidationError as error:
        raise InvalidInput(field, f"does not fit {callback.type}: {error}") from error


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A callback that was checked: with the event that it reports, as `callback_event` gives it, and its bytes."""

    callback: Callback
    event: Event
    size: int

    @property
    def event_id(self) -> str:
        return f"cb/{self.callback.event_id}"


class _Reported(msgspec.Struct, frozen=True, kw_only=True):
    report: Report
    context: CommandContext


class _Together(msgspec.Struct, frozen=True, array_like=True):
    callbacks: list[Callback]


class _Decided(msgspec.Struct, kw_only=True):
    """What a batch leads to on one state: the events and the state after them; what is to be kept in the stream of
    unmatched callbacks, with the reason; what changes nothing; what is refused."""

    state: Run | None
    new: list[NewEvent] = []
    keep: list[tuple[_Reported, KeptReason]] = []
    results: dict[str, CallbackResult | DomainError] = {}


class RecordCallbacks:
    """Records callbacks as events of their run. One for an unknown run, or that comes after the run's end, is recorded
    in the stream `unmatched:{runId}`. Those of one run are recorded in the order in which they come, and all that wait
    at one time together (OrderedBatches)."""

    def __init__(
        self,
        *,
        runs: Runs,
        store: EventStore,
        clock: Clock,
        human_loop_timeout_ms: int,
        redact: Redact,
        secrets: RunSecrets,
        session_quotas: SessionQuotas,
    ) -> None:
        self._runs, self._store, self._clock = runs, store, clock
        self._redact, self._secrets = redact, secrets
        self._human_loop_timeout_ms, self._session_quotas = human_loop_timeout_ms, session_quotas
        self._ordered = OrderedBatches(self._record, size_of=lambda each: each.report.size)

    async def handle(
        self, run_id: str, reports: Sequence[Report], context: CommandContext, *, token: str = ""
    ) -> Sequence[CallbackResult]:
        """The result of each, once all are recorded, without secrets. `token`: the caller's own, which must not be
        recorded either. Raises Conflict: `quota_exceeded` for a run over a quota, `unmatched_full`, and `too_busy` when
        they find no room to wait."""
        also = (token, *await self._secrets_of(run_id))
        turn, reported = Turn(share=LARGE_BODIES), list[_Reported]()
        for part in _parts(reports):
            reported += (_Reported(report=report, context=context) for report in self._redacted(part, also))
            if turn.over:
                await turn.next()
        return await self._ordered.handle(run_id, reported)

    async def _secrets_of(self, run_id: str) -> Sequence[str]:
        """Those in the run's options, which its first event has."""
        run = (await self._runs.recent(run_id)).state
        if run is None or run.spec is None or not placeholders(run.spec):
            return ()
        return to_redact(tuple((await self._secrets.of(run_id)).values()))

    def _redacted(self, reports: Sequence[Report], also: Sequence[str]) -> Iterator[Report]:
        """They are looked through together, which costs a fraction: next to none has a secret."""
        together = _Together([report.callback for report in reports])
        redacted = self._redact(together, also)
        for report, callback in zip(reports, redacted.callbacks, strict=True):
            if redacted is together or callback == report.callback:
                yield report
            else:
                yield msgspec.structs.replace(report, callback=callback, event=callback_event(callback))

    async def _record(self, run_id: str, batch: Sequence[_Reported]) -> Sequence[CallbackResult | DomainError]:
        first: dict[str, _Reported] = {}
        for each in batch:
            first.setdefault(each.report.event_id, each)
        found = await self._recorded(run_id, first)
        return [
            result
            if isinstance(result := found[each.report.event_id], DomainError) or first[each.report.event_id] is each
            else _result(each.report.callback, "duplicate_ignored", result.position)
            for each in batch
        ]

    async def _recorded(self, run_id: str, batch: Mapping[str, _Reported]) -> dict[str, CallbackResult | DomainError]:
        """By event id. Which ids the run has already is asked only where it matters: nearly all come once."""
        known: Mapping[str, int] | None = None
        loaded = await self._runs.recent(run_id)
        for _ in range(MAX_RACES):
            if known is None and (loaded.state is None or isinstance(loaded.state.stage, OVER)):
                known = await self._store.find_positions(run_stream(run_id), list(batch))
            decided = self._decided(loaded, batch, known or {})
            if decided.new:
                written = await self._written(run_id, loaded, decided)
                if written is None:
                    known = await self._store.find_positions(run_stream(run_id), list(batch))
                    loaded = await self._runs.load(run_id)
                    continue
                await self._count(run_id, decided, batch)
            elif (fresh := await self._runs.load(run_id)).seq != loaded.seq:
                # The state was stale: that nothing is to be done counts only on the fresh one.
                loaded = fresh
                continue
            return decided.results | await self._kept(run_id, decided.keep, known)
        raise Conflict(f"{run_stream(run_id)} is too busy: {MAX_RACES} races lost; try again", "too_busy")

    def _decided(self, loaded: Loaded[Run], batch: Mapping[str, _Reported], known: Mapping[str, int]) -> _Decided:
        decided = _Decided(state=loaded.state)
        for event_id, each in batch.items():
            if (refusal := _over_quota(decided.state, each.report.event)) is not None:
                decided.results[event_id] = refusal
            elif event_id in known:
                decided.results[event_id] = _result(each.report.callback, "duplicate_ignored", known[event_id])
            elif decided.state is None:
                decided.keep.append((each, "unknown_run"))
            elif isinstance(decided.state.stage, OVER):
                decided.keep.append((each, "late"))
            else:
                command = RecordCallback(event=self._timed(each.report.event))
                try:
                    new, decided.state = self._runs.decide_all(decided.state, [(command, event_id)], each.context)
                except DomainError as error:
                    decided.results[event_id] = error
                    continue
                action = _action(each.report.event) if new else "duplicate_ignored"
                result = _result(each.report.callback, action, loaded.position)
                decided.results[event_id] = _over_quota(decided.state, each.report.event) or result
                decided.new += new
        return decided

    async def _written(self, run_id: str, loaded: Loaded[Run], decided: _Decided) -> AppendResult | None:
        """None if somebody else has written first, also where that was the same."""
        try:
            appended = await self._runs.append(run_id, loaded, decided.new, decided.state)
        except ExpectedSeqConflict:
            return None
        if appended.duplicate:
            return None
        for event, position in zip(decided.new, appended.positions, strict=True):
            result = decided.results.get(event.event_id)
            if isinstance(result, CallbackResult):
                decided.results[event.event_id] = msgspec.structs.replace(result, position=position)
        return appended

    async def _count(self, run_id: str, decided: _Decided, batch: Mapping[str, _Reported]) -> None:
        """What was written counts for its session's quota, even if it is the end that the run's own quota made."""
        assert decided.state is not None
        last = decided.new[-1].event_id
        context = batch[last].context
        context = msgspec.structs.replace(context, command_id=f"{context.command_id}/quota/{last}")
        await self._session_quotas.count(run_id, decided.state, [each.event for each in decided.new], context)

    async def _kept(
        self, run_id: str, keep: Sequence[tuple[_Reported, KeptReason]], known: Mapping[str, int] | None
    ) -> dict[str, CallbackResult | DomainError]:
        """Those that came too late may be repetitions of what came in time. What is more than MAX_UNMATCHED is refused,
        and one event says so."""
        if not keep:
            return {}
        ids = [each.report.event_id for each, _ in keep]
        if known is None:
            known = await self._store.find_positions(run_stream(run_id), ids)
        stream, before = unmatched_stream(run_id), dict(known)
        for _ in range(MAX_RACES):
            last = await self._store.last_seq(stream)
            room = max(MAX_UNMATCHED - last, 0)
            if len(ids) > room:
                before |= await self._store.find_positions(stream, [*ids, FULL_EVENT_ID])
            fresh = [one for one in keep if one[0].report.event_id not in before]
            new = [self._unmatched(run_id, *one) for one in fresh[:room]]
            refused: dict[str, CallbackResult | DomainError] = {
                each.report.event_id: _unmatched_full(stream, reason) for each, reason in fresh[room:]
            }
            if refused and FULL_EVENT_ID not in before:
                full = e.UnmatchedFull(for_run_id=run_id, limit=MAX_UNMATCHED)
                new.append(self._new(FULL_EVENT_ID, full, fresh[room][0].context))
            positions = dict(before)
            if new:
                try:
                    appended = await self._store.append(stream, last, new)
                except ExpectedSeqConflict:
                    before |= await self._store.find_positions(stream, ids)
                    continue
                positions |= zip([event.event_id for event in new], appended.positions, strict=True)
                if appended.duplicate:
                    before = positions
            return refused | {
                each.report.event_id: _kept_result(
                    each.report, reason, positions[each.report.event_id], duplicate=each.report.event_id in before
                )
                for each, reason in keep
                if each.report.event_id not in refused
            }
        raise Conflict(f"{stream} is too busy: {MAX_RACES} races lost; try again", "too_busy")

    def _unmatched(self, run_id: str, each: _Reported, reason: KeptReason) -> NewEvent:
        callback = each.report.callback
        size = len(msgspec.json.encode(callback.payload))
        small = size <= MAX_UNMATCHED_BYTES
        event = e.CallbackKept(
            for_run_id=run_id,
            callback_type=callback.type,
            payload=callback.payload if small else None,
            payload_bytes=0 if small else size,
            reason=reason,
        )
        return self._new(each.report.event_id, event, each.context)

    def _new(self, event_id: str, event: Event, context: CommandContext) -> NewEvent:
        return NewEvent(event_id=event_id, event=event, occurred_at=self._clock(), metadata=context.metadata())

    def _timed(self, event: Event) -> Event:
        if isinstance(event, e.HumanLoopRequested) and event.timeout_ms is None:
            return msgspec.structs.replace(event, timeout_ms=self._human_loop_timeout_ms)
        return event


def _parts(reports: Sequence[Report]) -> Iterator[Sequence[Report]]:
    """The reports in their order, in parts that are looked through for secrets at a stretch."""
    part, size = list[Report](), 0
    for report in reports:
        part.append(report)
        size += report.size
        if size >= BYTES_LOOKED_THROUGH:
            yield part
            part, size = [], 0
    if part:
        yield part


def _kept_result(report: Report, reason: KeptReason, position: int, *, duplicate: bool) -> CallbackResult:
    callback = report.callback
    action: CallbackAction = "duplicate_ignored" if duplicate else "recorded"
    if not duplicate and reason == "unknown_run":
        if callback.type == "message.stop":
            action = "message_stop_missing_run"
        elif callback.type.startswith("human_loop."):
            action = "human_loop_missing_run"
    return _result(callback, action, position)


def _unmatched_full(stream: str, reason: KeptReason) -> Conflict:
    return Conflict(
        f"{MAX_UNMATCHED:,} callbacks for this run are kept in {stream} already, and no more are: the run "
        f"{'has ended' if reason == 'late' else 'is unknown'}; stop reporting, or bind a run under this id",
        "unmatched_full",
    )


def _over_quota(run: Run | None, event: Event) -> Conflict | None:
    """The refusal of what a run over a quota no longer records: all but its end."""
    if run is None or not run.over_quota or isinstance(event, e.RunAgentFinished):
        return None
    assert run.abort is not None
    return Conflict(f"nothing more is recorded of this run: {run.abort.message}", "quota_exceeded")


def _result(callback: Callback, action: CallbackAction, position: int) -> CallbackResult:
    duplicate = action == "duplicate_ignored"
    return CallbackResult(
        event_id=callback.event_id, processed=not duplicate, duplicate=duplicate, action=action, position=position
    )


def _action(event: Event) -> CallbackAction:
    match event:
        case e.MessageStopped():
            return "message_stop_synced"
        case e.TodoUpdated() | e.TodosReplaced():
            return "todo_upserted"
        case e.HumanLoopRequested():
            return "human_loop_requested"
        case e.HumanLoopResolved():
            return "human_loop_resolved"
        case e.RunAgentFinished():
            return "run_finished"
        case _:
            return "recorded"
