"""The SSE frames of a run (SPEC §4): stored bytes with an envelope around them, and what is derived for clients.

A frame of a stored event:

    id: 7
    event: message.delta
    data: {"type":"message.delta","runId":"r","sessionId":"s","provider":"p","seq":7,"position":9,"ts":"…","text":"hi"}

`ts` is the time of occurrence in UTC. sql/queries/read_run_frames.sql and read_plain_run_frames.sql build the same
bytes in the database. A payload is decoded only when an older schema version wrote it, or a derived frame follows.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache

import msgspec

from domain.event import Event, NewerSchemaVersion, UnknownEventType, decode, encode, event_types
from domain.record import time_text
from domain.run.events import MessageDelta, RunBlocked, RunBound, RunFinished, RunQueued, RunStarted
from infrastructure.eventstore.reading import StoredRow

FINISHED = RunFinished.wire_name
FOLLOWED_BY_STATUS = (RunStarted.wire_name, RunBlocked.wire_name, RunFinished.wire_name)
_DELTA = MessageDelta.wire_name
HEARTBEAT = b": still here\n\n"


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's first event says. `provider` is empty for an outside run. A blocked run gets no further events but
    those of its cancelation."""

    run_id: str
    session_id: str
    provider: str
    blocked: bool = False


class RunFrames:
    """Encodes the frames of one run."""

    def __init__(self, identity: RunIdentity) -> None:
        self.envelope = (
            f'","runId":{_json(identity.run_id)},"sessionId":{_json(identity.session_id)}'
            f',"provider":{_json(identity.provider)},"seq":'
        )
        """The middle of every stored event's envelope, from after the type to before the seq."""
        self.delta_head = f'\nevent: {_DELTA}\ndata: {{"type":"{_DELTA}{self.envelope}'
        """What stands between the two seqs in the frame of the most frequent type."""
        self._envelope = self.envelope.encode()
        self._status = f',"runId":{_json(identity.run_id)},"provider":{_json(identity.provider)},"status":'
        self.caught_up = _derived("caught-up", f',"runId":{_json(identity.run_id)}')
        self.closed = _derived("run.closed", f',"runId":{_json(identity.run_id)}')

    def stored(self, row: StoredRow) -> bytes:
        """The frame of a stored event, and behind it the run.status that clients see because of it, if any."""
        wire_name = row.type.encode()
        frame = b'id: %d\nevent: %b\ndata: {"type":"%b%b%d,"position":%d,"ts":"%b"%b\n\n' % (
            row.seq,
            wire_name,
            wire_name,
            self._envelope,
            row.seq,
            row.position,
            time_text(row.occurred_at).encode(),
            rest_of_object(current_payload(row)),
        )
        if row.type in FOLLOWED_BY_STATUS:
            frame += self.status(row.type, row.schema_version, row.payload, row.occurred_at)
        return frame

    def status(self, wire_name: str, schema_version: int, payload: bytes, occurred_at: datetime) -> bytes:
        """The run.status frame after an event of FOLLOWED_BY_STATUS."""
        try:
            event = decode(wire_name, schema_version, payload)
        except (NewerSchemaVersion, msgspec.ValidationError):
            return b""
        match event:
            case RunStarted():
                status, detail = "started", ""
            case RunBlocked(reason=reason):
                status, detail = "blocked", reason
            case RunFinished(outcome="failed", error=error):
                status, detail = "failed", error.message if error is not None else "failed"
            case RunFinished(outcome=outcome):
                status, detail = "finished", outcome
            case _:
                return b""
        detailed = f',"detail":{_json(detail)}' if detail else ""
        return _derived("run.status", f'{self._status}{_json(status)},"ts":"{time_text(occurred_at)}"{detailed}')


def identity_of(run_id: str, first: Event) -> RunIdentity:
    """The identity of a run by the first event of its stream."""
    match first:
        case RunQueued(spec=spec):
            return RunIdentity(run_id=run_id, session_id=spec.session_id, provider=spec.provider)
        case RunBlocked(spec=spec):
            return RunIdentity(run_id=run_id, session_id=spec.session_id, provider=spec.provider, blocked=True)
        case RunBound(bound_session_id=session_id):
            return RunIdentity(run_id=run_id, session_id=session_id, provider="")
        case _:
            return RunIdentity(run_id=run_id, session_id="", provider="")


def rest_of_object(payload: bytes) -> bytes:
    """What goes behind an envelope's last member: the payload's members, if it has any, and the closing brace."""
    return b"," + payload[1:] if len(payload) > 2 else b"}"


def current_payload(row: StoredRow) -> bytes:
    """The payload as stored, or upcast when an older version of this code wrote it."""
    aged = aged_versions()
    if not aged or aged_version(row.type, row.schema_version) not in aged:
        return row.payload
    try:
        return encode(decode(row.type, row.schema_version, row.payload))
    except (UnknownEventType, msgspec.MsgspecError):
        return row.payload


@cache
def aged_versions() -> frozenset[str]:
    """The (type, version) pairs that must be upcast, each as `aged_version` writes it."""
    types: Mapping[str, type[Event]] = event_types()
    return frozenset(
        aged_version(name, version) for name, event in types.items() for version in range(1, event.schema_version)
    )


@cache
def plain_types() -> str:
    """The types whose events of schema version 1 need neither an upcast nor a status, the frequent ones first, as a
    Postgres array."""
    frequent = ("message.delta", "reasoning.delta", "tool.start", "tool.end")
    current = [name for name, event in event_types().items() if event.schema_version == 1]
    rest = [name for name in current if name not in FOLLOWED_BY_STATUS and name not in frequent]
    return "{%s}" % ",".join([name for name in frequent if name in current] + rest)  # noqa: UP031  # braces


def aged_version(wire_name: str, version: int) -> str:
    return f"{wire_name} {version}"


def _derived(wire_name: str, members: str) -> bytes:
    return f'event: {wire_name}\ndata: {{"type":"{wire_name}"{members}}}\n\n'.encode()


def _json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
