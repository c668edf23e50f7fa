"""Rebuild of all read models from a mixed log: Fleetlog's projector against the library's ProjectionRunner.

Both fold the same kind of history (sessions, their runs, tools, todos, questions, a third of it deltas) with the same
folds into the same tables, on the same server with fsync and synchronous_commit on, and both have the database leave
out the types that no fold wants. Ours builds all read models beside the live ones and ends when readers see the new
ones. The library's view loads, folds and writes its rows, and tracks, in one transaction per event, as its
documentation shows; it runs on fewer events, since its speed does not depend on their number.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime
from typing import Any, ClassVar

import psycopg
import uvloop
from _measuring import CommandLine, conclude, library_environment, machine, postgres, show
from _mixed_log import fill, history_of
from eventsourcing.application import Application
from eventsourcing.persistence import Mapper, StoredEvent, Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection as LibraryProjection
from eventsourcing.projection import ProjectionRunner
from psycopg import sql

from domain.event import decode, encode
from domain.record import Metadata, NewEvent, RecordedEvent
from infrastructure.postgres.migrations import migrate
from projections.catalogue import PROJECTIONS
from tests.support.projecting import NAMES, projection_harness

NOW = datetime.now(UTC)
METADATA = Metadata(actor="bench", correlation_id="c")
TYPES = sorted(frozenset().union(*(projection.event_types for projection in PROJECTIONS)))


async def rebuild(dsn: str) -> float:
    """Seconds from the start of a projector until readers see all read models in their new versions."""
    async with projection_harness(dsn) as harness:
        wanted = {
            name: await harness.admin.rebuild(name, by=METADATA, command_id=str(time.time_ns())) for name in NAMES
        }
        began = time.perf_counter()
        async with harness.projector():
            while True:
                states = {(status.projection, status.version): status.state for status in await harness.admin.status()}
                if all(states.get(version) == "active" for version in wanted.items()):
                    return time.perf_counter() - began
                await asyncio.sleep(0.05)


async def fill_and_catch_up(dsn: str, events: int) -> int:
    await migrate(dsn)
    async with projection_harness(dsn) as harness:
        last = await fill(harness.store, events)
        async with harness.projector():
            await harness.caught_up(last, timeout=300)
    return last


class PayloadMapper(Mapper[Any]):
    """Stored events hold the payloads of the log as they are: cheaper than the library's own transcoding."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        event = domain_event.new.event
        return StoredEvent(domain_event.stream, domain_event.seq, event.wire_name, encode(event))

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return (
            stored_event.originator_id,
            stored_event.originator_version,
            decode(stored_event.topic, 1, stored_event.state),
        )


class LibraryLog(Application[str]):
    name = "log"


class ReadModelTables(PostgresTrackingRecorder):
    """The same tables as ours; each event in a transaction of its own, with its tracking."""

    applied_at = 0.0
    upserts: ClassVar[dict[str, str]] = {}
    """By projection: the statement that writes one row."""

    def apply(self, recorded: RecordedEvent, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            for projection in PROJECTIONS:
                if recorded.event.wire_name in projection.event_types:
                    self._fold(cursor, projection, recorded)
            self._insert_tracking(cursor, tracking)
        self.applied_at = time.perf_counter()

    def _fold(self, cursor: Any, projection: Any, recorded: RecordedEvent) -> None:
        key = projection.key(recorded)
        cursor.execute(LOADS[projection.name], (key,), prepare=True)
        found = cursor.fetchone()
        row = projection.decode(found["body"]) if found else None
        folded = projection.fold(row, recorded)
        if folded is not None and folded is not row:
            values = (1, "default", key, projection.encode(folded).decode(), *projection.columns(folded))
            cursor.execute(self.upserts[projection.name], values, prepare=True)


LOADS: dict[str, str] = {
    name: f"SELECT body::text FROM read_models.{name} WHERE version = 1 AND tenant = 'default' AND key = %s"
    for name in NAMES
}


def upsert_of_one_row(connection: psycopg.Connection[Any], table: str) -> str:
    """The statement that inserts a row into a table of the read models, or replaces the one with its key.

    Its parameters are the table's columns, in order."""
    target = sql.Identifier("read_models", table)
    described = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(target)).description or ()
    names = [sql.Identifier(column.name) for column in described]
    key, others = names[:3], names[3:]
    statement = sql.SQL("INSERT INTO {} VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
        target,
        sql.SQL(", ").join([sql.Placeholder()] * len(names)),
        sql.SQL(", ").join(key),
        sql.SQL(", ").join([sql.SQL("{0} = excluded.{0}").format(name) for name in others]),
    )
    return statement.as_string(connection)


class ReadModelsOnTheLibrary(LibraryProjection[ReadModelTables]):
    name = "read_models"
    topics = tuple(TYPES)

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        stream, seq, event = domain_event
        recorded = RecordedEvent(
            position=tracking.notification_id,
            stream=stream,
            seq=seq,
            event_id=f"{stream}/{seq}",
            event=event,
            occurred_at=NOW,
            recorded_at=NOW,
            metadata=METADATA,
        )
        self.view.apply(recorded, tracking)


def library_settings(dsn: str) -> dict[str, str]:
    return {**library_environment(dsn), "MAPPER_TOPIC": f"{PayloadMapper.__module__}:PayloadMapper"}


def library_fill(dsn: str, events: int) -> tuple[int, int]:
    """How many events the library has now, and the last position of one that the view wants."""
    asyncio.run(migrate(dsn))
    with psycopg.connect(dsn) as connection:
        ReadModelTables.upserts = {name: upsert_of_one_row(connection, name) for name in NAMES}
    log = LibraryLog(library_settings(dsn))
    seqs: dict[str, int] = {}
    count = last = 0
    for stream, batch in history_of(events):
        stored = [_stored(stream, seqs, new) for new in batch]
        positions = log.recorder.insert_events(stored) or ()
        count += len(positions)
        last = max(
            [last, *(position for position, event in zip(positions, stored, strict=True) if event.topic in TYPES)]
        )
    log.close()
    return count, last


def _stored(stream: str, seqs: dict[str, int], new: NewEvent) -> StoredEvent:
    seqs[stream] = seqs.get(stream, 0) + 1
    return StoredEvent(stream, seqs[stream], new.event.wire_name, encode(new.event))


def library_run(dsn: str, last_wanted: int) -> float:
    """Seconds from the runner's start until its view has the last event, by the view's own clock: `wait` only polls."""
    began = time.perf_counter()
    with ProjectionRunner(
        application_class=LibraryLog,
        projection_class=ReadModelsOnTheLibrary,
        view_class=ReadModelTables,
        env=library_settings(dsn),
    ) as runner:
        runner.wait(last_wanted, timeout=600)
        return runner.view.applied_at - began


def run(events: int, baseline_events: int, rounds: int) -> dict[str, Any]:
    with postgres() as server:
        host = machine(server)
        dsn = server.create_database()
        filled = uvloop.run(fill_and_catch_up(dsn, events))
        ours, baseline = [], []
        for _ in range(rounds):
            library_dsn = server.create_database()
            stored, last = library_fill(library_dsn, baseline_events)
            baseline.append(stored / library_run(library_dsn, last))
            ours.append(filled / uvloop.run(rebuild(dsn)))
        with psycopg.connect(dsn) as connection:
            share = connection.execute("SELECT avg((type = ANY(%s))::int)::float FROM events", (TYPES,)).fetchone()
        assert share is not None
        return report(ours, baseline, filled, stored, share[0], host)


def report(
    ours: list[float], baseline: list[float], filled: int, stored: int, share: float, host: dict[str, Any]
) -> dict[str, Any]:
    mine, theirs = statistics.median(ours), statistics.median(baseline)
    title = (
        f"project: rebuild of {len(NAMES)} read models, {share:.0%} of the events folded, medians of {len(ours)} rounds"
    )
    rows = []
    for name, rates, count in (("library", baseline, stored), ("fleetlog", ours, filled)):
        rate = statistics.median(rates)
        each = " ".join(f"{rate:,.0f}" for rate in rates)
        rows.append((name, f"{count:,}", f"{rate:,.0f}", f"{rate * share:,.0f}", f"{rate / theirs:.1f}x", each))
    show(title, ("variant", "events", "events/s", "folded/s", "ratio", "rounds"), rows, host)
    return {
        "bench": "project",
        "rounds": len(ours),
        "ours": round(mine),
        "baseline": round(theirs),
        "ratio": round(mine / theirs, 2),
        "events": filled,
        "folded_share": round(share, 3),
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("project", __doc__, rounds=3)
    parser.add_size("--events", 200_000, toy=2_000)
    parser.add_size("--baseline-events", 5_000, toy=200)
    arguments = parser.parse()
    result = run(arguments.events, arguments.baseline_events, arguments.rounds)
    conclude(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
