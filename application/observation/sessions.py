"""What the events of session workers tell: how long they took to come up, and their syncs."""

from collections import OrderedDict
from datetime import datetime

from application.observation import conventions as c
from application.observation import instruments as i
from application.observation.observed import NOTHING, Observed, measured
from application.observation.span import Span, Value, event_name, in_order, span_id_of, trace_of
from domain.record import RecordedEvent
from domain.session import events as e

SESSION_EVENTS: frozenset[str] = frozenset(
    each.wire_name
    for each in (
        e.ActivationRequested,
        e.SessionActivated,
        e.ActivationFailed,
        e.SyncRequested,
        e.SessionSynced,
        e.SessionSyncFailed,
    )
)
MOST_SYNCS = 1000
"""Requested syncs of a session that are remembered; further ones push out the oldest."""


class _Begun:
    """Something that a recorded event has asked for."""

    def __init__(self, recorded: RecordedEvent, kind: str) -> None:
        self.kind, self.at, self.trace_id = kind, recorded.occurred_at, trace_of(recorded.metadata)
        self.name = event_name(recorded)

    def span(self, name: str, at: datetime, about: dict[str, Value], error: str) -> Span:
        start, end = in_order(self.at, at)
        return Span(
            trace_id=self.trace_id,
            span_id=span_id_of(f"{self.name}/{name}"),
            parent_id=span_id_of(self.name),
            name=name,
            start=start,
            end=end,
            attributes=about,
            error=error,
        )


class SessionObserver:
    """The fold of one session's events, from any event on; what was asked for before is not known."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._activation: _Begun | None = None
        self._syncs: OrderedDict[str, _Begun] = OrderedDict()

    def see(self, recorded: RecordedEvent) -> Observed:
        at = recorded.occurred_at
        match recorded.event:
            case e.ActivationRequested(kind=kind):
                self._activation = _Begun(recorded, kind)
            case e.SessionActivated():
                return self._activated(at, "up", "")
            case e.ActivationFailed(step=step):
                return self._activated(at, "failed", step)
            case e.SyncRequested() as event:
                self._syncs[event.sync_id] = _Begun(recorded, event.reason)
                while len(self._syncs) > MOST_SYNCS:
                    self._syncs.popitem(last=False)
            case e.SessionSynced() as event:
                uploaded: dict[str, Value] = {
                    c.SYNC_UPLOADED_BYTES: event.uploaded_bytes,
                    c.SYNC_UPLOADED_FILES: event.uploaded_files,
                }
                return self._synced(event.sync_id, at, "", uploaded) + _counted(event, recorded)
            case e.SessionSyncFailed() as event if event.final:
                return self._synced(event.sync_id, at, "sync_failed", {})
            case _:
                pass
        return NOTHING

    def _activated(self, at: datetime, outcome: str, failed_at: str) -> Observed:
        begun, self._activation = self._activation, None
        if begun is None:
            return NOTHING
        seconds = max((at - begun.at).total_seconds(), 0.0)
        error = f"{failed_at}_failed" if failed_at else ""
        return Observed(
            spans=(begun.span("session.activate", at, {c.SESSION_ID: self._session_id}, error),),
            measurements=(measured(i.ACTIVATION_SECONDS, begun.kind, outcome, value=seconds, trace_id=begun.trace_id),),
        )

    def _synced(self, sync_id: str, at: datetime, error: str, uploaded: dict[str, Value]) -> Observed:
        begun = self._syncs.pop(sync_id, None)
        if begun is None:
            return NOTHING
        about = {c.SESSION_ID: self._session_id, c.SYNC_REASON: begun.kind, **uploaded}
        seconds, outcome = max((at - begun.at).total_seconds(), 0.0), "failed" if error else "synced"
        return Observed(
            spans=(begun.span("session.sync", at, about, error),),
            measurements=(measured(i.SYNC_SECONDS, begun.kind, outcome, value=seconds, trace_id=begun.trace_id),),
        )


def _counted(event: e.SessionSynced, recorded: RecordedEvent) -> Observed:
    trace_id = trace_of(recorded.metadata)
    counts = {i.SYNC_UPLOADED_BYTES: event.uploaded_bytes, i.SYNC_UPLOADED_FILES: event.uploaded_files}
    return Observed(
        measurements=tuple(
            measured(instrument, event.reason, value=number, trace_id=trace_id)
            for instrument, number in counts.items()
            if number > 0
        )
    )
