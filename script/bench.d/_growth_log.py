"""The logs of the growth benchmark: sessions and their runs, from their first event to the removal of their workers,
and everything that derives from them, as a process with all its background tasks leaves it when nothing is left to do.

As a program: DSN EVENTS. Prints the last position, the sessions, and the bytes on disk beyond those of an empty log.
With `follow` for EVENTS it is the process of the process managers and the search index, until it is terminated.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import uvloop
from _mixed_log import EVENTS_PER_SESSION, append_batches
from _queue_ours import BEHIND

from application.operations.consumer_control import ProcessManagerControl
from application.process_managers.commands import SentPage
from application.process_managers.table import PROCESS_MANAGERS, outcomes_of, wire_names
from domain.event import Event
from domain.identifiers import session_stream
from domain.session import events as s
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.migrations import migrate
from infrastructure.postgres.process_managers.runner import ProcessManagerRunner
from infrastructure.postgres.search.indexer import EventIndexer
from tests.support.mixed_history import EPOCH, Batch, mixed_history, session_closing, sync_ref
from tests.support.projecting import projection_harness
from tests.support.recorded import new_event

LEFT = """
UPDATE effects SET state = 'done', finished_at = clock_timestamp() WHERE state = 'ready';
DELETE FROM worker_places;
"""
SIZE = "SELECT pg_database_size(current_database())"


class Written(msgspec.Struct, frozen=True):
    """`bytes`: on disk, beyond those of an empty log."""

    last: int
    sessions: int
    bytes: int


class NoCommands:
    """The commands of process managers, none of which is sent: what they lead to is in the history already."""

    async def send_page(self, *_: Any) -> SentPage:
        return SentPage()


def whole_history(sessions: int) -> Iterator[Batch]:
    """At its end no run goes on and no session has a worker, so that a server that is started has nothing to do."""
    seqs = Counter[str]()
    for stream, batch in mixed_history(sessions=sessions):
        seqs[stream] += len(batch)
        yield stream, batch
    for number in range(sessions):
        stream = session_stream(f"session-{number}")
        closing: list[Event] = [] if number % 2 else session_closing(number)
        removal = f"removal-{number}"
        closing += [
            s.RemoveRequested(generation=1, sync_id=removal),
            s.SessionSynced(generation=1, sync_id=removal, reason="pre.remove", sync=sync_ref(number), unchanged=True),
            s.SessionRemoved(generation=1),
        ]
        yield (
            stream,
            [
                new_event(event, f"{stream}/{seq}", EPOCH, correlation_id=stream)
                for seq, event in enumerate(closing, seqs[stream] + 1)
            ],
        )


async def written(dsn: str, events: int) -> Written:
    await migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        empty = _bytes(connection)
    sessions = max(1, round(events / EVENTS_PER_SESSION))
    async with projection_harness(dsn) as harness, harness.projector():
        following = await asyncio.create_subprocess_exec(sys.executable, __file__, dsn, "follow")
        try:
            last = await _appended(harness.store, sessions)
            while await _behind(harness.pool) < last:
                assert following.returncode is None, "the process managers and the search index have ended"
                await asyncio.sleep(0.1)
        finally:
            if following.returncode is None:
                following.terminate()
            await following.wait()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(LEFT)
        for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
            connection.execute(statement)
        return Written(last, sessions, _bytes(connection) - empty)


async def follow(dsn: str) -> None:
    async with GroupCommitEventStore(dsn) as store, PostgresListener(dsn) as listener:
        process_managers = ProcessManagerRunner(
            dsn=dsn,
            store=store,
            position=listener.position,
            outcomes_of=outcomes_of,
            managers={name: wire_names(name) for name in PROCESS_MANAGERS},
            control=ProcessManagerControl(store=store, clock=lambda: datetime.now(UTC)),
            commands=NoCommands(),  # type: ignore[arg-type]
        )
        await asyncio.gather(process_managers.run(), EventIndexer(dsn, listener.position).run())


async def _appended(store: GroupCommitEventStore, sessions: int) -> int:
    return await append_batches(store, whole_history(sessions))


async def _behind(pool: Pool) -> int:
    async with pool.connection() as connection:
        row = await (await connection.execute(BEHIND)).fetchone()
    return row[0] or 0 if row else 0


def _bytes(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute(SIZE).fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__" and sys.argv[2] == "follow":
    uvloop.run(follow(sys.argv[1]))
elif __name__ == "__main__":
    made = uvloop.run(written(sys.argv[1], int(sys.argv[2])))
    sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
