"""The SSE frames of a run: stored payload bytes in an envelope, and frames that are derived for clients only.

A frame of a stored event:

    id: 7
    event: message.delta
    data: {"type":"message.delta","runId":"r","sessionId":"s","provider":"p","seq":7,"position":9,"ts":"…","text":"hi"}

`ts` is the time of occurrence in UTC. sql/queries/read_run_frames.sql and read_plain_run_frames.sql build the same
bytes in the database. A payload is decoded only if it has an older schema version, a derived frame follows it, or its
type is shown in another form than it is stored in.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from types import MappingProxyType

import msgspec

from domain.event import Event, NewerSchemaVersion, decode, event_types
from domain.record import time_text
from domain.run.events import MessageDelta, RunBlocked, RunBound, RunFinished, RunQueued, RunStarted
from infrastructure.postgres.event_store.event_json import current_payload, type_and_version, versions_to_upcast
from infrastructure.postgres.event_store.reading import StoredRow

FINISHED = RunFinished.wire_name
FOLLOWED_BY_STATUS = (RunStarted.wire_name, RunBlocked.wire_name, RunFinished.wire_name)
_DELTA = MessageDelta.wire_name
HEARTBEAT = b": still here\n\n"
PayloadForms = Mapping[str, Callable[[bytes], bytes]]
"""By wire name: the payloads of which types are shown otherwise than stored, and how. An erased one stays erased."""


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's first event says. `provider` is empty for an external run. A blocked run gets no further events but
    those of its cancelation."""

    run_id: str
    session_id: str
    provider: str
    blocked: bool = False


class RunFrames:
    """Encodes the frames of one run."""

    def __init__(self, identity: RunIdentity, forms: PayloadForms = MappingProxyType({})) -> None:
        self._forms = forms
        self.reformed = frozenset(forms)
        """The types that `forms` has."""
        self.envelope = (
            f'","runId":{_json(identity.run_id)},"sessionId":{_json(identity.session_id)}'
            f',"provider":{_json(identity.provider)},"seq":'
        )
        """The part of a stored event's envelope between its type and its seq."""
        self.delta_head = f'\nevent: {_DELTA}\ndata: {{"type":"{_DELTA}{self.envelope}'
        """The part between the two seqs in a frame of the most frequent type."""
        self._envelope = self.envelope.encode()
        self._status = f',"runId":{_json(identity.run_id)},"provider":{_json(identity.provider)},"status":'
        self.caught_up = _derived("caught-up", f',"runId":{_json(identity.run_id)}')
        self.closed = _derived("run.closed", f',"runId":{_json(identity.run_id)}')

    def stored(self, row: StoredRow) -> bytes:
        """The frame of a stored event, followed by the derived run.status frame, if the event has one."""
        wire_name = row.type.encode()
        frame = b'id: %d\nevent: %b\ndata: {"type":"%b%b%d,"position":%d,"ts":"%b"%b\n\n' % (
            row.seq,
            wire_name,
            wire_name,
            self._envelope,
            row.seq,
            row.position,
            time_text(row.occurred_at).encode(),
            rest_of_object(self._shown(row)),
        )
        if row.type in FOLLOWED_BY_STATUS:
            frame += self.status(row.type, row.schema_version, row.payload, row.occurred_at)
        return frame

    def _shown(self, row: StoredRow) -> bytes:
        payload, form = current_payload(row), self._forms.get(row.type)
        return form(payload) if form is not None and len(payload) > 2 else payload

    def status(self, wire_name: str, schema_version: int, payload: bytes, occurred_at: datetime) -> bytes:
        """The run.status frame after an event of FOLLOWED_BY_STATUS; empty if this code can't decode the event."""
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
    """What follows an envelope's last member: the payload's members, if it has any, and the closing brace."""
    return b"," + payload[1:] if len(payload) > 2 else b"}"


@cache
def versions_to_decode(reformed: frozenset[str]) -> tuple[str, ...]:
    """The (type, version) pairs of events that only Python makes frames of, as `type_and_version` writes them."""
    known = event_types()
    shown_otherwise = {
        type_and_version(name, version) for name in reformed for version in range(1, known[name].schema_version + 1)
    }
    return tuple(sorted(versions_to_upcast() | shown_otherwise))


@cache
def plain_types(reformed: frozenset[str]) -> str:
    """The types whose current schema version is 1, that are shown as they are stored, and whose events have no
    run.status frame after them, as the text of a Postgres array, frequent types first."""
    frequent = ("message.delta", "reasoning.delta", "tool.start", "tool.end")
    not_plain = {*FOLLOWED_BY_STATUS, *reformed}
    plain = [name for name, event in event_types().items() if event.schema_version == 1 and name not in not_plain]
    rest = [name for name in plain if name not in frequent]
    return "{%s}" % ",".join([name for name in frequent if name in plain] + rest)  # noqa: UP031  # braces


def _derived(wire_name: str, members: str) -> bytes:
    return f'event: {wire_name}\ndata: {{"type":"{wire_name}"{members}}}\n\n'.encode()


def _json(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
