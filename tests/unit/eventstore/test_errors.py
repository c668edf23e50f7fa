"""The event store's errors are the `eventsourcing` library's, and those of its port."""

import pytest
from eventsourcing.persistence import DataError, IntegrityError, InterfaceError, OperationalError, PersistenceError

from application.ports.event_store import ExpectedSeqConflict
from infrastructure.postgres.event_store.append_request import append_request
from infrastructure.postgres.event_store.batch import BatchResult, RefusedRequest, append_outcomes
from infrastructure.postgres.event_store.errors import (
    AppendRefused,
    EventStoreClosed,
    EventStoreUnavailable,
    StreamConflict,
    TrackingConflict,
)
from tests.unit.eventstore.test_batch import encoded


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (EventStoreClosed, InterfaceError),
        (EventStoreUnavailable, OperationalError),
        (AppendRefused, DataError),
        (StreamConflict, IntegrityError),
        (TrackingConflict, IntegrityError),
    ],
)
def test_each_is_what_the_library_calls_it(ours: type[Exception], theirs: type[PersistenceError]) -> None:
    assert issubclass(ours, theirs)


def test_a_conflict_is_the_ports_and_the_librarys() -> None:
    request = append_request("run:r", 3, [encoded(b"e")])
    (conflict,) = append_outcomes([request], BatchResult(9, {1: RefusedRequest(request=1, actual=4)}), in_doubt=False)
    assert isinstance(conflict, ExpectedSeqConflict)
    assert isinstance(conflict, IntegrityError)
    assert (str(conflict), conflict.actual) == ("run:r is at seq 4, expected 3", 4)
