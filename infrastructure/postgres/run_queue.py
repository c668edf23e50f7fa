"""The run queue on Postgres: claims with SKIP LOCKED, leases by the database's clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import asdict
from psycopg.rows import dict_row

from application.ports.run_queue import LostRun, QueueItem, RunLease
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.listener import ChannelSignal
from infrastructure.postgres.retrying import rows_of
from infrastructure.postgres.work_table import NextDue

RUN_QUEUE_CHANNEL = "fleetlog_run_queue"


class PostgresRunQueue:
    """`signal` is a subscription to RUN_QUEUE_CHANNEL, `endings` one to PARKED_RUNS_CHANNEL. `max_running`,
    `max_per_user`, `max_per_app` bound the leases of all processes; 0 for the last two: no limit."""

    def __init__(
        self,
        pool: Pool,
        signal: ChannelSignal,
        endings: ChannelSignal,
        *,
        max_running: int = 1000,
        max_per_user: int = 0,
        max_per_app: int = 0,
    ) -> None:
        self._pool, self._next_due, self._endings = pool, NextDue(signal), endings
        self._limits = {"max_running": max_running, "max_per_user": max_per_user, "max_per_app": max_per_app}

    async def claim(
        self, *, owner: str, limit: int, lease: timedelta, ending: int = 0, only_stale: bool = False
    ) -> Sequence[RunLease]:
        asked = {"owner": owner, "limit": limit, "ending": ending, "lease": lease, "only_stale": only_stale}
        arguments = asked | self._limits
        rows = await rows_of(self._pool, "claim_runs", arguments)
        leases: list[RunLease] = []
        for run_id, generation, taken_from, is_ending, trace_id, due_in in rows:
            if run_id is None:
                self._next_due.set(due_in)
            else:
                lease_of_run = RunLease(
                    run_id=run_id,
                    owner=owner,
                    generation=generation,
                    taken_from=taken_from or "",
                    ending=is_ending,
                    trace_id=trace_id or "",
                )
                leases.append(lease_of_run)
        return leases

    async def renew(self, lease: RunLease, duration: timedelta) -> bool:
        arguments = {"run_id": lease.run_id, "generation": lease.generation, "lease": duration}
        return bool(await rows_of(self._pool, "renew_run", arguments))

    async def release(self, lease: RunLease, delay: timedelta, *, begun: bool = True) -> None:
        arguments = {"run_id": lease.run_id, "generation": lease.generation, "delay": delay, "begun": begun}
        await rows_of(self._pool, "release_run", arguments)

    async def item(self, run_id: str) -> QueueItem | None:
        rows = await rows_of(self._pool, "queue_item", {"run_id": run_id}, dict_row)
        if not rows:
            return None
        row = rows[0]
        for column in ("available_at", "lease_expires_at"):
            if isinstance(row[column], datetime):
                row[column] = row[column].isoformat()
        return QueueItem(**row)

    async def missing(self, limit: int) -> Sequence[str]:
        return [run_id for (run_id,) in await rows_of(self._pool, "runs_without_queue_row", {"limit": limit})]

    async def restore(self, lost: LostRun) -> bool:
        share = lost.share
        of_share = {
            "priority": share.rank,
            "share": share.key,
            "app_id": share.app_id,
            "user_login_name": share.user_login_name,
        }
        restored = await rows_of(self._pool, "restore_run", asdict(lost) | of_share)
        if restored:
            await rows_of(self._pool, "line_up_runs", {"run_ids": [lost.run_id]})
        return bool(restored)

    async def line_up_lost(self, limit: int) -> Sequence[str]:
        lost = [run_id for (run_id,) in await rows_of(self._pool, "lost_runs", {"limit": limit})]
        if lost:
            await rows_of(self._pool, "line_up_runs", {"run_ids": lost})
        await rows_of(self._pool, "forget_shares", {})
        return lost

    async def wait_for_work(self, timeout_s: float) -> None:
        await self._next_due.wait(timeout_s)

    async def wait_for_ending(self, timeout_s: float) -> None:
        await self._endings.wait(timeout_s)
