"""Three workers, many runs over many sessions; random workers are killed all the time, Postgres is restarted once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.embedded.postgres import EmbeddedPostgres
from tests.support.async_run import run
from tests.support.fleetlog_parts import Installation, installation
from tests.support.samples import samples

WORKERS = 3
KILL_EVERY = 6
"""Runs that have ended between two kills: by the clock, a machine that is slow would never get anywhere."""
PATIENCE_S = 180
STANDING: tuple[LiteralString, ...] = (
    "SELECT now(), max(position) FROM events",
    "SELECT * FROM process_manager_checkpoint",
    "SELECT * FROM run_queue WHERE state <> 'done'",
    "SELECT * FROM effects WHERE state NOT IN ('done', 'obsolete')",
    "SELECT * FROM worker_places",
    "SELECT position, stream, seq, type, recorded_at FROM events ORDER BY position DESC LIMIT 20",
    (
        "SELECT events.position, stream, seq, type, recorded_at FROM events JOIN run_queue ON stream = 'run:' || run_id"
        " WHERE state = 'leased' ORDER BY events.position DESC LIMIT 60"
    ),
    "SELECT pid, state, wait_event, query_start, left(query, 100) FROM pg_stat_activity WHERE datname IS NOT NULL",
)


@contextmanager
def own_postgres(home: Path) -> Iterator[tuple[EmbeddedPostgres, str]]:
    server = EmbeddedPostgres(home)
    dsn = run(server.start(), timeout=250)
    try:
        yield server, dsn
    finally:
        run(server.stop())


def ended(parts: Installation, at_least: int) -> int:
    """How many runs have ended, once there are `at_least` so many. Nobody tells the test, so the log is asked."""
    statement = "SELECT count(*) FROM events WHERE type = 'run.finished'"
    seen, deadline = -1, time.monotonic() + PATIENCE_S
    while (now := int(parts.rows(statement)[0][0])) < at_least:
        if now > seen:
            seen, deadline = now, time.monotonic() + PATIENCE_S
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{now} of {at_least} ended, no more for long\n{standing(parts)}\n{parts.worker_log()}"
            )
        time.sleep(0.1)
    return now


def standing(parts: Installation) -> str:
    """What is still to be done, who holds it, and how far the process managers have got."""
    return "\n".join(str(row) for statement in STANDING for row in parts.rows(statement))


def of_run(n: int, sessions: int) -> dict[str, Any]:
    """A worker that dies before the agent has started costs its runs an attempt: here many do."""
    return {"runId": f"r{n}", "sessionId": f"s{n % sessions}", "maxAttempts": 50}


def assert_ran_once(parts: Installation, run_id: str, session_id: str) -> None:
    events = parts.events(f"run:{run_id}")
    types = [event["type"] for event in events]
    assert types.count("run.finished") == 1, types
    assert types[-1] == "run.finished"
    assert events[-1]["payload"]["outcome"] == "succeeded", [(event["type"], event["payload"]) for event in events]
    parts.assert_log_equals_journals(run_id, session_id)


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_many_runs_of_many_sessions_end_once_and_in_order_while_workers_die(
    tmp_path_factory: pytest.TempPathFactory, bucket: ObjectStoreAccess
) -> None:
    folder, chance, kills = tmp_path_factory.mktemp("many"), samples().chance("dying workers"), 0
    runs, sessions = samples().size(whole=200, sample=60), samples().size(whole=40, sample=15)
    fewest_kills = runs // 30  # many may end while the next worker starts
    limits = {"RUN_QUEUE_LOCK_MS": "5000", "MAX_STARTING": "4", "RUN_QUEUE_RETRY_DELAY_MS": "500"}
    with own_postgres(folder / "pg") as (server, dsn), installation(folder, dsn, bucket, **limits) as parts:
        alive = [parts.worker() for _ in range(WORKERS)]
        ids = [parts.api.enqueued(f"echo {n} >> order; echo done {n}", **of_run(n, sessions)) for n in range(runs)]
        done, restarted = 0, False
        while (done := ended(parts, min(done + KILL_EVERY, runs))) < runs:
            if done >= runs // 2 and not restarted:
                run(server.stop())
                run(server.start(), timeout=250)
                restarted = True
            victim = chance.randrange(WORKERS)
            alive[victim].kill()
            alive[victim] = parts.worker()
            kills += 1

        assert kills >= fewest_kills
        for n, run_id in enumerate(ids):
            assert_ran_once(parts, run_id, f"s{n % sessions}")
        for session in range(sessions):
            order = (parts.api.worker_folder(f"s{session}") / "workspace/order").read_text().split()
            assert order == [str(n) for n in range(runs) if n % sessions == session]
