"""Verification of the hash chain of a mixed log, as `fleetlog verify` does it, against one SQL statement.

Ours reads pages with binary COPY and checks every payload, hash, seq, position and time in a process of its own; its
start and the Merkle root at the end are part of the time. The baseline lets the database check all payloads and
hashes in one statement with a window function: no progress, no bound on its memory, and it trusts the server's own
functions.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import psycopg
import uvloop
from _measuring import CommandLine, conclude, machine, postgres, show
from _mixed_log import fill

import sql
from infrastructure.audit.log_audit import PostgresLogAudit
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.migrations import migrate
from infrastructure.postgres.read_models.past_versions import PastVersions
from interfaces.bootstrap.reads import projection_control


async def filled(dsn: str, events: int) -> int:
    await migrate(dsn)
    async with GroupCommitEventStore(dsn) as store:
        return await fill(store, events)


async def walked(dsn: str) -> float:
    """Seconds."""
    async with GroupCommitEventStore(dsn) as store, await open_pool(dsn, size=2) as pool:
        audit = PostgresLogAudit(
            dsn,
            pool,
            PastVersions(pool, projection_control(store)),
            secret=b"bench",
            installation="bench",
            clock=lambda: datetime.now(UTC),
        )
        began = time.perf_counter()
        found = await audit.verify(read_models=False)
        elapsed = time.perf_counter() - began
    assert found.ok, found
    return elapsed


def in_sql(dsn: str) -> float:
    """Seconds."""
    with psycopg.connect(dsn) as connection:
        began = time.perf_counter()
        row = connection.execute(sql.query("audit/chain_in_sql")).fetchone()
    assert row == (0,)
    return time.perf_counter() - began


def run(events: int, rounds: int) -> dict[str, Any]:
    with postgres() as server:
        host = machine(server)
        dsn = server.create_database()
        count = uvloop.run(filled(dsn, events))
        ours, baseline = [], []
        for _ in range(rounds):
            baseline.append(count / in_sql(dsn))
            ours.append(count / asyncio.run(walked(dsn)))
    mine, theirs = statistics.median(ours), statistics.median(baseline)
    rows = [
        (
            name,
            f"{statistics.median(rates):,.0f}",
            f"{statistics.median(rates) / theirs:.2f}x",
            " ".join(f"{rate:,.0f}" for rate in rates),
        )
        for name, rates in (("one SQL statement", baseline), ("fleetlog verify", ours))
    ]
    title = f"verify: {count:,} events, medians of {rounds} rounds"
    show(title, ("variant", "events/s", "ratio", "rounds"), rows, host)
    return {
        "bench": "verify",
        "rounds": rounds,
        "ours": round(mine),
        "baseline": round(theirs),
        "ratio": round(mine / theirs, 2),
        "events": count,
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("verify", __doc__, rounds=3)
    parser.add_size("--events", 300_000, toy=2_000)
    arguments = parser.parse()
    conclude(run(arguments.events, arguments.rounds), as_json=arguments.json)


if __name__ == "__main__":
    main()
