"""One client's stream: stored events first, then live ones, without a gap, a repeat or a reorder.

A stream either reads the log at its client's pace, or is attached to its topic, which pushes frames into its queue.
The topic exists before the first read. After a read that reached the end of the log, the stream attaches if the topic
has passed on nothing later; otherwise it reads on. A stream whose queue is full is detached and reads the log again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from infrastructure.streams.run_frames import HEARTBEAT
from infrastructure.streams.topic import Topic

QUEUE_BYTES = 256 * 1024
SMALL_READ_BYTES = 64 * 1024
LARGE_READ_BYTES = 768 * 1024
FAST_WRITE_SECONDS = 0.1
"""A client that takes a batch within this time gets larger batches, each read while the one before is being sent."""
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class LogUnavailable(Exception):
    """The log can't be read at the moment."""


class LogBatch(msgspec.Struct, frozen=True, gc=False):
    """SSE frames read from the log. `last`: the coordinate (topic.py) up to which the log was read. `more`: the log may
    hold more events after `last`. `ended`: no event can ever follow."""

    frames: bytes
    last: int
    more: bool
    ended: bool


class LogReading(Protocol):
    async def read(self, after: int, max_bytes: int) -> LogBatch:
        """The batch after a coordinate, of about `max_bytes` bytes. Raises LogUnavailable."""
        ...


class ClientStream:
    """Implements the ByteStream port. StreamHub opens it, sends its heartbeats and ends it."""

    def __init__(
        self, *, topic: Topic, log: LogReading, after: int, on_close: Callable[["ClientStream"], None]
    ) -> None:
        self.after = after
        self._topic, self._log, self._on_close = topic, log, on_close
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._live = False
        self._caught_up = False
        self._over = False  # the last event is queued or sent; only the closing frame follows
        self._closing = False  # nothing follows what is queued: it is over, or the server shuts down
        self._closed = False
        self._heartbeat_due = False
        self._news: asyncio.Future[None] | None = None
        self._read_bytes = SMALL_READ_BYTES
        self._ahead: asyncio.Task[LogBatch] | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._handed_out_at: float | None = None
        self._reader: asyncio.Task[object] | None = None
        self.dropped = False

    async def next_body(self) -> bytes:
        loop = asyncio.get_running_loop()
        self._reader = asyncio.current_task()
        if self._handed_out_at is not None:
            self._adapt(loop.time() - self._handed_out_at)
            self._handed_out_at = None
        while True:
            body = b"" if self._closed else self._take()
            if body or self._closed or self._closing:
                break
            if self._over:
                self._closing = True
                body = self._topic.closed
                break
            if self._live:
                await self._wait_for_news(loop)
            elif body := await self._read_log(loop):
                break
        if body:
            self._handed_out_at = loop.time()
        return body

    def push(self, frames: bytes, last: int, *, ended: bool) -> None:
        """Called by the topic, in order. A stream whose queue has no room for them is detached and reads the log."""
        if self._queued_bytes + len(frames) > QUEUE_BYTES:
            self._detach()
            self._wake()
            return
        self._queue.append(frames)
        self._queued_bytes += len(frames)
        self.after = last
        if ended:
            self._over = True
            self._detach()
        self._wake()

    def heartbeat(self, now: float, stuck_after: float) -> bool:
        """Send a comment line. False if the client has not taken the last body for `stuck_after` seconds or longer."""
        self._heartbeat_due = True
        self._wake()
        return self._handed_out_at is None or now - self._handed_out_at < stuck_after

    def drop(self) -> None:
        """Cancel the task that writes to a stuck client; `dropped` tells that task why."""
        self.dropped = True
        if self._reader is not None:
            self._reader.cancel()

    def end(self) -> None:
        """Stop after what is queued, without the closing frame: the client will resume at another server."""
        self._closing = True
        self._detach()
        self._wake()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._detach()
        self._queue.clear()
        if self._ahead is not None:
            self._ahead.add_done_callback(_forget)
            self._ahead.cancel()
        self._wake()
        self._on_close(self)

    def _take(self) -> bytes:
        if self._heartbeat_due:
            self._heartbeat_due = False
            if not self._closing:
                self._queue.append(HEARTBEAT)
        if not self._queue:
            return b""
        body = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
        self._queue.clear()
        self._queued_bytes = 0
        return body

    async def _read_log(self, loop: asyncio.AbstractEventLoop) -> bytes:
        try:
            batch = await self._next_batch()
        except LogUnavailable as error:
            _logger.warning("a stream waits for the log", extra={"error": str(error)})
            await self._wait_for_news(loop, self._retry_seconds)
            self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)
            return b""
        self._retry_seconds = FIRST_RETRY_SECONDS
        self.after = max(self.after, batch.last)
        if batch.ended:
            self._over = True
        elif batch.more:
            if self._read_bytes > SMALL_READ_BYTES and not self._closing:
                self._ahead = asyncio.create_task(self._log.read(self.after, self._read_bytes))
            return batch.frames
        elif self._topic.last > self.after:
            return batch.frames
        elif not self._closing and not self._closed:
            self._live = True
            self._topic.subscribers.add(self)
        if self._caught_up:
            return batch.frames
        self._caught_up = True
        return batch.frames + self._topic.caught_up

    async def _next_batch(self) -> LogBatch:
        if self._ahead is None:
            return await self._log.read(self.after, self._read_bytes)
        ahead, self._ahead = self._ahead, None
        return await ahead

    async def _wait_for_news(self, loop: asyncio.AbstractEventLoop, seconds: float | None = None) -> None:
        """Wait until something is queued, the hub asks for a heartbeat, the stream ends, or `seconds` have passed."""
        if self._queue or self._heartbeat_due or self._over or self._closing or self._closed:
            return
        self._news = loop.create_future()
        try:
            if seconds is None:
                await self._news
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._news
        finally:
            self._news = None

    def _adapt(self, write_seconds: float) -> None:
        fast = write_seconds < FAST_WRITE_SECONDS
        self._read_bytes = min(2 * self._read_bytes, LARGE_READ_BYTES) if fast else SMALL_READ_BYTES

    def _detach(self) -> None:
        self._live = False
        self._topic.subscribers.discard(self)

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _forget(read: asyncio.Task[LogBatch]) -> None:
    """Retrieve the exception of an abandoned read, so that asyncio does not log it."""
    if not read.cancelled():
        read.exception()
