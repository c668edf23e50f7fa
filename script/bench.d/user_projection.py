"""A user's projection over a log of 200,000 events: `fleetlog project`'s runner against the library's own.

Both are the `eventsourcing` library's ProjectionRunner with the same projection and the same view: a counter for each
stream, written with its tracking in one transaction per event, as the library's documentation shows. Ours reads
Fleetlog's log, through the class that `fleetlog project` makes of the user's; the baseline reads as many events of the
same payload from the library's Postgres recorder. Both work in the same server, in turn, each round in new views. Time
runs from the runner's start until the view has the last event.
"""

import asyncio
import os
import statistics
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from _measuring import CommandLine, conclude, library_environment, machine, postgres, show
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL, Identifier

from domain.record import Metadata, NewEvent
from domain.run.events import MessageDelta
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.migrations import migrate
from infrastructure.user_projections.view_settings import log_settings
from interfaces.python.supervised_projection import Progressing, SupervisedLog, supervised

STREAMS = 100
BATCH = 500
TEXT = "The agent reads a file, thinks about it, and writes a better one."
PATIENCE_S = 3600


class Counters(PostgresTrackingRecorder):
    """The user's view."""

    finished_at = 0.0

    def __init__(self, datastore: Any, **settings: Any) -> None:
        super().__init__(datastore, **settings)
        table = Identifier(datastore.schema, f"counters_of_{self.tracking_table_name}")
        columns = SQL("CREATE TABLE IF NOT EXISTS {} (stream text PRIMARY KEY, events bigint NOT NULL)")
        self.sql_create_statements.append(columns.format(table))
        self.statement = SQL(
            "INSERT INTO {} AS known VALUES (%s, 1) ON CONFLICT (stream) DO UPDATE SET events = known.events + 1"
        ).format(table)

    def count(self, stream: str, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(self.statement, (stream,), prepare=True)
            self._insert_tracking(cursor, tracking)
        self.finished_at = time.perf_counter()


class Counting(Projection[Counters]):
    """The user's projection."""

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.count(str(domain_event.originator_id), tracking)


class Conversation(Aggregate):
    """The library's aggregate with an event like ours."""

    @event("Began")
    def __init__(self) -> None:
        self.pieces = 0

    @event("Said")
    def say(self, text: str) -> None:
        self.pieces += len(text) > 0


class Conversations(Application[Any]):
    name = "conversations"


async def fill_ours(dsn: str, events: int) -> int:
    """The last position."""
    await migrate(dsn)
    now, metadata, position = datetime.now(UTC), Metadata(actor="bench", correlation_id="c"), 0
    async with GroupCommitEventStore(dsn) as store:
        seqs = dict.fromkeys(range(STREAMS), 0)
        for start in range(0, events, BATCH):
            number = start // BATCH % STREAMS
            new = [
                NewEvent(event_id=f"e{n}", event=MessageDelta(text=TEXT), occurred_at=now, metadata=metadata)
                for n in range(start, min(start + BATCH, events))
            ]
            position = (await store.append(f"conversation:{number}", seqs[number], new)).position
            seqs[number] += len(new)
    return position


def fill_library(settings: dict[str, str], events: int) -> int:
    """The last notification id."""
    application = Conversations(settings)
    try:
        conversations, written = [Conversation() for _ in range(STREAMS)], 0
        for number in range((events + BATCH - 1) // BATCH):
            conversation, size = conversations[number % STREAMS], min(BATCH, events - written)
            for _ in range(size - len(conversation.pending_events)):
                conversation.say(TEXT)
            application.save(conversation)
            written += size
        last = application.recorder.max_notification_id()
        assert last == events, f"{last} events are there, not {events}"
        return last
    finally:
        application.close()


def timed(application: type[Any], projection: type[Projection[Any]], settings: dict[str, str], last: int) -> float:
    """Seconds until the view has the event at `last`."""
    began = time.perf_counter()
    with ProjectionRunner(
        application_class=application, projection_class=projection, view_class=Counters, env=settings
    ) as runner:
        runner.wait(last, timeout=PATIENCE_S)
        return float(runner.view.finished_at) - began


def renamed(projection: type[Projection[Any]]) -> type[Projection[Any]]:
    """The same with a view of its own."""
    return type("Renamed", (projection,), {"name": f"round_{uuid4().hex[:8]}"})


def run(events: int, rounds: int) -> dict[str, Any]:
    ours: list[float] = []
    baseline: list[float] = []
    with postgres() as server, os.fdopen(os.memfd_create("present event"), "rb") as file:
        host = machine(server)
        dsn, theirs = server.create_database(), server.create_database()
        last = asyncio.run(fill_ours(dsn, events))
        settings = library_environment(theirs, "uuid")
        last_of_theirs = fill_library(settings, events)
        for _ in range(rounds):
            baseline.append(events / timed(Conversations, renamed(Counting), settings, last_of_theirs))
            mine = supervised(renamed(Counting), skips=(), progress=Progressing(file.fileno()))
            both = {**library_environment(dsn), **log_settings(dsn)}
            ours.append(events / timed(SupervisedLog, mine, both, last))
    mine_s, theirs_s = statistics.median(ours), statistics.median(baseline)
    rows = [
        (name, f"{statistics.median(rates):,.0f}", f"{statistics.median(rates) / theirs_s:.2f}x", each)
        for name, rates in (("library", baseline), ("fleetlog", ours))
        for each in [" ".join(f"{rate:,.0f}" for rate in rates)]
    ]
    title = f"user_projection: {events:,} events, one transaction each, medians of {rounds} rounds"
    show(title, ("variant", "events/s", "ratio", "rounds"), rows, host)
    return {
        "bench": "user_projection",
        "rounds": rounds,
        "ours": round(mine_s, 1),
        "baseline": round(theirs_s, 1),
        "ratio": round(mine_s / theirs_s, 2),
        "events": events,
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("user_projection", __doc__, rounds=3)
    parser.add_size("--events", 200_000, toy=1_000)
    arguments = parser.parse()
    conclude(run(arguments.events, arguments.rounds), as_json=arguments.json)


if __name__ == "__main__":
    main()
