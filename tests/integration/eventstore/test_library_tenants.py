"""Each application of the `eventsourcing` library has a tenant of its own in the log, beside the product's."""

import json
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from eventsourcing.application import AggregateNotFoundError, Application, ProcessingEvent
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import DataError, Tracking
from eventsourcing.projection import (
    EventSourcedProjection,
    EventSourcedProjectionRunner,
    Projection,
    ProjectionRunner,
)
from eventsourcing.utils import Environment

from application.ports.event_streams import EventFilter
from domain.record import RecordedEvent
from domain.run.events import RunQueued
from infrastructure.eventsourcing_library.factory import FleetlogFactory
from infrastructure.eventsourcing_library.mapper import SequencedEvent
from infrastructure.eventsourcing_library.recorder import LogTrackingRecorder
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from projections.ports import EVENT_INDEX, WORK
from tests.integration.audit.conftest import audit_of
from tests.integration.search.test_search import all_positions, indexing
from tests.support.async_run import run
from tests.support.log_events import Noted, new_event, new_events
from tests.support.mixed_history import append_all, mixed_history
from tests.support.process_managers import SPEC, new, rows, running
from tests.support.projecting import NAMES, projection_harness
from tests.support.streaming import streaming

PRODUCT_EVENTS = 7


class Fleetlog(Application[str]):
    """The product, as the library sees it."""

    name = "fleetlog"


class Tally(Aggregate):
    """How often each note was seen, by its event's id."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    @staticmethod
    def create_id() -> UUID:
        return uuid5(NAMESPACE_URL, "/tally")

    @event("Counted")
    def count(self, event_id: str) -> None:
        self.seen[event_id] = self.seen.get(event_id, 0) + 1


class Tallying(EventSourcedProjection[Any]):
    """Counts the product's notes in an aggregate of its own."""

    @singledispatchmethod
    def policy(self, domain_event: Any, processing_event: ProcessingEvent[Any]) -> None:
        assert isinstance(domain_event, RecordedEvent), "it reads an event that the product did not write"
        assert isinstance(domain_event.event, Noted)
        tally = self.tally() or Tally()
        tally.count(domain_event.event_id)
        processing_event.collect_events(tally)

    def tally(self) -> Tally | None:
        try:
            return self.repository.get(Tally.create_id())
        except AggregateNotFoundError:
            return None


class Tracked(Projection[LogTrackingRecorder]):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)


class TrackedElsewhere(Tracked):
    pass


def environment(dsn: str, **settings: str) -> dict[str, str]:
    return {"PERSISTENCE_MODULE": "infrastructure.eventsourcing_library.factory", "DATABASE_URL": dsn, **settings}


def tenant(name: str, **settings: str) -> str:
    with FleetlogFactory(Environment(name, environment("host=nowhere", **settings))) as factory:
        return factory.log.tenant


def append_notes(dsn: str, first: int, last: int) -> int:
    """The position of the last of the product's notes, which have these numbers."""

    async def append() -> int:
        async with GroupCommitEventStore(dsn) as store:
            notes = [new_event(f"note {number}", event_id=f"n{number}") for number in range(first, last + 1)]
            return (await store.append("notebook:1", first - 1, notes)).position

    return run(append())


def test_an_applications_tenant_has_its_name_and_the_product_its_own() -> None:
    assert tenant("Counters") == "Counters"
    assert tenant("fleetlog") == tenant("Fleetlog") == tenant("") == "default"


def test_the_products_tenant_is_a_setting_which_other_applications_leave_alone() -> None:
    assert tenant("fleetlog", FLEETLOG_TENANT="acme") == "acme"
    assert tenant("Counters", FLEETLOG_TENANT="acme") == "Counters"


def test_a_setting_with_the_applications_name_wins() -> None:
    assert tenant("Counters", COUNTERS_FLEETLOG_TENANT="tallies") == "tallies"
    assert tenant("Counters", COUNTERS_FLEETLOG_TENANT="default") == "default"


@pytest.mark.parametrize("name", ["two words", "a/b", "_private", "x" * 121, "Größe"])
def test_a_name_that_is_no_tenant_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(OSError, match=r"must start with a letter.*Set \S.*_FLEETLOG_TENANT"):
        tenant(name)
    assert tenant(name, **{f"{name.upper()}_FLEETLOG_TENANT": "fine"}) == "fine"


def test_an_application_that_is_called_like_the_products_tenant_is_refused() -> None:
    with pytest.raises(OSError, match="the name of the product's tenant"):
        tenant("default")
    with pytest.raises(OSError, match="the name of the product's tenant"):
        tenant("acme", FLEETLOG_TENANT="acme")


def test_originator_ids_are_uuids_or_texts_and_the_products_are_texts(database: str) -> None:
    append_notes(database, 1, 1)
    with Application[Any](env=environment(database)) as application:
        application.save(aggregate := Aggregate())
        (notification,) = application.recorder.select_notifications(1, 10)
        assert notification.originator_id == aggregate.id
    with Application[Any](env=environment(database, ORIGINATOR_ID_TYPE="text")) as application:
        (notification,) = application.recorder.select_notifications(1, 10)
        assert notification.originator_id == str(aggregate.id)
    with Fleetlog(env=environment(database, ORIGINATOR_ID_TYPE="uuid")) as product:
        (notification,) = product.recorder.select_notifications(1, 10)
        assert notification.originator_id == "notebook:1"
    with pytest.raises(OSError, match="must be 'uuid' or 'text'"):
        FleetlogFactory(Environment("A", environment(database, ORIGINATOR_ID_TYPE="number")))


def test_reading_text_ids_as_uuids_is_a_data_error_that_says_what_to_set(database: str) -> None:
    append_notes(database, 1, 1)
    settings = environment(database, APPLICATION_FLEETLOG_TENANT="default")
    with (
        Application[Any](env=settings) as application,
        pytest.raises(DataError, match="'notebook:1' of tenant 'default' is no UUID: ORIGINATOR_ID_TYPE"),
    ):
        application.recorder.select_notifications(1, 10)


def test_an_application_reads_its_own_notifications_alone_and_knows_its_last(database: str) -> None:
    with Application[Any](env=environment(database)) as application, Fleetlog(env=environment(database)) as product:
        assert (application.recorder.max_notification_id(), product.recorder.max_notification_id()) == (None, None)
        append_notes(database, 1, 3)
        (mine,) = application.save(Aggregate())
        append_notes(database, 4, 6)
        assert mine.notification.id == 4
        assert [n.id for n in application.recorder.select_notifications(1, 10)] == [4]
        assert [n.id for n in product.recorder.select_notifications(1, 10)] == [1, 2, 3, 5, 6, 7]
        assert (application.recorder.max_notification_id(), product.recorder.max_notification_id()) == (4, 7)


@pytest.mark.parametrize("settings", [{}, {"FLEETLOG_TENANT": "default"}])
def test_an_event_sourced_projection_over_the_product_ends_and_counts_each_event_once(
    database: str, settings: dict[str, str]
) -> None:
    def projected(up_to: int) -> dict[str, int]:
        with EventSourcedProjectionRunner(
            application_class=Fleetlog, projection_class=Tallying, env=environment(database, **settings)
        ) as runner:
            runner.wait(up_to, timeout=60)
            assert runner.app.recorder.max_notification_id() == up_to
            tally = runner.projection.tally()
            return {} if tally is None else tally.seen

    last = append_notes(database, 1, PRODUCT_EVENTS)
    assert projected(last) == {f"n{number}": 1 for number in range(1, PRODUCT_EVENTS + 1)}
    last = append_notes(database, PRODUCT_EVENTS + 1, 2 * PRODUCT_EVENTS)
    assert projected(last) == {f"n{number}": 1 for number in range(1, 2 * PRODUCT_EVENTS + 1)}

    counted = run(rows(database, "SELECT tenant, count(*)::int, max(seq)::int FROM events GROUP BY 1 ORDER BY 1"))
    assert counted == [("Tallying", 2 * PRODUCT_EVENTS + 1, 2 * PRODUCT_EVENTS + 1), ("default", 14, 14)]


def test_projections_over_one_application_track_it_apart(database: str) -> None:
    last = append_notes(database, 1, 3)
    for projection_class in (Tracked, TrackedElsewhere):
        with ProjectionRunner(
            application_class=Fleetlog,
            projection_class=projection_class,
            view_class=LogTrackingRecorder,
            env=environment(database),
        ) as runner:
            runner.wait(last, timeout=60)


def test_what_another_application_writes_disturbs_nothing_of_the_product(database: str) -> None:
    """Its events have topics of Python classes, states that are no JSON, and wire names in its own tenant."""
    foreign = environment(database, COMPRESSOR_TOPIC="zlib")

    def write(application: Application[Any], run_id: str) -> list[int]:
        queued = SequencedEvent(stream=f"run:{run_id}", seq=1, new=new(RunQueued(spec=SPEC), f"queued-{run_id}"))
        recordings = application.save(Aggregate(), queued)
        return [recording.notification.id for recording in recordings]

    async def scenario() -> None:
        with Application[Any](env=foreign) as application:
            theirs = write(application, "foreign-1")
            async with projection_harness(database) as harness, harness.projector(), indexing(harness) as search:
                await append_all(harness.store, mixed_history(sessions=1, runs_each=1))
                theirs += write(application, "foreign-2")
                async with running(database, runners=1):
                    await harness.store.append("note:1", 0, new_events("one more"))
                    theirs += write(application, "foreign-3")
                    await harness.caught_up(theirs[-1], [WORK])  # its commands have appended events by then
                end = await harness.store.last_position()
                await harness.caught_up(end, [*NAMES, EVENT_INDEX])
                ours = [position for position in range(1, end + 1) if position not in theirs]

                assert await all_positions(search, EventFilter()) == ours
                async with streaming(database) as s, s.frames("/api/events") as frames:
                    fed = [int(frame.id) async for frame in frames_until(frames, "caught-up")]
                assert fed == ours

                async with audit_of(harness) as audit:
                    verification = await audit.verify(read_models=True)
                    exported = b"".join([lines async for lines in audit.export()]).splitlines()
                assert verification.ok, verification
                lines = [json.loads(line) for line in exported]
                assert [line["position"] for line in lines if line["tenant"] == "Application"] == theirs
                assert len(lines) == verification.position == end

        readable = await rows(database, "SELECT payload IS NULL FROM events_readable WHERE type LIKE '%:%'")
        assert readable == [(True,)] * 3
        assert await rows(database, "SELECT run_id FROM run_queue WHERE run_id LIKE 'foreign%'") == []

    run(scenario(), timeout=250)


async def frames_until(frames: Any, name: str) -> Any:
    async for frame in frames:
        if frame.event == name:
            return
        yield frame
