"""The resident worker: claims runs from the queue, executes them under their leases, and drains on request."""

import asyncio
import contextlib
import logging
from collections import Counter
from datetime import timedelta

from application.cancellation import end_tasks
from application.run_execution import RunExecutions
from application.run_queue import DrainCounts, RunLease, RunQueue
from domain.run.state import Finished, Queued, Run

log = logging.getLogger(__name__)
IDLE_WAIT_S = 5.0
PAUSE_AFTER_ERROR_S = 1.0


class RunWorker:
    """`run` works until it is cancelled; the leases of runs under way are given back then, and others go on."""

    def __init__(
        self,
        *,
        queue: RunQueue,
        executions: RunExecutions,
        owner: str,
        lease: timedelta,
        concurrency: int = 32,
    ) -> None:
        self._queue, self._executions, self._owner = queue, executions, owner
        self._lease, self._concurrency = lease, concurrency
        self._tasks: set[asyncio.Task[Run | None]] = set()

    @property
    def under_way(self) -> int:
        """How many runs this process executes now."""
        return len(self._tasks)

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._claim_some()
                except Exception:
                    log.exception("runs could not be claimed; trying again")
                    await asyncio.sleep(PAUSE_AFTER_ERROR_S)
        finally:
            await end_tasks(*self._tasks)

    async def drain(
        self, *, owner: str, limit: int, lease: timedelta, retry_delay: timedelta, wait_s: float
    ) -> DrainCounts:
        """Claim at most `limit` due runs and execute them to their end, or as far as `wait_s` allows: what is still
        under way then goes on, and is in `claimed` alone. `retry_delay` replaces the configured one."""
        leases = await self._queue.claim(owner=owner, limit=limit, lease=lease)
        executions = self._executions.with_retry_delay(retry_delay)
        tasks = [self._start(lease_, lease, executions) for lease_ in leases]
        if tasks:
            await asyncio.wait(tasks, timeout=wait_s)
        ended = Counter(_outcome(task.result()) for task in tasks if task.done() and not task.cancelled())
        return DrainCounts(
            claimed=len(leases),
            succeeded=ended["succeeded"],
            retried=ended["retried"],
            failed=ended["failed"],
            canceled=ended["canceled"],
        )

    async def _claim_some(self) -> None:
        free = self._concurrency - len(self._tasks)
        if free <= 0:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return
        leases = await self._queue.claim(owner=self._owner, limit=free, lease=self._lease)
        for lease in leases:
            self._start(lease, self._lease, self._executions)
        if not leases:
            await self._queue.wait_for_work(IDLE_WAIT_S)

    def _start(self, lease: RunLease, duration: timedelta, executions: RunExecutions) -> asyncio.Task[Run | None]:
        task = asyncio.create_task(self._execute(lease, duration, executions), name=f"run {lease.run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _execute(self, lease: RunLease, duration: timedelta, executions: RunExecutions) -> Run | None:
        try:
            return await self._execute_leased(lease, duration, executions)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._queue.release(lease, timedelta()), 5)
            raise
        except Exception:
            log.exception("run %s: its execution broke off; it is taken up again", lease.run_id)
            await self._give_back(lease)
            return None

    async def _execute_leased(self, lease: RunLease, duration: timedelta, executions: RunExecutions) -> Run | None:
        work = asyncio.create_task(executions.execute(lease), name=f"execute {lease.run_id}")
        try:
            while True:
                done, _ = await asyncio.wait({work}, timeout=duration.total_seconds() / 3)
                if done:
                    return work.result()
                if not await self._queue.renew(lease, duration) and not work.done():
                    log.warning("run %s: its lease was lost", lease.run_id)
                    return None
        finally:
            await end_tasks(work)

    async def _give_back(self, lease: RunLease) -> None:
        try:
            await self._queue.release(lease, self._executions.retry_delay)
        except Exception:
            log.exception("run %s: it could not be given back; its lease will run out", lease.run_id)


def _outcome(run: Run | None) -> str:
    match run.stage if run else None:
        case Finished(outcome=outcome):
            return outcome
        case Queued():
            return "retried"
        case _:
            return "unfinished"
