"""What people read of events: one line that no terminal obeys, whatever an event says."""

import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.event import Event, event_types
from domain.run import events as _run_events
from domain.session import events as _session_events
from interfaces.cli.console import short
from interfaces.cli.event_text import ShownEvent, StateAfter, event_text, from_stream
from interfaces.cli.timeline import since
from interfaces.terminal_text import harmless
from tests.support.event_strategies import any_event

STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
TYPES = [each for each in event_types().values() if each.__module__ in {_run_events.__name__, _session_events.__name__}]


def seen(event: Event) -> ShownEvent:
    return ShownEvent(
        position=1,
        stream="run:r",
        seq=1,
        type=event.wire_name,
        occurred_at=datetime(2026, 3, 4, tzinfo=UTC),
        payload=msgspec.json.decode(msgspec.json.encode(event)),
    )


@given(any_event(*TYPES))
def test_every_event_is_said_on_one_harmless_line(event: Event) -> None:
    line = event_text(seen(event))

    assert STEERING.search(line) is None
    assert len(line) <= 100


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3))
def test_an_event_of_another_version_is_shown_as_it_is(payload: dict[str, object]) -> None:
    event = msgspec.structs.replace(seen(_run_events.RunCancelRequested(reason="")), payload=payload)
    for type_ in ("tool.end", "todo.update", "run.queued", "run.finished", "of.another.version"):
        assert STEERING.search(event_text(msgspec.structs.replace(event, type=type_))) is None
    assert StateAfter("run", "r").after(msgspec.structs.replace(event, type="of.another.version")) is None


@given(st.text(st.characters(), max_size=50))
def test_text_keeps_its_letters_and_loses_its_power(text: str) -> None:
    assert STEERING.search(harmless(text).replace("\n", "").replace("\t", "")) is None
    assert STEERING.search(short(text)) is None
    assert harmless("plain ü 写 🙂\n") == "plain ü 写 🙂\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "+0.000 s"), (59.9994, "+59.999 s"), (123, "+2 m 03 s"), (94_200, "+26 h 10 m")]
)
def test_time_gone_by_is_told_as_people_do(seconds: float, text: str) -> None:
    assert since(seconds) == text


def test_a_warning_of_a_stream_is_said_as_one_of_the_log() -> None:
    envelope = {"type": "run.warning", "runId": "r", "seq": 2, "position": 9, "ts": "2026-03-04T05:06:07Z"}
    event = from_stream({**envelope, "warning": "too long", "code": "cut"})
    assert event.payload == {"warning": {"code": "cut", "message": "too long"}}
    assert event_text(event) == "too long"
