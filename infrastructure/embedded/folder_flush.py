"""Makes durable what the embedded S3 server has written. The server answers a PUT once its file is written, not once it
is on the disk: a power cut takes back what the file system has not yet flushed."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import NamedTuple

from application.ports.object_store import ObjectStoreUnavailable
from infrastructure.durable_file import flush_filesystem

TIMEOUT_S = 60.0


class FolderFlush:
    """Flushes the file system of a folder, which stays open until `close`. One flush at a time: callers who come during
    one share the next."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._last: _Flush | None = None

    async def flush(self) -> None:
        """Everything written before this call is durable then. Raises ObjectStoreUnavailable, also after TIMEOUT_S
        seconds."""
        flush = self._last
        if flush is None or flush.begun.is_set():
            begun = Event()
            done = asyncio.get_running_loop().run_in_executor(self._thread, self._flush, begun)
            flush = self._last = _Flush(begun, done)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.shield(flush.done)
        except TimeoutError as error:
            raise ObjectStoreUnavailable(
                f"{self._folder} was not flushed to its disk within {TIMEOUT_S:g} s: the disk is too slow or stuck"
            ) from error
        except OSError as error:
            raise ObjectStoreUnavailable(f"{self._folder} can't be flushed to its disk: {error}") from error

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        os.close(self._fd)

    def _flush(self, begun: Event) -> None:
        begun.set()  # before the flush: whoever comes from now on may have written after its beginning
        flush_filesystem(self._fd)


class _Flush(NamedTuple):
    """`begun`: further callers need another one."""

    begun: Event
    done: asyncio.Future[None]
