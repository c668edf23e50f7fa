"""What a stream reads before it is live: recent events in memory if they reach back far enough, else the log."""

import asyncio

from domain.identifiers import run_stream
from infrastructure.streams.client_stream import LogBatch
from infrastructure.streams.log_reader import MAX_ROWS, LogReader
from infrastructure.streams.recent_events import RecentEvent, RecentEvents
from infrastructure.streams.run_frames import FINISHED
from infrastructure.streams.topic import FeedTopic, RunTopic


class RunLog:
    """The LogReading of a run. `last_seq`: the last seq of its stream when the client connected; it may have grown.

    Plain events (LogReader.plain_run_frames) need no decoding. Most batches are two ranges of them, which two
    connections turn into frames at the same time. If a range is not full of plain events (the end of the stream, a
    large payload, a change of status), the next batch comes from the slower query that takes any event.
    """

    def __init__(self, topic: RunTopic, reader: LogReader, recent: RecentEvents, *, last_seq: int) -> None:
        self._topic, self._reader, self._recent, self._last_seq = topic, reader, recent, last_seq
        self._run_id = topic.identity.run_id
        self._stream = run_stream(self._run_id)
        self._mixed = True
        self._upcast = False
        self._frame_bytes = 512

    async def read(self, after: int, max_bytes: int) -> LogBatch:
        known = self._recent.of_stream(self._stream, after, max(self._last_seq, self._topic.last, after))
        if known is not None:
            return self._ended_if_blocked(self._encoded(known, after, max_bytes))
        if not self._mixed:
            batch = await self._read_plain(after, max_bytes)
            if batch is not None:
                return batch
        batch = await (self._read_upcast if self._upcast else self._read_mixed)(after, max_bytes)
        self._mixed = not batch.more
        return self._ended_if_blocked(batch)

    async def _read_plain(self, after: int, max_bytes: int) -> LogBatch | None:
        """None if the first range holds other events than plain ones; nothing of it is used then."""
        half = min(max(max_bytes // self._frame_bytes // 2, 16), MAX_ROWS // 2)
        first, second = await asyncio.gather(
            self._reader.plain_run_frames(self._topic.frames, self._run_id, after, after + half),
            self._reader.plain_run_frames(self._topic.frames, self._run_id, after + half, after + 2 * half),
        )
        # Only the number of frames comes back: unless a range is full, it is unknown which of its events are missing.
        if first.events < half:
            self._mixed = True
            return None
        self._frame_bytes = len(first.body) // first.events + 1
        if second.events < half:
            self._mixed = True
            return LogBatch(b"id: %b\n\n" % first.body, after + half, more=True, ended=False)
        return LogBatch(b"id: %b\n\nid: %b\n\n" % (first.body, second.body), after + 2 * half, more=True, ended=False)

    async def _read_mixed(self, after: int, max_bytes: int) -> LogBatch:
        batch, self._upcast = await self._reader.run_frames(self._topic.frames, self._run_id, after, max_bytes)
        return batch

    async def _read_upcast(self, after: int, max_bytes: int) -> LogBatch:
        rows = await self._reader.run_rows(self._run_id, after, max_bytes)
        self._upcast = False
        batch = self._encoded([RecentEvent(row) for row in rows], after, max_bytes)
        return batch if batch.ended else LogBatch(batch.frames, batch.last, more=bool(rows), ended=False)

    def _encoded(self, events: list[RecentEvent], after: int, max_bytes: int) -> LogBatch:
        frames: list[bytes] = []
        size = 0
        for event in events:
            if size >= max_bytes:
                return LogBatch(b"".join(frames), after, more=True, ended=False)
            frame = self._topic.frame(event)
            frames.append(frame)
            size += len(frame)
            after = event.row.seq
        ended = bool(events) and events[-1].row.type == FINISHED
        return LogBatch(b"".join(frames), after, more=False, ended=ended)

    def _ended_if_blocked(self, batch: LogBatch) -> LogBatch:
        if batch.more or not self._topic.identity.blocked:
            return batch
        return LogBatch(batch.frames, batch.last, more=False, ended=True)


class FeedLog:
    """The LogReading of the global log through a filter. `last_position`: the log's end when the client connected."""

    def __init__(self, topic: FeedTopic, reader: LogReader, recent: RecentEvents, *, last_position: int) -> None:
        self._topic, self._reader, self._recent, self._last_position = topic, reader, recent, last_position

    async def read(self, after: int, max_bytes: int) -> LogBatch:
        known = self._recent.of_log(after, max(self._last_position, self._topic.last))
        if known is not None:
            events, searched = known, known[-1].row.position if known else after
            more = False
        else:
            rows, searched = await self._reader.feed_rows(self._topic.wanted, after, MAX_ROWS, max_bytes)
            events, more = [RecentEvent(row) for row in rows], searched > after
        frames: list[bytes] = []
        size = 0
        for event in events:
            if size >= max_bytes:
                return LogBatch(b"".join(frames), after, more=True, ended=False)
            after = event.row.position
            if frame := self._topic.frame(event):
                frames.append(frame)
                size += len(frame)
        ended = bool(events) and self._topic.ends_with(events[-1].row)
        return LogBatch(b"".join(frames), searched, more and not ended, ended)
