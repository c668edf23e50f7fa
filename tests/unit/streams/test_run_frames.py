"""The frames of a run's stream: stored events, derived ones, and events of other versions."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest

import tests.support.aged_events  # noqa: F401
from domain.event import Event, encode
from domain.run.events import MessageDelta, RunBlocked, RunBound, RunFinished, RunQueued, RunStarted
from domain.run.values import RunError
from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.streams.run_frames import RunFrames, RunIdentity, identity_of
from tests.support.recorded import OCCURRED_AT
from tests.support.streaming import SPEC

FRAMES = RunFrames(RunIdentity(run_id="r:1", session_id="s@1", provider="scripted"))


def stored(wire_name: str, payload: bytes, *, version: int = 1, seq: int = 7, at: datetime = OCCURRED_AT) -> StoredRow:
    return StoredRow(19, "run:r:1", seq, wire_name, "e", at, at, version, b"{}", payload)


def stored_event(event: Event, **changes: object) -> StoredRow:
    return stored(event.wire_name, encode(event), **changes)  # type: ignore[arg-type]


def test_a_stored_event_is_its_payload_behind_the_envelope() -> None:
    assert FRAMES.stored(stored_event(MessageDelta(text='hi "ü"\n', lease_generation=3))) == (
        b"id: 7\n"
        b"event: message.delta\n"
        b'data: {"type":"message.delta","runId":"r:1","sessionId":"s@1","provider":"scripted","seq":7,"position":19,'
        b'"ts":"2026-03-04T05:06:07.891011Z","leaseGeneration":3,"text":"hi \\"\xc3\xbc\\"\\n"}\n'
        b"\n"
    )


@pytest.mark.parametrize("payload", [b"{}", b""])
def test_an_empty_or_erased_payload_leaves_the_envelope_alone(payload: bytes) -> None:
    assert FRAMES.stored(stored("run.cancel_requested", payload)).endswith(b'"ts":"2026-03-04T05:06:07.891011Z"}\n\n')


def test_whole_seconds_and_other_time_zones_are_written_in_the_same_way() -> None:
    at = datetime(2026, 3, 4, 6, 6, 7, tzinfo=timezone(timedelta(hours=1)))
    assert b'"ts":"2026-03-04T05:06:07Z"' in FRAMES.stored(stored_event(MessageDelta(text="x"), at=at))


@pytest.mark.parametrize(
    ("event", "status", "detail"),
    [
        (RunStarted(attempt=1, generation=1, boot_id="b"), "started", None),
        (RunBlocked(spec=SPEC, capability="humanLoop", reason="can't ask"), "blocked", "can't ask"),
        (RunFinished(outcome="succeeded", exported=True), "finished", "succeeded"),
        (RunFinished(outcome="canceled", exported=False), "finished", "canceled"),
        (RunFinished(outcome="failed", exported=False), "failed", "failed"),
        (
            RunFinished(
                outcome="failed", exported=False, error=RunError(error_class="script_failed", message="exit 3")
            ),
            "failed",
            "exit 3",
        ),
    ],
)
def test_a_status_follows_what_changes_it(event: Event, status: str, detail: str | None) -> None:
    frame, status_frame, rest = FRAMES.stored(stored_event(event)).split(b"\n\n")
    assert frame.startswith(b"id: 7\n")
    assert rest == b""
    first, data = status_frame.split(b"\ndata: ")
    assert first == b"event: run.status"  # no id: a browser keeps the last one
    expected = {"type": "run.status", "runId": "r:1", "provider": "scripted", "status": status}
    expected["ts"] = "2026-03-04T05:06:07.891011Z"
    assert msgspec.json.decode(data) == (expected if detail is None else {**expected, "detail": detail})


def test_derived_frames() -> None:
    assert FRAMES.caught_up == b'event: caught-up\ndata: {"type":"caught-up","runId":"r:1"}\n\n'
    assert FRAMES.closed == b'event: run.closed\ndata: {"type":"run.closed","runId":"r:1"}\n\n'


def test_a_payload_of_an_older_version_is_upcast() -> None:
    frame = FRAMES.stored(stored("test.reworded", b'{"words":["two","words"]}', version=1))
    assert frame.endswith(b',"text":"two words"}\n\n')


def test_a_payload_of_a_newer_version_or_type_goes_out_as_stored() -> None:
    assert FRAMES.stored(stored("message.delta", b'{"novel":1}', version=9)).endswith(b',"novel":1}\n\n')
    assert FRAMES.stored(stored("run.invented", b'{"novel":1}')).endswith(b',"novel":1}\n\n')
    assert FRAMES.stored(stored("run.finished", b'{"novel":1}', version=9)).count(b"\n\n") == 1


def test_the_first_event_says_whose_run_it_is() -> None:
    known = RunIdentity(run_id="r", session_id="s1", provider="scripted")
    assert identity_of("r", RunQueued(spec=SPEC)) == known
    blocked = RunBlocked(spec=SPEC, capability="humanLoop", reason="x")
    assert identity_of("r", blocked) == msgspec.structs.replace(known, blocked=True)
    assert identity_of("r", RunBound(bound_session_id="s1")) == msgspec.structs.replace(known, provider="")
