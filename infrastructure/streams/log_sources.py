"""Where a stream reads what is not live: the recent events in memory when they reach back far enough, or the log."""

from domain.identifiers import run_stream
from infrastructure.streams.client_stream import LogBatch
from infrastructure.streams.log_reader import MAX_ROWS, LogReader
from infrastructure.streams.recent_events import RecentEvent, RecentEvents
from infrastructure.streams.run_frames import FINISHED
from infrastructure.streams.topic import FeedTopic, RunTopic


class RunLog:
    """The LogReading of a run. `last_seq`: where the stream ended when the client came, at least."""

    def __init__(self, topic: RunTopic, reader: LogReader, recent: RecentEvents, *, last_seq: int) -> None:
        self._topic, self._reader, self._recent, self._last_seq = topic, reader, recent, last_seq
        self._run_id = topic.identity.run_id
        self._stream = run_stream(self._run_id)
        self._upcast_next = False

    async def read(self, after: int, max_bytes: int) -> LogBatch:
        known = self._recent.of_stream(self._stream, after, max(self._last_seq, self._topic.last, after))
        if known is not None:
            return self._ended_if_blocked(self._batch(known, after, max_bytes))
        if self._upcast_next:
            rows = await self._reader.run_rows(self._run_id, after, max_bytes)
            self._upcast_next = False
            batch = self._batch([RecentEvent(row) for row in rows], after, max_bytes)
            return batch if batch.ended else LogBatch(batch.frames, batch.last, bool(rows), ended=False)
        batch, self._upcast_next = await self._reader.run_frames(self._topic.frames, self._run_id, after, max_bytes)
        return self._ended_if_blocked(batch)

    def _batch(self, events: list[RecentEvent], after: int, max_bytes: int) -> LogBatch:
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
    """The LogReading of the global log through a filter. `last_position`: where the log ended when the client came."""

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
