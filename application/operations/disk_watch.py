"""Looks after containers that have written more than they may, where their engine has no quotas: the run that fills the
disk is ended, the workspace is synced, the container is stopped."""

import asyncio
import logging
import time
from collections.abc import Callable

from application.command_context import CommandContext
from application.ports.worker_runtime import OversizedContainer, RuntimeDown, RuntimeUnavailable, WorkerRuntime
from application.repairs.kinds import FULL_DISK
from application.repairs.said import UNCOUNTED, Found, Repairs
from application.runs.commands import Runs
from application.sessions.commands import Sessions
from domain.errors import DomainError
from domain.run.commands import AbortRun
from domain.run.values import RunError
from domain.session.commands import LimitDisk

INTERVAL_S = 15.0
SHARE = 10
"""A round is followed by a pause of so many times its length: measuring costs the machine's disk."""
log = logging.getLogger(__name__)


class DiskWatch:
    """May run in several processes at once: what is decided already is not decided again."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        runs: Runs,
        runtime: WorkerRuntime,
        new_id: Callable[[], str],
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self._sessions, self._runs, self._runtime, self._new_id = sessions, runs, runtime, new_id

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.look()
            except RuntimeDown as error:
                log.debug("containers can't be measured now: %s", error)  # the outage itself is said elsewhere, once
            except RuntimeUnavailable as error:
                log.warning("containers can't be measured now: %s", error)
            except Exception:
                log.exception("containers could not be measured; it is tried again")
            await asyncio.sleep(max(INTERVAL_S, SHARE * (time.monotonic() - began)))

    async def look(self) -> None:
        for found in await self._runtime.oversized():
            try:
                await self._limit(found)
            except DomainError as error:
                log.warning("session %s has written too much, and can't be stopped: %s", found.session_id, error)

    async def _limit(self, found: OversizedContainer) -> None:
        command_id = f"disk-watch/{self._new_id()}"
        context = CommandContext(actor="disk-watch", command_id=command_id, correlation_id=command_id)
        command = LimitDisk(
            generation=found.generation,
            used_bytes=found.used_bytes,
            limit_bytes=found.limit_bytes,
            sync_id=f"disk-{self._new_id()}",
        )
        handled = await self._sessions.handle(found.session_id, command, context)
        worker = handled.state
        if worker.disk_stop:
            for run_id in worker.attached_runs:
                await self._runs.handle(run_id, AbortRun(error=_error(found)), context)
        if handled.events:
            about = {"usedBytes": found.used_bytes, "limitBytes": found.limit_bytes, "runIds": worker.attached_runs}
            limited = Found(session_id=found.session_id, about=about)
            self._repairs.of_round(FULL_DISK, context, limited)


def _error(found: OversizedContainer) -> RunError:
    message = (
        f"the session's container has written {found.used_bytes >> 20} MiB, {found.limit_bytes >> 20} MiB are allowed "
        "(WORKER_DISK_MB): its agent was ended; the workspace is synced, and the container stopped. Delete what is not "
        "needed, or raise the limit"
    )
    return RunError(error_class="environment", message=message)
