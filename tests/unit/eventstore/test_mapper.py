"""Between the log's rows and the `eventsourcing` library's events."""

from typing import Any

import pytest
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import DatetimeAsISO, JSONTranscoder, MapperDeserialisationError, StoredEvent, UUIDAsHex

from domain.event import Event, NewerSchemaVersion, UnknownEventType, upcast, wire
from domain.record import RecordedEvent
from infrastructure.eventsourcing_library.mapper import FleetlogMapper, LoggedEvent, SequencedEvent, UnloggedEvent
from infrastructure.postgres.event_store.reading import StoredRow
from tests.support.log_events import Noted, new_event
from tests.support.recorded import OCCURRED_AT


@wire("test.renamed", version=3)
class Renamed(Event, frozen=True, kw_only=True):
    full_name: str


@upcast("test.renamed", 1)
def _(fields: dict[str, Any]) -> dict[str, Any]:
    return {"nameInFull": fields["name"]}


@upcast("test.renamed", 2)
def _(fields: dict[str, Any]) -> dict[str, Any]:
    return {"fullName": fields["nameInFull"]}


def mapper() -> FleetlogMapper:
    transcoder = JSONTranscoder()
    transcoder.register(UUIDAsHex())
    transcoder.register(DatetimeAsISO())
    return FleetlogMapper(transcoder)


def logged(topic: str, schema_version: int, payload: bytes) -> LoggedEvent:
    row = StoredRow(
        7,
        "run:1",
        3,
        topic,
        "e-1",
        OCCURRED_AT,
        OCCURRED_AT,
        schema_version,
        b'{"actor":"a","correlationId":"c"}',
        payload,
    )
    return LoggedEvent("run:1", 3, topic, payload, row=row)


def test_a_new_event_goes_in_by_its_wire_name_with_all_its_columns() -> None:
    new = new_event("hello", event_id="e-1")
    stored = mapper().to_stored_event(SequencedEvent(stream="run:1", seq=3, new=new))
    assert (stored.originator_id, stored.originator_version, stored.topic) == ("run:1", 3, "test.noted")
    assert stored.state == b'{"text":"hello"}'
    assert isinstance(stored, UnloggedEvent)
    assert stored.event_id == "e-1"
    assert stored.metadata == b'{"actor":"tester","correlationId":"correlation-1"}'


def test_a_logged_event_comes_out_as_recorded_and_goes_in_again_unchanged() -> None:
    recorded = mapper().to_domain_event(logged("test.noted", 1, b'{"text":"hello"}'))
    assert isinstance(recorded, RecordedEvent)
    assert (recorded.position, recorded.seq, recorded.event) == (7, 3, Noted(text="hello"))
    again = mapper().to_stored_event(recorded)
    assert again == logged("test.noted", 1, b'{"text":"hello"}')


def test_older_schema_versions_are_upcast_step_by_step() -> None:
    assert mapper().to_domain_event(logged("test.renamed", 1, b'{"name":"Ada"}')).event == Renamed(full_name="Ada")
    assert mapper().to_domain_event(logged("test.renamed", 2, b'{"nameInFull":"Ada"}')).event == Renamed(
        full_name="Ada"
    )
    assert mapper().to_domain_event(logged("test.renamed", 3, b'{"fullName":"Ada"}')).event == Renamed(full_name="Ada")


def test_what_this_code_does_not_know_is_named() -> None:
    with pytest.raises(NewerSchemaVersion, match=r"test\.renamed has schema version 4, this code knows 3"):
        mapper().to_domain_event(logged("test.renamed", 4, b"{}"))
    with pytest.raises(UnknownEventType, match=r"test\.unheard_of"):
        mapper().to_domain_event(logged("test.unheard_of", 1, b"{}"))


def test_a_wire_event_without_its_row_is_refused() -> None:
    with pytest.raises(MapperDeserialisationError, match="was not read from the log"):
        mapper().to_domain_event(StoredEvent("run:1", 1, "test.noted", b"{}"))


def test_the_librarys_own_events_keep_their_time() -> None:
    aggregate = Aggregate()
    (created,) = aggregate.collect_events()
    stored = mapper().to_stored_event(created)
    assert isinstance(stored, UnloggedEvent)
    assert ":" in stored.topic
    assert mapper().to_domain_event(StoredEvent(str(aggregate.id), 1, stored.topic, stored.state)) == created
    assert stored.occurred_at == created.timestamp
