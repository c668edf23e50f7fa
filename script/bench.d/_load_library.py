"""The load benchmark's baselines: the `eventsourcing` library's Repository, without snapshots and without cache, on its
own Postgres recorder; with an aggregate as its users write it, and with Fleetlog's own events and fold."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from _load_history import DELTA, OPENING, SPEC
from _measuring import library_environment
from eventsourcing.application import Application, Repository
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import EventStore, JSONTranscoder, Mapper, StoredEvent
from eventsourcing.postgres import PostgresFactory

from domain.event import Event, decode, encode
from domain.run.commands import RecordCallback
from domain.run.decide import decide
from domain.run.evolve import evolve
from domain.run.state import Run

BATCH = 500
COMMAND = RecordCallback(event=DELTA)


class AgentRun(Aggregate):
    """A run that records message deltas."""

    @event("Queued")
    def __init__(self, *, run_id: str, session_id: str, provider: str) -> None:
        self.run_id, self.session_id, self.provider = run_id, session_id, provider
        self.entries = 0

    @event("DeltaRecorded")
    def record_delta(self, lease_generation: int, text: str) -> None:
        self.lease_generation = lease_generation
        self.entries += 1

    @staticmethod
    def create_id(run_id: str, **_: Any) -> UUID:
        return uuid5(NAMESPACE_URL, run_id)


class LibraryAsUsual:
    """Aggregate, Application, Repository and mapper as the library's documentation shows them."""

    def __init__(self, dsn: str) -> None:
        self._application: Application[UUID] = Application(library_environment(dsn, "uuid"))

    def write(self, run_id: str, size: int) -> None:
        run = self._new(run_id)
        for number in range(1, size):
            run.record_delta(lease_generation=1, text=DELTA.text)
            if number % BATCH == 0:
                self._application.save(run)
        self._application.save(run)

    def connect(self) -> None:
        """Open the connection by a write to another stream, so that the first measured command does not pay for it."""
        self._application.save(self._new(uuid4().hex))

    def handle(self, run_id: str) -> None:
        run: AgentRun = self._application.repository.get(AgentRun.create_id(run_id))
        run.record_delta(lease_generation=1, text=DELTA.text)
        self._application.save(run)

    def close(self) -> None:
        self._application.close()

    @staticmethod
    def _new(run_id: str) -> AgentRun:
        return AgentRun(run_id=run_id, session_id=SPEC.session_id, provider=SPEC.provider)


class NumberedEvent:
    """One of Fleetlog's events with its number in its stream, in the shape of the library's event store."""

    __slots__ = ("event", "event_id", "occurred_at", "originator_id", "originator_version")

    def __init__(self, stream: str, version: int, body: Event) -> None:
        self.originator_id, self.originator_version, self.event = stream, version, body
        self.event_id, self.occurred_at = f"{stream}/{version}", NOW


NOW = datetime.now(UTC)


class PayloadMapper(Mapper[Any]):
    """Stored events hold the log's payloads as they are: cheaper than the library's own transcoding."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        body = domain_event.event
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, body.wire_name, encode(body))

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        body = decode(stored_event.topic, 1, stored_event.state)
        return NumberedEvent(str(stored_event.originator_id), stored_event.originator_version, body)


class FoldedRun:
    """Fleetlog's state of a run, with the version that the library needs to save."""

    __slots__ = ("state", "version")

    def __init__(self, state: Run | None, version: int) -> None:
        self.state, self.version = state, version


def project(run: FoldedRun | None, events: Iterable[NumberedEvent]) -> FoldedRun:
    state, version = (None, 0) if run is None else (run.state, run.version)
    for numbered in events:
        state, version = evolve(state, numbered), numbered.originator_version
    return FoldedRun(state, version)


class LibraryWithOurFold:
    """The Repository alone is the library's; events, their bytes, decide and evolve are Fleetlog's."""

    def __init__(self, dsn: str) -> None:
        self._factory = PostgresFactory(library_environment(dsn, "text"))
        self._recorder = self._factory.application_recorder()
        self._events: EventStore[Any] = EventStore(PayloadMapper(JSONTranscoder()), self._recorder)
        self._repository: Repository[Any] = Repository(self._events)

    def write(self, run_id: str, size: int) -> None:
        events = [*OPENING, *[DELTA] * (size - len(OPENING))]
        for start in range(0, size, BATCH):
            self._put(run_id, start, events[start : start + BATCH])

    def connect(self) -> None:
        self._put(uuid4().hex, 0, OPENING)

    def handle(self, run_id: str) -> None:
        run = self._repository.get(run_id, projector_func=project)  # type: ignore[type-var]  # it is no library aggregate
        assert run is not None
        self._put(run_id, run.version, decide(run.state, COMMAND))

    def close(self) -> None:
        self._factory.close()

    def _put(self, run_id: str, version: int, events: Iterable[Event]) -> None:
        self._events.put([NumberedEvent(run_id, version + n, body) for n, body in enumerate(events, 1)])


Baseline = LibraryAsUsual | LibraryWithOurFold
BASELINES: dict[str, type[Baseline]] = {"library": LibraryAsUsual, "library-with-our-fold": LibraryWithOurFold}
