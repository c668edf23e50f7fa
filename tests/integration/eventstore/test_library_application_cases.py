"""The `eventsourcing` library's own test cases for applications and projections, run on ours: with UUIDs as originator
ids, the library's default, and with texts. Those for its dynamic consistency boundaries need another kind of
recorder."""

from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import Tracking

from infrastructure.eventsourcing_library.recorder import LogTrackingRecorder
from tests.support.library_cases import OnTheLog, WithTextIds  # before the library's test cases

# Modules, not their classes: pytest would run these by themselves.
import eventsourcing.tests.application as application_cases  # isort: skip
import eventsourcing.tests.projection as projection_cases  # isort: skip


class EventCounters(LogTrackingRecorder, projection_cases.EventCountersView):
    """The library's example of a view, as rows of a table."""

    def get_created_event_counter(self) -> int:
        return self._count("created")

    def get_subsequent_event_counter(self) -> int:
        return self._count("subsequent")

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self._increment("created", tracking)

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self._increment("subsequent", tracking)

    def _count(self, name: str) -> int:
        with self._log.connection() as connection:
            row = connection.execute("SELECT count FROM event_counters WHERE name = %s", [name]).fetchone()
        return 0 if row is None else int(row[0])

    def _increment(self, name: str, tracking: Tracking) -> None:
        with self.transaction(tracking) as connection:
            connection.execute(
                "INSERT INTO event_counters AS c VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET count = c.count + 1",
                [name],
            )


class WithCounters(OnTheLog):
    view_class: type[projection_cases.EventCountersView] = EventCounters

    @pytest.fixture(autouse=True)
    def _counters(self, database: str, _log: None) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CREATE TABLE event_counters (name text PRIMARY KEY, count bigint NOT NULL)")

    def construct_event_counters_view(self) -> Any:
        return self.factory.tracking_recorder(EventCounters)


class TestExampleApplication(OnTheLog, application_cases.ExampleApplicationTestCase):
    expected_factory_topic = "infrastructure.eventsourcing_library.factory:FleetlogFactory"


class TestExampleApplicationWithTextIds(WithTextIds, TestExampleApplication):
    pass


@pytest.mark.filterwarnings("default:'log' is deprecated:DeprecationWarning")  # a case asserts that it warns
class TestApplication(OnTheLog, application_cases.ApplicationTestCase):
    pass


class TestApplicationWithTextIds(WithTextIds, TestApplication):
    pass


class TestEventCountersView(WithCounters, projection_cases.EventCountersViewTestCase):
    pass


class TestProjection(WithCounters, projection_cases.AggregateEventCountersProjectionTestCase):
    pass


class TestProjectionWithTextIds(WithTextIds, TestProjection):
    pass


class TestEventSourcedProjection(OnTheLog, projection_cases.EventSourcedProjectionTestCase):
    pass


class TestEventSourcedProjectionWithTextIds(WithTextIds, TestEventSourcedProjection):
    pass
