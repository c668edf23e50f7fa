"""The `eventsourcing` library's own test cases for factories and recorders, run on ours: with UUIDs as originator
ids, the library's default, and with texts."""

from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent, TrackingRecorder

from infrastructure.eventsourcing_library.factory import FleetlogFactory
from infrastructure.eventsourcing_library.recorder import (
    LogAggregateRecorder,
    LogProcessRecorder,
    LogRecorder,
    LogTrackingRecorder,
)
from tests.support.library_cases import OnTheLog, WithTextIds  # before the library's test cases

from eventsourcing.tests.persistence import (  # isort: skip
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)


class TestFactory(OnTheLog, InfrastructureFactoryTestCase[FleetlogFactory]):
    def expected_factory_class(self) -> type[FleetlogFactory]:
        return FleetlogFactory

    def expected_aggregate_recorder_class(self) -> type[LogAggregateRecorder]:
        return LogAggregateRecorder

    def expected_application_recorder_class(self) -> type[LogRecorder]:
        return LogRecorder

    def expected_tracking_recorder_class(self) -> type[LogTrackingRecorder]:
        return LogTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return TrackingRecorderOfAnother

    def expected_process_recorder_class(self) -> type[LogProcessRecorder]:
        return LogProcessRecorder


class TrackingRecorderOfAnother(LogTrackingRecorder):
    pass


class TestFactoryWithTextIds(WithTextIds, TestFactory):
    pass


class TestAggregateRecorder(OnTheLog, AggregateRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.aggregate_recorder()


class TestAggregateRecorderWithTextIds(WithTextIds, TestAggregateRecorder):
    pass


class TestSnapshotRecorder(OnTheLog, AggregateRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.aggregate_recorder(purpose="snapshots")


class TestSnapshotRecorderWithTextIds(WithTextIds, TestSnapshotRecorder):
    pass


class TestApplicationRecorder(OnTheLog, ApplicationRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.application_recorder()

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestApplicationRecorderWithTextIds(WithTextIds, TestApplicationRecorder):
    pass


class TestTrackingRecorder(OnTheLog, TrackingRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.tracking_recorder()


class TestProcessRecorder(OnTheLog, ProcessRecorderTestCase):
    def create_recorder(self) -> Any:
        return self.factory.process_recorder()


class TestProcessRecorderWithTextIds(WithTextIds, TestProcessRecorder):
    pass


class TestNonInterleaving(OnTheLog, NonInterleavingNotificationIDsBaseCase):
    insert_num = 1000

    def create_recorder(self) -> Any:
        return self.factory.application_recorder()


class TestNonInterleavingWithTextIds(WithTextIds, TestNonInterleaving):
    pass


class TestSeveralStreams(WithTextIds):
    def test_are_recorded_together_or_not_at_all(self) -> None:
        recorder = self.factory.application_recorder()
        assert recorder.insert_events([stored("a", 1), stored("b", 1), stored("a", 2)]) == [1, 3, 2]
        with pytest.raises(IntegrityError):
            recorder.insert_events([stored("c", 1), stored("b", 1)])
        assert recorder.select_events("c") == []
        assert recorder.max_notification_id() == 3


def stored(stream: str, version: int) -> StoredEvent:
    return StoredEvent(stream, version, "topic", b"state")
