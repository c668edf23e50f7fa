"""The log as an application of the `eventsourcing` library that reads: what a database and an exported file share."""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn
from uuid import UUID

from eventsourcing.application import Application, Repository
from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent, Subscription
from eventsourcing.utils import Environment, EnvType

from application import every_event  # noqa: F401  a log has events of all types
from domain.record import RecordedEvent
from interfaces.python.states import StateRepository

SECTION_EVENTS = 500


class LogIsReadOnly(Exception):
    """An event was to be saved. The log is written by commands, which the aggregates decide on."""


def refuse() -> NoReturn:
    raise LogIsReadOnly(
        "this application reads: an event that is saved here would go around the decisions of sessions and runs. "
        "Send a command instead, over the HTTP API (`/docs` of a running server lists them)"
    )


class ReadOnlyRecorder(ApplicationRecorder):
    """Another recorder, without its inserts: a PagedRecorder, as those of the log are
    (infrastructure/eventsourcing_library/paged_recorder.py)."""

    def __init__(self, recorder: ApplicationRecorder) -> None:
        self._recorder = recorder
        self._pages: Any = recorder

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> NoReturn:  # noqa: ARG002
        refuse()

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        return self._recorder.select_events(originator_id, gt=gt, lte=lte, desc=desc, limit=limit)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        return self._recorder.select_notifications(start, limit, stop, topics, inclusive_of_start=inclusive_of_start)

    def max_notification_id(self) -> int | None:
        return self._recorder.max_notification_id()

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return self._recorder.subscribe(gt=gt, topics=topics)

    def notifications_page(self, after: int, topics: Sequence[str] = ()) -> Sequence[Notification]:
        page: Sequence[Notification] = self._pages.notifications_page(after, topics)
        return page

    def last_position(self) -> int:
        return int(self._pages.last_position())

    def exported_lines(self, after: int, up_to: int) -> Iterator[bytes]:
        yield from self._pages.exported_lines(after, up_to)


class ReadOnlyLog(Application[str]):
    """Its events are RecordedEvents, with their `position`, `stream`, `seq`, times, metadata and the event itself.

    `repository.get("run:…", version=n)` gives states, `notification_log` and the library's `ApplicationSubscription`
    give notifications; a notification's id is the event's position. `defaults` are settings under the application's
    name, so that settings for other applications in the same environment change nothing here.
    """

    name = "fleetlog"
    recorder: ReadOnlyRecorder
    log_section_size = SECTION_EVENTS
    defaults: dict[str, str] = {}  # noqa: RUF012  as the library's own `env`

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        environment = super().construct_env(name, env)
        for key, value in self.defaults.items():
            environment.setdefault(f"{name.upper()}_{key}", value)
        return environment

    def construct_recorder(self) -> ReadOnlyRecorder:
        return ReadOnlyRecorder(super().construct_recorder())

    def construct_repository(self) -> Repository[str]:
        return StateRepository(self.events)

    def recorded_events(self, *, after: int = 0, topics: Sequence[str] = ()) -> Iterator[RecordedEvent]:
        """The events after a position, in order, up to the present end of the log; of all types, or of some wire names
        such as `run.finished`. Raises what the mapper raises, for an event that this code can't read."""
        while page := self.recorder.notifications_page(after, topics):
            for notification in page:
                recorded: Any = self.mapper.to_domain_event(notification)
                yield recorded
            after = page[-1].id

    @property
    def last_position(self) -> int:
        """The log's, over all tenants; 0 if it is empty."""
        return self.recorder.last_position()

    def exported_lines(self, *, after: int = 0, up_to: int | None = None) -> Iterator[bytes]:
        """The log as JSON Lines, as `fleetlog export` writes it and `script/verify-log` reads it: the events of all
        tenants after a position, up to another one or the present end, some whole lines at a time."""
        end = self.last_position
        return self.recorder.exported_lines(after, end if up_to is None else min(up_to, end))

    def save(self, *objs: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG002
        """Raises LogIsReadOnly."""
        refuse()

    def take_snapshot(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG002
        """Raises LogIsReadOnly."""
        refuse()
