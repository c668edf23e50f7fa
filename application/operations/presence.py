"""A working process says that it is alive and what it finds down, for `/ready` of all processes; and looks whether the
worker runtime can be reached while nobody else does."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from application.outages import DOCKER, Outages
from application.ports.worker_processes import WorkerProcesses
from application.ports.worker_runtime import RuntimeDown, RuntimeUnavailable

INTERVAL_S = 10.0
CHECK_S = 15.0
"""With the interval less than the time after which a silent process counts as dead."""
END_S = 2.0
log = logging.getLogger(__name__)


class Presence:
    """`check_runtime` raises RuntimeDown if the runtime can't be reached."""

    def __init__(
        self,
        *,
        processes: WorkerProcesses,
        outages: Outages,
        check_runtime: Callable[[], Awaitable[None]],
        owner: str,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._processes, self._outages, self._check_runtime = processes, outages, check_runtime
        self._owner, self._interval_s = owner, interval_s
        self._looked = True

    async def run(self) -> None:
        """Until cancelled; then it says that this process has ended."""
        told = True
        try:
            while True:
                try:
                    await self._look()
                    await self._processes.seen(self._owner, self._outages.down())
                    told = True
                except Exception:  # the database is away: another look finds it
                    if told:
                        log.warning("this process can't say that it is alive; it tries again", exc_info=True)
                    told = False
                await asyncio.sleep(self._interval_s)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(END_S):
                    await self._processes.ended(self._owner)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(CHECK_S):
                await self._check_runtime()
        except RuntimeDown as error:
            self._outages.failed(DOCKER, str(error))
        except TimeoutError:
            self._outages.failed(DOCKER, f"no answer within {CHECK_S:g} s")
        except RuntimeUnavailable:
            return  # it answers, in its way
        except Exception:  # it shows neither, and this process lives
            if self._looked:
                log.exception("it can't be told whether the worker runtime can be reached")
            self._looked = False
        else:
            self._looked = True
            self._outages.worked(DOCKER)
