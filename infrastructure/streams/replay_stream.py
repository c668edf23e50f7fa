"""A finished run sent again with the original intervals between its events, divided by a speed."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.streams.client_stream import LARGE_READ_BYTES, LogUnavailable
from infrastructure.streams.run_frames import HEARTBEAT, RunFrames

RETRY_S = 1.0


class RunRows(Protocol):
    async def run_rows(self, run_id: str, after_seq: int, max_bytes: int) -> Sequence[StoredRow]:
        """A page of the run's events after a seq, in order; empty at the end. Raises LogUnavailable."""
        ...


class ReplayStream:
    """Implements the ByteStream port. `speed` 2 is twice as fast; 0 sends all at once. Holds one page at a time."""

    def __init__(
        self,
        log: RunRows,
        frames: RunFrames,
        run_id: str,
        *,
        after: int,
        last_seq: int,
        speed: float,
        on_close: Callable[["ReplayStream"], None],
    ) -> None:
        self._log, self._frames, self._run_id = log, frames, run_id
        self._after, self._last_seq, self._speed, self._on_close = after, last_seq, speed, on_close
        self._rows: deque[StoredRow] = deque()
        self._woken = asyncio.Event()
        self._began_at = self._began_with = math.nan
        self._handed_out_at: float | None = None
        self._heartbeat_due = self._ending = self._closed = self._over = False
        self._reader: asyncio.Task[object] | None = None
        self.dropped = False

    async def next_body(self) -> bytes:
        self._reader, self._handed_out_at = asyncio.current_task(), None
        loop = asyncio.get_running_loop()
        while not self._closed and not self._ending and not self._over:
            if not self._rows:
                await self._read()
                continue
            wait_s = self._due(self._rows[0], loop.time()) - loop.time()
            if wait_s > 0:
                await self._sleep(wait_s)
                if self._heartbeat_due:
                    self._heartbeat_due = False
                    return self._handed(HEARTBEAT, loop.time())
                continue
            return self._handed(self._take_due(loop.time()), loop.time())
        if self._over and not self._closed and not self._ending:
            self._ending = True
            return self._frames.closed
        return b""

    def heartbeat(self, now: float, stuck_after: float) -> bool:
        """As ClientStream.heartbeat."""
        self._heartbeat_due = True
        self._woken.set()
        return self._handed_out_at is None or now - self._handed_out_at < stuck_after

    def drop(self) -> None:
        """As ClientStream.drop."""
        self.dropped = True
        if self._reader is not None:
            self._reader.cancel()

    def end(self) -> None:
        """Send nothing more: the server shuts down."""
        self._ending = True
        self._woken.set()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._rows.clear()
            self._woken.set()
            self._on_close(self)

    async def _read(self) -> None:
        try:
            rows = await self._log.run_rows(self._run_id, self._after, LARGE_READ_BYTES)
        except LogUnavailable:  # the client waits, as with a live stream
            await self._sleep(RETRY_S)
            return
        rows = [row for row in rows if row.seq <= self._last_seq]
        if rows:
            self._after = rows[-1].seq
        self._rows += rows
        self._over = not rows

    def _due(self, row: StoredRow, now: float) -> float:
        """When a row is to be sent, in seconds of the event loop's clock."""
        happened = row.occurred_at.timestamp()
        if math.isnan(self._began_at):
            self._began_at, self._began_with = now, happened
        return self._began_at + (happened - self._began_with) / self._speed if self._speed else now

    def _take_due(self, now: float) -> bytes:
        body = bytearray()
        while self._rows and self._due(self._rows[0], now) <= now and len(body) < LARGE_READ_BYTES:
            body += self._frames.stored(self._rows.popleft())
        return bytes(body)

    async def _sleep(self, seconds: float) -> None:
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def _handed(self, body: bytes, now: float) -> bytes:
        self._handed_out_at = now
        return body
