"""The resident worker: claims runs from the queue, executes them under their leases, and drains on request."""

import asyncio
import contextlib
import logging
from collections import Counter
from datetime import timedelta

import msgspec

from application.ending_tasks import end_tasks
from application.findings import Takeovers
from application.run_execution import RunExecutions
from application.run_queue import DrainCounts, RunLease, RunQueue
from domain.run.state import Finished, Queued, Run

log = logging.getLogger(__name__)
IDLE_WAIT_S = 5.0
PAUSE_AFTER_ERROR_S = 1.0
RELEASE_TIMEOUT_S = 5.0


class Takeover(msgspec.Struct, frozen=True, kw_only=True):
    """Stale runs that were claimed; of `broken_off` of them the execution broke off again."""

    run_ids: tuple[str, ...] = ()
    broken_off: int = 0


class RunWorker:
    """`run` works until it is cancelled; the leases of runs under way are given back then, and others go on."""

    def __init__(
        self,
        *,
        queue: RunQueue,
        executions: RunExecutions,
        takeovers: Takeovers,
        owner: str,
        lease: timedelta,
        concurrency: int = 32,
    ) -> None:
        self._queue, self._executions, self._owner = queue, executions, owner
        self._takeovers = takeovers
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
            await end_tasks(self._tasks, again_after_s=RELEASE_TIMEOUT_S + 1)

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

    async def take_over(self, *, limit: int, wait_s: float) -> Takeover:
        """Claim at most `limit` runs whose lease has run out, whatever else this process executes, and go on with them
        where the log stands, as far as `wait_s` allows; what is still under way then goes on."""
        leases = await self._queue.claim(owner=self._owner, limit=limit, lease=self._lease, only_stale=True)
        tasks = [self._start(lease, self._lease, self._executions) for lease in leases]
        if tasks:
            await asyncio.wait(tasks, timeout=wait_s)
        broken_off = sum(task.done() and not task.cancelled() and task.result() is None for task in tasks)
        return Takeover(run_ids=tuple(lease.run_id for lease in leases), broken_off=broken_off)

    async def _claim_some(self) -> None:
        free = self._concurrency - len(self._tasks)
        if free <= 0:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return
        leases = await self._queue.claim(owner=self._owner, limit=free, lease=self._lease)
        for lease in leases:
            self._start(lease, self._lease, self._executions)
        if taken_over := [lease for lease in leases if lease.taken_from]:
            await self._takeovers.record(
                "runs",
                [lease.run_id for lease in taken_over],
                actor=f"run-worker/{self._owner}",
                command_id=f"takeover/{taken_over[0].run_id}/{taken_over[0].generation}",
            )
        if len(leases) < free:
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
                async with asyncio.timeout(RELEASE_TIMEOUT_S):
                    await self._queue.release(lease, timedelta())
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
                    await end_tasks([work])
                    await executions.record_lost(lease)
                    return None
        finally:
            await end_tasks([work])

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
