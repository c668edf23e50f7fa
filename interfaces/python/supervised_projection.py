"""A user's projection with what its supervisor needs around it: tries, skipped events, and where it is."""

import threading
from collections.abc import Callable, Collection
from typing import Any

import psycopg
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import InterfaceError, Mapper, OperationalError, StoredEvent, Tracking, TrackingRecorder
from eventsourcing.projection import Projection

from application.user_projection_protocol import note_event, note_no_event
from domain.event import WrittenByNewerVersion
from domain.operations.log_consumer import describe
from domain.record import RecordedEvent
from interfaces.python.fleetlog_application import FleetlogApplication

TRIES = 3
FIRST_PAUSE_S = 0.1
"""Before the second try; ten times as much before each further one."""
LOST_DATABASE = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
"""No event's fault: the process ends and is started again, as often as it takes."""


ProcessEvent = Callable[[Any, Tracking], None]


class EventBlocks(Exception):
    """The event at `position` can't be processed, because of `error`."""

    def __init__(self, position: int, event_type: str, error: BaseException) -> None:
        super().__init__(f"the event at position {position} ({event_type}) can't be processed: {describe(error)}")
        self.position, self.event_type, self.error = position, event_type, error


class AnotherRunner(Exception):
    """Another process has tracked this event and later ones in the same view: it runs the projection now."""


class Progressing:
    """The position of the last event that this process has processed, 0 before the first; and whether it is to stop.
    `file`: the descriptor of that in which the present event is noted."""

    def __init__(self, file: int) -> None:
        self.position, self.file = 0, file
        self.stopping = threading.Event()


class EventPlaceholder:
    """In place of an event that this code can't decode."""

    __slots__ = ("error", "topic")

    def __init__(self, topic: str, error: Exception) -> None:
        self.topic, self.error = topic, error


class ToleratingMapper(Mapper[str]):
    """Another mapper, with EventPlaceholders where it raises."""

    def __init__(self, mapper: Mapper[str]) -> None:
        self._mapper = mapper

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        return self._mapper.to_stored_event(domain_event)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        try:
            return self._mapper.to_domain_event(stored_event)
        except Exception as error:  # noqa: BLE001  it stops the projection, by name
            return EventPlaceholder(stored_event.topic, error)


class SupervisedLog(FleetlogApplication):
    name = FleetlogApplication.name

    def construct_mapper(self) -> Mapper[str]:
        return ToleratingMapper(super().construct_mapper())


def supervised(
    projection_class: type[Projection[Any]], *, skips: Collection[int], progress: Progressing
) -> type[Projection[Any]]:
    """A subclass of the user's class, with its name and topics. Its `process_event` raises EventBlocks for an event on
    which that of the user has failed TRIES times, AnotherRunner, or one of LOST_DATABASE; the events at `skips` are
    tracked and not processed."""
    skipped = frozenset(skips)

    class Supervised(projection_class):  # type: ignore[misc,valid-type]  # which class it is is known at run time
        name = projection_class.name

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            if tracking.notification_id in skipped:
                self.view.insert_tracking(tracking)
            else:
                note_event(progress.file, tracking.notification_id, _type_of(domain_event))
                _process(super().process_event, self.view, progress.stopping, domain_event, tracking)
                note_no_event(progress.file)
            progress.position = tracking.notification_id

    return Supervised


def _process(
    process_event: ProcessEvent,
    view: TrackingRecorder,
    stopping: threading.Event,
    domain_event: Any,
    tracking: Tracking,
) -> None:
    if type(domain_event) is EventPlaceholder:
        raise EventBlocks(tracking.notification_id, domain_event.topic, domain_event.error)
    pause_s = FIRST_PAUSE_S
    for tried in range(1, TRIES + 1):
        try:
            process_event(domain_event, tracking)
        except LOST_DATABASE:
            raise
        except BaseException as error:
            if _is_tracked(view, tracking):  # it failed after its commit
                return
            if tried == TRIES:
                raise EventBlocks(tracking.notification_id, _type_of(domain_event), error) from error
            if stopping.wait(pause_s):
                raise
            pause_s *= 10
        else:
            return


def _is_tracked(view: TrackingRecorder, tracking: Tracking) -> bool:
    """Raises AnotherRunner."""
    tracked = view.max_tracking_id(tracking.application_name) or 0
    if tracked > tracking.notification_id:
        raise AnotherRunner(f"position {tracked} is tracked already, and {tracking.notification_id} was next here")
    return tracked == tracking.notification_id


def is_newer(error: BaseException) -> bool:
    return isinstance(error, WrittenByNewerVersion)


def _type_of(domain_event: Any) -> str:
    if isinstance(domain_event, RecordedEvent):
        return domain_event.event.wire_name
    return domain_event.topic if type(domain_event) is EventPlaceholder else type(domain_event).__qualname__
