"""The `eventsourcing` library's own test cases for recorders, run on ours."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent

# The library's test module imports its cipher, and with it pycryptodome, which no test here needs.
sys.modules.setdefault("eventsourcing.cipher", ModuleType("eventsourcing.cipher")).AESCipher = object  # type: ignore[attr-defined]

from eventsourcing.tests.persistence import (  # noqa: E402
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)

from infrastructure.eventstore.factory import FleetlogFactory  # noqa: E402


class OnTheLog:
    factory: FleetlogFactory

    @pytest.fixture(autouse=True)
    def _factory(self, database: str) -> Iterator[None]:
        self.factory = FleetlogFactory({"DATABASE_URL": database, "CREATE_TABLE": "no", "ORIGINATOR_ID_TYPE": "text"})
        yield
        self.factory.close()

    def new_originator_id(self) -> str:
        return str(super().new_originator_id())  # type: ignore[misc]  # the library's own test case has it


class TestSnapshotRecorder(OnTheLog, AggregateRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.aggregate_recorder(purpose="snapshots")


class TestApplicationRecorder(OnTheLog, ApplicationRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.application_recorder()

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnTheLog, TrackingRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.tracking_recorder()


class TestProcessRecorder(OnTheLog, ProcessRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.process_recorder()


class TestNonInterleaving(OnTheLog, NonInterleavingNotificationIDsBaseCase):
    insert_num = 1000

    def create_recorder(self) -> Any:
        return self.factory.application_recorder()


class TestSeveralStreams(OnTheLog):
    def new_originator_id(self) -> str:
        raise NotImplementedError

    def test_are_recorded_together_or_not_at_all(self) -> None:
        recorder = self.factory.application_recorder()
        assert recorder.insert_events([stored("a", 1), stored("b", 1), stored("a", 2)]) == [1, 3, 2]
        with pytest.raises(IntegrityError):
            recorder.insert_events([stored("c", 1), stored("b", 1)])
        assert recorder.select_events("c") == []
        assert recorder.max_notification_id() == 3


def stored(stream: str, version: int) -> StoredEvent:
    return StoredEvent(stream, version, "topic", b"state")
