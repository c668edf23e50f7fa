"""When an executor ends by itself: it has had nothing to do for a while, or its state folder is gone."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

_CHECK_S = 5.0
_log = logging.getLogger("fleetlog.executor")


async def first_ending(serving: asyncio.Task[None], endings: Mapping[str, Coroutine[Any, Any, object]]) -> None:
    """Wait until the server or one of `endings`, given by the reason it stands for, has ended, and log the reason."""
    reasons = {asyncio.create_task(ending): reason for reason, ending in endings.items()}
    try:
        done, _ = await asyncio.wait([serving, *reasons], return_when=asyncio.FIRST_COMPLETED)
        _log.info("ending: %s", ", ".join(reasons.get(task, "server ended") for task in done))
    finally:
        for task in reasons:
            task.cancel()


async def until_idle(limit_s: int, *, busy: Callable[[], object], idle_s: Callable[[], float]) -> None:
    """Wait until it is not `busy` and `idle_s` says that the last call ended `limit_s` seconds ago; forever if
    `limit_s` is 0."""
    if limit_s <= 0:
        await asyncio.Event().wait()
    while busy() or idle_s() < limit_s:  # noqa: ASYNC110  there is nothing to wait for but time
        await asyncio.sleep(min(max(limit_s - idle_s(), 0.05), limit_s))


async def until_removed(state_dir: Path) -> None:
    """Wait until the state folder is deleted: then nothing can be recorded, and the runtime has lost this process."""
    while state_dir.exists():  # noqa: ASYNC110, ASYNC240  not every file system notifies; a look costs microseconds
        await asyncio.sleep(_CHECK_S)
