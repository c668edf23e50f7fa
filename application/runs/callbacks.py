"""Callbacks: what an agent or an external runner reports about a run. Each is recorded, once for its event id."""

from typing import Any, Literal

import msgspec

from application.aggregates.aggregates import MAX_RACES, Clock
from application.command_context import CommandContext
from application.ports.event_store import EventStore, ExpectedSeqConflict
from application.runs.commands import Runs
from application.runs.session_quotas import SessionQuotas
from domain.errors import Conflict, InvalidInput
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
MAX_UNMATCHED = 1_000
MAX_UNMATCHED_BYTES = 16 * 1024
"""How many callbacks that belong to no live run are kept for one run id, and how large a payload is kept of each."""
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


class RecordCallbacks:
    """Records callbacks as events of their run. One for an unknown run, or that comes after the run's end, is recorded
    in the stream `unmatched:{runId}`."""

    def __init__(
        self,
        *,
        runs: Runs,
        store: EventStore,
        clock: Clock,
        human_loop_timeout_ms: int,
        session_quotas: SessionQuotas,
    ) -> None:
        self._runs, self._store, self._clock = runs, store, clock
        self._human_loop_timeout_ms, self._session_quotas = human_loop_timeout_ms, session_quotas

    async def handle(self, run_id: str, callback: Callback, context: CommandContext) -> CallbackResult:
        """Raises Conflict `quota_exceeded` for a run over a quota, `unmatched_full`, `too_busy`."""
        event = callback_event(callback)
        if isinstance(event, e.HumanLoopRequested) and event.timeout_ms is None:
            event = msgspec.structs.replace(event, timeout_ms=self._human_loop_timeout_ms)
        event_id = f"cb/{callback.event_id}"
        loaded = await self._runs.load(run_id)
        if loaded.state is None:
            return await self._keep(run_id, callback, context, reason="unknown_run")
        _check_quota(loaded.state, event)
        if await self._store.find_event(run_stream(run_id), event_id) is not None:
            return _result(callback, "duplicate_ignored", loaded.position)
        if isinstance(loaded.state.stage, OVER):
            return await self._keep(run_id, callback, context, reason="late")
        handled = await self._runs.handle_batch(run_id, [(RecordCallback(event=event), event_id)], context)
        if not handled.events:
            if isinstance(handled.state.stage, OVER):
                return await self._keep(run_id, callback, context, reason="late")
            return _result(callback, "duplicate_ignored", handled.position)
        _check_quota(handled.state, event)
        quota = msgspec.structs.replace(context, command_id=f"{context.command_id}/quota/{callback.event_id}")
        await self._session_quotas.count(run_id, handled.state, handled.events, quota)
        return _result(callback, _action(event), handled.position)

    async def _keep(
        self, run_id: str, callback: Callback, context: CommandContext, reason: Literal["unknown_run", "late"]
    ) -> CallbackResult:
        stream, event_id = unmatched_stream(run_id), f"cb/{callback.event_id}"
        for _ in range(MAX_RACES):
            last = await self._store.last_seq(stream)
            full = last >= MAX_UNMATCHED
            if full and (known := await self._store.find_event(stream, event_id)) is not None:
                return _result(callback, "duplicate_ignored", known.position)
            event = e.UnmatchedFull(for_run_id=run_id, limit=MAX_UNMATCHED) if full else _kept(run_id, callback, reason)
            new = NewEvent(
                event_id="full" if full else event_id,
                event=event,
                occurred_at=self._clock(),
                metadata=context.metadata(),
            )
            try:
                result = await self._store.append(stream, last, [new])
                break
            except ExpectedSeqConflict:
                continue
        else:
            raise Conflict(f"{stream} is too busy: {MAX_RACES} races lost; try again", "too_busy")
        if full:
            raise Conflict(
                f"{MAX_UNMATCHED:,} callbacks for this run are kept in {stream} already, and no more are: the run "
                f"{'has ended' if reason == 'late' else 'is unknown'}; stop reporting, or bind a run under this id",
                "unmatched_full",
            )
        if result.duplicate:
            return _result(callback, "duplicate_ignored", result.position)
        action: CallbackAction = "recorded"
        if reason == "unknown_run" and callback.type == "message.stop":
            action = "message_stop_missing_run"
        elif reason == "unknown_run" and callback.type.startswith("human_loop."):
            action = "human_loop_missing_run"
        return _result(callback, action, result.position)


def _check_quota(run: Run, event: Event) -> None:
    """Raises Conflict for what a run over a quota no longer records."""
    if run.over_quota and not isinstance(event, e.RunAgentFinished):
        assert run.abort is not None
        raise Conflict(f"nothing more is recorded of this run: {run.abort.message}", "quota_exceeded")


def _kept(run_id: str, callback: Callback, reason: Literal["unknown_run", "late"]) -> Event:
    size = len(msgspec.json.encode(callback.payload))
    small = size <= MAX_UNMATCHED_BYTES
    return e.CallbackKept(
        for_run_id=run_id,
        callback_type=callback.type,
        payload=callback.payload if small else None,
        payload_bytes=0 if small else size,
        reason=reason,
    )


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
