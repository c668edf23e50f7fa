"""How much work the tables hold and how long it has waited, for the metrics."""

from collections.abc import Sequence

import msgspec

import sql
from infrastructure.postgres.connections import Pool


class WorkAges(msgspec.Struct, frozen=True):
    """What alerts look at, in the order of the columns of work_ages.sql."""

    oldest_due_run_seconds: float = 0.0
    oldest_due_effect_seconds: float = 0.0
    expired_run_leases: int = 0
    expired_effect_leases: int = 0
    open_questions: int = 0
    failed_sync_workers: int = 0
    queue_paused: bool = False


class WorkStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """`effects`, `queued_runs`: (state, number) of those that are not done. `index_lag_*`: of the index of the log;
    `observed_lag_*`: of the observer of the log."""

    effects: Sequence[tuple[str, int]]
    queued_runs: Sequence[tuple[str, int]]
    alerts: WorkAges
    index_lag_events: int
    index_lag_seconds: float
    observed_lag_events: int = 0
    observed_lag_seconds: float = 0.0


class PostgresWorkStatistics:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> WorkStatistics:
        async with self._pool.connection() as connection:
            counts = await (await connection.execute(sql.query("work_counts"))).fetchall()
            alerts = await (await connection.execute(sql.query("work_ages"))).fetchone()
            events, seconds = await (await connection.execute(sql.query("search/lag"))).fetchone() or (0, 0.0)
            observed = await (await connection.execute(sql.query("observation/lag"))).fetchone() or (0, 0.0)
        return WorkStatistics(
            effects=[(state, count) for work, state, count in counts if work == "effects"],
            queued_runs=[(state, count) for work, state, count in counts if work == "run_queue"],
            alerts=WorkAges(*(alerts or ())),
            index_lag_events=events,
            index_lag_seconds=seconds,
            observed_lag_events=observed[0],
            observed_lag_seconds=observed[1],
        )
