"""What the growth benchmark measures on a log: in this process without a server, and on a `fleetlog up`. All times are
milliseconds, one for each try."""

import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from _growth_log import Written
from _load_history import DELTA, aggregates

from application.process_managers.outcomes import DequeueRun, EnqueueRun, Outcome
from domain.run.events import RunCancelRequested
from domain.run.queue_share import QueueShare
from infrastructure.postgres.connections import Pool, open_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.parked_runs import PARKED_RUNS_CHANNEL
from infrastructure.postgres.process_managers.recording import record
from infrastructure.postgres.run_queue import RUN_QUEUE_CHANNEL, PostgresRunQueue
from tests.support.fleetlog_parts import on_database
from tests.support.fleetlog_server import FleetlogServer
from tests.support.recorded import new_event, recorded

Times = dict[str, list[float]]
WARM_UP = 10
"""Tries before those that count: connections, plans, and the pages that every try reads."""
RUNS_EACH = 3
OF_SIZE = {"WORKSPACE_RETENTION_MS": "315360000000", "REMOVE_AFTER_MS": "31536000000"}
"""The history is months old, and a server that is started is to have nothing to do."""
SHARE = QueueShare(app_id="app-1", project_name="project-1", user_login_name="user-1")


async def without_server(dsn: str, log: Written, tries: int, seed: int) -> Times:
    random_ = random.Random(seed)
    async with (
        GroupCommitEventStore(dsn) as store,
        PostgresListener(dsn) as listener,
        await open_pool(dsn, size=2) as pool,
    ):
        with listener.subscribe(RUN_QUEUE_CHANNEL) as signal, listener.subscribe(PARKED_RUNS_CHANNEL) as endings:
            queue = PostgresRunQueue(pool, signal, endings)
            return {
                "append": await timed(_append(store), tries),
                "load": await timed(_load(store, log, random_), tries),
                "claim": await timed(_claim(queue, pool, log), tries),
            }


async def timed(attempt: Callable[[], Awaitable[float]], tries: int) -> list[float]:
    return [1000 * await attempt() for _ in range(WARM_UP + tries)][WARM_UP:]


def _append(store: GroupCommitEventStore) -> Callable[[], Awaitable[float]]:
    """One event to a stream that grows, until its commit is acknowledged."""
    stream, seq = f"run:growth-{uuid.uuid4().hex}", 0

    async def attempt() -> float:
        nonlocal seq
        event = new_event(DELTA, f"{stream}/{seq}")
        began = time.perf_counter()
        await store.append(stream, seq, [event])
        seq += 1
        return time.perf_counter() - began

    return attempt


def _load(store: GroupCommitEventStore, log: Written, random_: random.Random) -> Callable[[], Awaitable[float]]:
    """A run of about 60 events, anywhere in the log, that is not in memory."""

    async def attempt() -> float:
        runs = aggregates(store, None)
        run_id = some_run(log, random_)
        began = time.perf_counter()
        loaded = await runs.load(run_id)
        took = time.perf_counter() - began
        assert loaded.state is not None, run_id
        return took

    return attempt


def _claim(queue: PostgresRunQueue, pool: Pool, log: Written) -> Callable[[], Awaitable[float]]:
    """The one run that is queued; then it ends."""
    position = log.last

    async def moved(outcome: Outcome) -> None:
        nonlocal position
        position += 1
        (event,) = recorded("run:queued", [RunCancelRequested()], first_position=position)
        async with pool.connection() as connection, connection.transaction():
            await record(connection, [(event, outcome)])

    async def attempt() -> float:
        run_id = f"growth-{uuid.uuid4().hex}"
        await moved(EnqueueRun(run_id=run_id, session_id=run_id, max_attempts=5, share=SHARE))
        began = time.perf_counter()
        claimed = await queue.claim(owner="bench", limit=1, lease=timedelta(seconds=30))
        took = time.perf_counter() - began
        assert [lease.run_id for lease in claimed] == [run_id]
        await moved(DequeueRun(run_id=run_id))
        return took

    return attempt


def with_server(dsn: str, log: Written, tries: int, seed: int) -> Times:
    """Its start, and first pages of its API."""
    random_ = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder:
        fleetlog = FleetlogServer(Path(folder) / "home", **on_database(dsn), **OF_SIZE)
        began = time.perf_counter()
        with fleetlog:
            ready_s = time.perf_counter() - began
            assert fleetlog.client.get("/ready").status_code == 200
            with closing(HTTPConnection("127.0.0.1", fleetlog.port, timeout=60)) as connection:

                def got(path: Callable[[], str]) -> list[float]:
                    return [1000 * answered(connection, path()) for _ in range(WARM_UP + tries)][WARM_UP:]

                return {
                    "list page": got(lambda: "/api/runs?limit=50"),
                    "stream open": got(lambda: f"/api/runs/{some_run(log, random_)}/stream"),
                    "timeline page": got(lambda: f"/api/streams/run:{some_run(log, random_)}/events?limit=500"),
                    "up to ready": [1000 * ready_s],
                }


def answered(connection: HTTPConnection, path: str) -> float:
    """Seconds until the first byte of a successful answer's body; it is read to its end."""
    began = time.perf_counter()
    connection.request("GET", path, headers={"host": "localhost"})
    response = connection.getresponse()
    body: Any = response.read(1)
    took = time.perf_counter() - began
    body += response.read()
    assert response.status == 200, (path, response.status, body)
    return took


def some_run(log: Written, random_: random.Random) -> str:
    return f"run-{random_.randrange(RUNS_EACH * log.sessions)}"
