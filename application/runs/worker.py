"""The run worker: claims runs from the queue, executes them under their leases, and drains on request."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from application.aggregates.reconcile_log import TakeoverLog
from application.diagnostic_context import diagnostic_context
from application.leases import ClaimLoop, LeaseLost, released_if_cancelled, under_lease
from application.outages import DependencyDown
from application.ports.operations import Takeover
from application.ports.run_queue import DrainCounts, RunLease, RunQueue
from application.ports.telemetry import NO_SPANS, Spans
from application.repairs.kinds import STALE_RUN
from application.repairs.said import UNCOUNTED, Found, Repairs
from application.runs.execution import RunExecutions
from domain.run.state import Finished, Queued, Run

log = logging.getLogger(__name__)
Slot = Literal["run", "ending"]
ENDING_AT_ONCE = 8
"""Parked runs that were canceled or have run out of time, say. Ending them takes a moment: it doesn't wait for the end
of other runs, however many are executed."""


class RunWorker:
    """`run` goes on until it is cancelled; the leases of runs under way are released then, for others to claim."""

    def __init__(
        self,
        *,
        queue: RunQueue,
        executions: RunExecutions,
        takeover_log: TakeoverLog,
        owner: str,
        lease: timedelta,
        retry_delay: timedelta,
        concurrency: int,
        spans: Spans = NO_SPANS,
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self._spans = spans
        self._queue, self._executions, self._owner = queue, executions, owner
        self._takeover_log = takeover_log
        self._lease, self._retry_delay = lease, retry_delay
        self._loop = ClaimLoop[Slot, Run | None](
            "runs", claim=self._claim, wait_for_work=queue.wait_for_work, slots={"run": concurrency}
        )
        self._endings = ClaimLoop[Slot, Run | None](
            "endings", claim=self._claim, wait_for_work=queue.wait_for_ending, slots={"ending": ENDING_AT_ONCE}
        )

    @property
    def under_way(self) -> list[str]:
        """The runs that this process executes now."""
        return sorted(name.removeprefix("run ") for name in (*self._loop.under_way, *self._endings.under_way))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._loop.run(), name="runs")
            loops.create_task(self._endings.run(), name="endings of parked runs")

    async def drain(
        self,
        *,
        owner: str = "",
        limit: int,
        lease: timedelta | None = None,
        retry_delay: timedelta | None = None,
        wait_s: float,
    ) -> DrainCounts:
        """Claim at most `limit` due runs, execute them and wait up to `wait_s` seconds for their ends. Those still
        under way then go on, and count only as `claimed`; also those that wait for something are not let go of.
        `owner`, `lease` and `retry_delay` replace the configured ones."""
        duration = self._lease if lease is None else lease
        leases = await self._queue.claim(owner=owner or self._owner, limit=limit, lease=duration)
        delay = self._retry_delay if retry_delay is None else retry_delay
        tasks = [self._start(claimed, duration, delay, parks=False) for claimed in leases]
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
        """Claim at most `limit` runs whose lease has run out, beyond the limit of concurrent runs, resume them where
        the log stands, and wait up to `wait_s` seconds for their ends. Those still under way then go on."""
        leases = await self._queue.claim(owner=self._owner, limit=limit, lease=self._lease, only_stale=True)
        self._say_taken_over(leases, command_id="")
        tasks = [self._start(lease, self._lease, self._retry_delay) for lease in leases]
        if tasks:
            await asyncio.wait(tasks, timeout=wait_s)
        broken_off = sum(task.done() and not task.cancelled() and task.result() is None for task in tasks)
        return Takeover(run_ids=tuple(lease.run_id for lease in leases), broken_off=broken_off)

    async def _claim(self, free: Mapping[Slot, int]) -> Mapping[Slot, int]:
        leases = await self._queue.claim(
            owner=self._owner, limit=free.get("run", 0), ending=free.get("ending", 0), lease=self._lease
        )
        for lease in leases:
            self._start(lease, self._lease, self._retry_delay)
        if taken_over := [lease for lease in leases if lease.taken_from]:
            command_id = f"takeover/{taken_over[0].run_id}/{taken_over[0].generation}"
            self._say_taken_over(taken_over, command_id=command_id)
            await self._takeover_log.record(
                "runs",
                [lease.run_id for lease in taken_over],
                actor=f"run-worker/{self._owner}",
                command_id=command_id,
            )
        return Counter(_slot(lease) for lease in leases)

    def _say_taken_over(self, leases: Sequence[RunLease], *, command_id: str) -> None:
        found = [
            Found(
                run_id=lease.run_id,
                trace_id=lease.trace_id,
                about={"takenFrom": lease.taken_from, "leaseGeneration": lease.generation},
            )
            for lease in leases
        ]
        self._repairs.made(STALE_RUN, *found, command_id=command_id)

    def _start(
        self, lease: RunLease, duration: timedelta, retry_delay: timedelta, *, parks: bool = True
    ) -> asyncio.Task[Run | None]:
        work = self._execute(lease, duration, retry_delay, parks=parks)
        slot = _slot(lease)
        loop = self._endings if slot == "ending" else self._loop
        return loop.start(work, slot, name=f"run {lease.run_id}")

    async def _execute(
        self, lease: RunLease, duration: timedelta, retry_delay: timedelta, *, parks: bool
    ) -> Run | None:
        with diagnostic_context(trace_id=lease.trace_id, span_id=self._spans.id_of(lease.name), run_id=lease.run_id):
            return await self._execute_or_give_back(lease, duration, retry_delay, parks=parks)

    async def _execute_or_give_back(
        self, lease: RunLease, duration: timedelta, retry_delay: timedelta, *, parks: bool
    ) -> Run | None:
        try:
            async with released_if_cancelled(lambda: self._queue.release(lease, timedelta())):
                return await self._execute_leased(lease, duration, retry_delay, parks=parks)
        except DependencyDown as down:
            await self._queue.release(lease, timedelta(seconds=down.retry_in_s), begun=False)
            return None
        except Exception:
            log.exception("run %s: its execution broke off; it is taken up again", lease.run_id)
            await self._give_back(lease)
            return None

    async def _execute_leased(
        self, lease: RunLease, duration: timedelta, retry_delay: timedelta, *, parks: bool
    ) -> Run | None:
        try:
            return await under_lease(
                self._executions.execute(lease, retry_delay=retry_delay, parks=parks),
                renew=lambda: self._queue.renew(lease, duration),
                duration=duration,
                name=f"execute {lease.run_id}",
            )
        except LeaseLost:
            log.warning("run %s: its lease was lost", lease.run_id)
            await self._executions.record_lost(lease)
            return None

    async def _give_back(self, lease: RunLease) -> None:
        try:
            await self._queue.release(lease, self._retry_delay)
        except Exception:
            log.exception("run %s: it could not be given back; its lease will run out", lease.run_id)


def _slot(lease: RunLease) -> Slot:
    return "ending" if lease.ending else "run"


def _outcome(run: Run | None) -> str:
    match run.stage if run else None:
        case Finished(outcome=outcome):
            return outcome
        case Queued():
            return "retried"
        case _:
            return "unfinished"
