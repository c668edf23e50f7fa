"""The `eventsourcing` library's Application, Repository, snapshots, subscriptions and processes on our tables."""

import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from eventsourcing.application import AggregateNotFoundError, Application, ProcessingEvent
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import DataError, IntegrityError, OperationalError
from eventsourcing.projection import ApplicationSubscription
from eventsourcing.system import ProcessApplication, SingleThreadedRunner, System

from domain.record import RecordedEvent
from infrastructure.eventsourcing_library.factory import FleetlogFactory
from infrastructure.eventsourcing_library.log_connections import LogConnections
from infrastructure.eventsourcing_library.mapper import SequencedEvent
from infrastructure.postgres.event_store.reading import PAGE_BYTES
from tests.support.backends import kill_backends
from tests.support.log_events import Counted, Noted, new_event


def environment(dsn: str) -> dict[str, str]:
    return {
        "PERSISTENCE_MODULE": "infrastructure.eventsourcing_library.factory",
        "DATABASE_URL": dsn,
        "ORIGINATOR_ID_TYPE": "text",
        "CREATE_TABLE": "no",
        "IS_SNAPSHOTTING_ENABLED": "yes",
    }


class Dog(Aggregate):
    @event("Registered")
    def __init__(self, name: str) -> None:
        self.name = name
        self.tricks: list[str] = []

    @event("TrickAdded")
    def add_trick(self, trick: str) -> None:
        self.tricks.append(trick)


@dataclass(frozen=True)
class Notebook:
    """An immutable aggregate of Fleetlog's own events."""

    id: str
    version: int
    notes: tuple[str, ...] = ()


def project_notebook(notebook: Notebook | None, events: Iterable[RecordedEvent]) -> Notebook | None:
    for recorded in events:
        notes = () if notebook is None else notebook.notes
        assert isinstance(recorded.event, Noted)
        notebook = Notebook(recorded.stream, recorded.seq, (*notes, recorded.event.text))
    return notebook


def noted(seq: int, text: str) -> SequencedEvent:
    return SequencedEvent(stream="notebook:1", seq=seq, new=new_event(text))


def test_mutable_aggregates_are_saved_and_loaded_from_snapshots(database: str) -> None:
    with Application[Any](env=environment(database)) as application:
        dog = Dog("Fido")
        dog.add_trick("roll over")
        application.save(dog)
        application.take_snapshot(dog.id)
        dog = application.repository.get(dog.id)
        dog.add_trick("play dead")
        application.save(dog)
        assert application.repository.get(dog.id).tricks == ["roll over", "play dead"]
        assert application.repository.get(dog.id, version=2).tricks == ["roll over"]
        assert application.snapshots is not None
        assert len(list(application.snapshots.get(dog.id))) == 1
        with pytest.raises(AggregateNotFoundError):
            application.repository.get("nobody")


def test_a_concurrent_change_of_an_aggregate_is_an_integrity_error(database: str) -> None:
    with Application[Any](env=environment(database)) as application:
        application.save(dog := Dog("Fido"))
        first, second = application.repository.get(dog.id), application.repository.get(dog.id)
        first.add_trick("roll over")
        second.add_trick("play dead")
        application.save(first)
        with pytest.raises(IntegrityError):
            application.save(second)


def test_immutable_aggregates_go_through_a_projector_function(database: str) -> None:
    with Application[Any](env=environment(database)) as application:
        recordings = application.save(noted(1, "one"), noted(2, "two"))
        assert [recording.notification.id for recording in recordings] == [1, 2]
        notebook = application.repository.get("notebook:1", projector_func=project_notebook)
        assert notebook == Notebook("notebook:1", 2, ("one", "two"))
        recorded = next(iter(application.events.get("notebook:1")))
        assert isinstance(recorded, RecordedEvent)
        assert recorded.metadata.actor == "tester"
        assert recorded.recorded_at <= datetime.now(UTC)


def test_a_subscription_gets_past_and_new_events_of_its_topics(database: str) -> None:
    with Application[Any](env=environment(database)) as application:
        application.save(noted(1, "one"))
        with ApplicationSubscription(application, gt=0, topics=["test.noted"]) as subscription:
            first: Any
            second: Any
            first, tracking = next(subscription)
            assert (first.event, tracking.notification_id) == (Noted(text="one"), 1)
            application.save(Dog("Fido"))
            application.save(noted(2, "two"))
            second, tracking = next(subscription)
            assert (second.event, tracking.notification_id) == (Noted(text="two"), 3)


@pytest.mark.parametrize("name", ["fleetlog", "Notebooks"])
def test_a_subscription_reads_ahead_by_pages_whose_bytes_are_bounded(database: str, name: str) -> None:
    large = [SequencedEvent(stream="notebook:1", seq=seq, new=new_event("x" * 200_000)) for seq in range(1, 101)]

    class Large(Application[Any]):
        pass

    Large.name = name
    with Large(env=environment(database)) as application:
        for first in range(0, len(large), 10):
            application.save(*large[first : first + 10])
        recorder: Any = application.recorder
        for topics in ([], ["test.noted"]):
            page = recorder.notifications_page(0, topics)
            assert 1 < len(page) < len(large)
            assert sum(len(each.state) for each in page[:-1]) < PAGE_BYTES
            with application.recorder.subscribe(gt=0, topics=topics) as subscription:
                assert [next(subscription).id for _ in large] == [*range(1, 101)]
        # Whoever says how many gets as many: the library takes fewer for the end of the log.
        assert len(application.recorder.select_notifications(1, len(large))) == len(large)


class Counting(ProcessApplication[Any]):
    """Counts each note of any notebook in a stream of its own."""

    @singledispatchmethod
    def policy(self, domain_event: Any, processing_event: ProcessingEvent[Any]) -> None:
        if isinstance(domain_event, RecordedEvent) and isinstance(domain_event.event, Noted):
            counted = Counted(number=domain_event.seq)
            new = new_event(event_id=f"count-{domain_event.position}")
            processing_event.collect_events(
                SequencedEvent(
                    stream=f"count:{domain_event.position}",
                    seq=1,
                    new=type(new)(
                        event_id=new.event_id, event=counted, occurred_at=new.occurred_at, metadata=new.metadata
                    ),
                )
            )


class Notebooks(Application[Any]):
    pass


def test_a_process_application_tracks_what_it_has_handled(database: str) -> None:
    with SingleThreadedRunner[Any](System(pipes=[[Notebooks, Counting]]), env=environment(database)) as runner:
        notebooks, counting = runner.get(Notebooks), runner.get(Counting)
        notebooks.save(noted(1, "one"))
        notebooks.save(noted(2, "two"))
        assert counting.recorder.has_tracking_id("Notebooks", 3)
        assert [n.topic for n in counting.recorder.select_notifications(1, 10)] == ["test.counted", "test.counted"]


@pytest.mark.proof
def test_a_subscription_goes_on_after_its_connections_were_killed(database: str) -> None:
    with Application[Any](env=environment(database)) as application:
        application.save(noted(1, "one"))
        with application.recorder.subscribe(gt=0) as subscription:
            assert next(subscription).id == 1
            delays = []
            for last in (2, 3, 4):
                kill_backends(database)
                application.save(noted(last, "next"))
                started = time.monotonic()
                assert next(subscription).id == last
                delays.append(time.monotonic() - started)
            assert min(delays) < 1, delays  # a busy machine may be late now and then


def test_connections_that_nobody_closed_are_collected_without_a_wait_for_their_threads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        log = LogConnections(f"host=127.0.0.1 port={silent.getsockname()[1]}", tenant="ours", pool_size=1)
        known = {*threading.enumerate()}
        log.notifier.add(threading.Event())
        (listening,) = {*threading.enumerate()} - known
        connected, _ = silent.accept()
        del log
        assert listening.is_alive()
        connected.close()
        listening.join(timeout=20)
        assert not listening.is_alive()


def test_a_read_after_the_close_is_refused_at_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.eventsourcing_library.log_connections.RETRY_DELAY_SECONDS", 3600)
    with Application[Any](env=environment(database)) as application:
        application.save(noted(1, "one"))
    with pytest.raises(OperationalError, match="clos"):
        application.recorder.select_notifications(1, 10)


def test_tenants_share_the_positions_of_the_log_but_not_its_streams(database: str) -> None:
    other = {**environment(database), "APPLICATION_FLEETLOG_TENANT": "other"}
    with Application[Any](env=environment(database)) as ours, Application[Any](env=other) as theirs:
        ours.save(noted(1, "ours"))
        (recording,) = theirs.save(noted(1, "theirs"))
        assert recording.notification.id == 2
        assert [n.id for n in ours.recorder.select_notifications(1, 10)] == [1]
        assert [n.id for n in theirs.recorder.select_notifications(1, 10)] == [2]


def test_a_state_over_the_limit_is_a_data_error(database: str) -> None:
    with (
        Application[Any](env=environment(database)) as application,
        pytest.raises(DataError, match="log takes 262,144"),
    ):
        application.save(Dog("x" * 300_000))


def test_tables_are_never_created_behind_the_migrations_back(database: str) -> None:
    with pytest.raises(OSError, match="tables come from its migrations"):
        FleetlogFactory({**environment(database), "CREATE_TABLE": "yes"})
