"""A process of the load benchmark: opens its connections, then commands one run several times, and prints the times.

Arguments: the side (`ours`, `ours-without-snapshots` or a name of BASELINES), the DSN, the run, the number of commands.
Prints a JSON array of milliseconds; the first is for a process that has nothing of the run in memory.
"""

import sys
import time
from uuid import uuid4

import msgspec
import uvloop
from _load_history import OPENING, aggregates, command_context, new_event
from _load_library import BASELINES, COMMAND

from domain.run.state import Run
from infrastructure.postgres.event_store.aggregate_snapshots import PostgresAggregateSnapshots, open_snapshot_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore

MILLISECONDS = 1000


async def ours(dsn: str, run_id: str, commands: int, *, with_snapshots: bool) -> list[float]:
    times = []
    async with GroupCommitEventStore(dsn) as store:
        pool = await open_snapshot_pool(dsn)
        async with PostgresAggregateSnapshots(pool, state_type=Run) as snapshots:
            await store.append(f"run:{uuid4().hex}", 0, [new_event(OPENING[0], "connect")])
            await store.last_position()
            async with pool.connection():
                pass
            runs = aggregates(store, snapshots if with_snapshots else None)
            for _ in range(commands):
                context = command_context(uuid4().hex)
                began = time.perf_counter()
                await runs.handle(run_id, COMMAND, context)
                times.append((time.perf_counter() - began) * MILLISECONDS)
        await pool.close()
    return times


def library(name: str, dsn: str, run_id: str, commands: int) -> list[float]:
    side, times = BASELINES[name](dsn), []
    side.connect()
    for _ in range(commands):
        began = time.perf_counter()
        side.handle(run_id)
        times.append((time.perf_counter() - began) * MILLISECONDS)
    side.close()
    return times


def main() -> None:
    side, dsn, run_id, commands = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    if side in BASELINES:
        times = library(side, dsn, run_id, commands)
    else:
        times = uvloop.run(ours(dsn, run_id, commands, with_snapshots=side == "ours"))
    print(msgspec.json.encode(times).decode())


if __name__ == "__main__":
    main()
