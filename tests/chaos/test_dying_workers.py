"""Three workers, many runs over many sessions; workers are killed at random, and Postgres is restarted once."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.embedded.postgres import EmbeddedPostgres
from tests.support.async_run import run
from tests.support.fleetlog_parts import Installation, installation

WORKERS = 3


@contextmanager
def own_postgres(home: Path) -> Iterator[tuple[EmbeddedPostgres, str]]:
    server = EmbeddedPostgres(home)
    dsn = run(server.start(), timeout=90)
    try:
        yield server, dsn
    finally:
        run(server.stop())


def kill_now_and_then(
    parts: Installation, every_s: float, seed: int, over: threading.Event, database_is_up: threading.Lock
) -> int:
    """Kill a random worker -9 and start another in its place; how often. A worker needs its database to start."""
    chance, kills, alive = random.Random(seed), 0, list(parts.workers)
    while not over.wait(every_s):
        victim = chance.randrange(WORKERS)
        alive[victim].kill()
        with database_is_up:
            alive[victim] = parts.worker()
        kills += 1
    return kills


def survive(
    folder: Path, bucket: ObjectStoreAccess, *, runs: int, sessions: int, kill_every_s: float, patience_s: float
) -> None:
    """Queue them all while workers die, restart Postgres half way, and see that each ran once, in order."""
    over, database_is_up = threading.Event(), threading.Lock()
    limits = {"RUN_QUEUE_LOCK_MS": "3000", "MAX_STARTING": "4", "RUN_QUEUE_RETRY_DELAY_MS": "500"}
    with (
        own_postgres(folder / "pg") as (server, dsn),
        installation(folder, dsn, bucket, **limits) as parts,
        ThreadPoolExecutor(1) as pool,
    ):
        for _ in range(WORKERS):
            parts.worker()
        reaper = pool.submit(kill_now_and_then, parts, kill_every_s, 7, over, database_is_up)
        try:
            ids = [
                parts.api.enqueued(f"echo {n} >> order; echo done {n}", runId=f"r{n}", sessionId=f"s{n % sessions}")
                for n in range(runs)
            ]
            until_ended(parts, ids[: runs // 2], patience_s)
            with database_is_up:
                run(server.stop())
                run(server.start(), timeout=90)
            until_ended(parts, ids, patience_s)
        finally:
            over.set()
        assert reaper.result() > 0
        for n, run_id in enumerate(ids):
            assert_ran_once(parts, run_id, f"s{n % sessions}")
        for session in range(sessions):
            order = (parts.api.worker_folder(f"s{session}") / "workspace/order").read_text().split()
            assert order == [str(n) for n in range(runs) if n % sessions == session]


def until_ended(parts: Installation, ids: list[str], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    statement = "SELECT count(*) FROM events WHERE type = 'run.finished'"
    while parts.rows(statement)[0][0] < len(ids):
        assert time.monotonic() < deadline, f"{parts.rows(statement)} of {len(ids)} ended\n{parts.worker_log()}"
        time.sleep(0.5)


def assert_ran_once(parts: Installation, run_id: str, session_id: str) -> None:
    events = parts.events(f"run:{run_id}")
    types = [event["type"] for event in events]
    assert types.count("run.finished") == 1, types
    assert types[-1] == "run.finished"
    assert events[-1]["payload"]["outcome"] == "succeeded", events[-1]
    parts.assert_log_equals_journals(run_id, session_id)


@pytest.mark.draft
@pytest.mark.timeout(300)
def test_runs_end_once_and_in_order_while_workers_die(
    tmp_path_factory: pytest.TempPathFactory, bucket: ObjectStoreAccess
) -> None:
    survive(tmp_path_factory.mktemp("few"), bucket, runs=12, sessions=3, kill_every_s=3, patience_s=120)


@pytest.mark.draft
@pytest.mark.timeout(1800)
def test_200_runs_of_40_sessions_end_once_and_in_order_while_workers_die(
    tmp_path_factory: pytest.TempPathFactory, bucket: ObjectStoreAccess
) -> None:
    survive(tmp_path_factory.mktemp("many"), bucket, runs=200, sessions=40, kill_every_s=5, patience_s=800)
