"""The hub of live streams: one per process and event loop.

Its tail reads each new event from the log once. For each, the hub wakes those who wait for the event's stream (the
LogTail port) and passes the event to the topics of runs and of the global log, whose subscribers are the clients'
streams (the EventStreams port).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Self

from application.observation.instruments import STREAM_DELAY_SECONDS
from application.ports.event_streams import ByteStream, EventFilter, EventPage, StreamRefused
from application.ports.telemetry import NO_MEASUREMENTS, Measurements
from domain.errors import Conflict, InvalidInput, NotFound
from domain.identifiers import DEFAULT_TENANT, run_stream
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.event_json import event_json
from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.postgres.listener import PositionSignal
from infrastructure.streams.client_stream import ClientStream, LogReading, LogUnavailable
from infrastructure.streams.closed_stream import ClosedStream
from infrastructure.streams.feed_frames import is_past, matches
from infrastructure.streams.log_reader import LogReader
from infrastructure.streams.log_sources import FeedLog, RunLog
from infrastructure.streams.recent_events import RecentEvent, RecentEvents
from infrastructure.streams.replay_stream import ReplayStream
from infrastructure.streams.run_frames import PayloadForms, RunFrames
from infrastructure.streams.stream_ends import StreamEnds
from infrastructure.streams.tail import POLL_SECONDS, Tail, log_failure
from infrastructure.streams.topic import FeedTopic, RunTopic, Topic

MAX_STREAMS = 1000
READERS = 4
HEARTBEAT_SECONDS = 15
STUCK_SECONDS = 600.0
"""A client that has taken nothing for so long is dropped; it can resume by its Last-Event-ID."""
RETRY_AFTER_SECONDS = 2
PAGE_BYTES = 8 * 1024 * 1024

_logger = logging.getLogger(__name__)


class StreamHub:
    """Use as an async context manager, or `start` and `close` it. `announcements`: the position of the process's
    PostgresListener. `readers`: the number of connections for reading the log; the tail has one more. `continuity`:
    of the process's log. `forms`: of what the frames of runs show otherwise than it is stored."""

    def __init__(
        self,
        dsn: str,
        *,
        announcements: PositionSignal,
        tenant: str = DEFAULT_TENANT,
        max_streams: int = MAX_STREAMS,
        readers: int = READERS,
        continuity: LogContinuity | None = None,
        forms: PayloadForms = MappingProxyType({}),
        poll_seconds: float = POLL_SECONDS,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
        stuck_seconds: float = STUCK_SECONDS,
        measurements: Measurements = NO_MEASUREMENTS,
    ) -> None:
        self._measurements = measurements
        self._max_streams, self._stuck_seconds = max_streams, stuck_seconds
        self._forms = forms
        self._reader = LogReader(dsn, tenant=tenant, connections=readers)
        self._tail = Tail(
            dsn,
            tenant=tenant,
            announcements=announcements,
            dispatch=self._dispatch,
            continuity=continuity or LogContinuity(),
            poll_seconds=poll_seconds,
        )
        self._recent = RecentEvents()
        self._ends = StreamEnds()
        self._runs: dict[str, RunTopic] = {}
        self._feeds: dict[EventFilter, FeedTopic] = {}
        self._streams: list[set[ClientStream | ReplayStream]] = [set() for _ in range(heartbeat_seconds)]
        self._open = self._opening = 0
        self._opened = 0
        self._ending = True
        self._heartbeats: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Raises psycopg.Error when the database can't be reached."""
        await self._reader.open()
        await self._tail.start()
        self._recent.start(self._tail.position)
        self._ending = False
        self._heartbeats = asyncio.create_task(self._send_heartbeats(), name="stream heartbeats")
        self._heartbeats.add_done_callback(log_failure)

    def end_streams(self) -> None:
        """End all streams after what they have queued, and open no more. To be called when the server begins to shut
        down, so that its connections end and the clients resume at another server."""
        self._ending = True
        for streams in self._streams:
            for stream in tuple(streams):
                stream.end()

    async def close(self) -> None:
        """End the streams, the tail and the connections. Calls of `wait_for_stream` last until their timeouts."""
        self.end_streams()
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.wait([self._heartbeats], timeout=5)
        await self._tail.close()
        await self._reader.close()

    @property
    def open_streams(self) -> int:
        return self._open

    @property
    def position(self) -> int:
        """The position up to which the tail has passed events on."""
        return self._tail.position

    @property
    def healthy(self) -> bool:
        """False once the tail has died of an unexpected error; a database that is away does not count."""
        return not self._tail.failed

    async def wait_for_stream(self, stream: str, after_seq: int, timeout: float) -> int:
        """As the LogTail port says."""
        return await self._ends.wait(stream, after_seq, timeout, self._last_seq)

    async def open_run(self, run_id: str, cursor: int, *, closing_frames: bool = False) -> ByteStream | None:
        """As the EventStreams port says."""
        with self._slot():
            try:
                head = await self._reader.run_head(run_id)
                if head is None:
                    raise NotFound(f"no run {run_id!r} is known")
                if cursor > head.last_seq:
                    raise InvalidInput("cursor", f"{cursor} is beyond the run's last event, {head.last_seq}")
                if head.over and cursor == head.last_seq:
                    return ClosedStream(await self._reader.closing_frames(head)) if closing_frames else None
            except LogUnavailable as error:
                raise _unavailable(error) from error
            stream = run_stream(run_id)
            topic = self._runs.setdefault(stream, RunTopic(head.identity, self._forms))
            log = RunLog(topic, self._reader, self._recent, last_seq=head.last_seq)
            return self._opened_stream(topic, log, cursor, lambda: self._runs.pop(stream))

    async def open_replay(self, run_id: str, cursor: int, speed: float) -> ReplayStream:
        """As the EventStreams port says."""
        with self._slot():
            try:
                head = await self._reader.run_head(run_id)
            except LogUnavailable as error:
                raise _unavailable(error) from error
            if head is None:
                raise NotFound(f"no run {run_id!r} is known")
            if not head.over:
                raise Conflict(f"run {run_id!r} goes on; follow it without replay", "run_not_finished")
            if cursor > head.last_seq:
                raise InvalidInput("cursor", f"{cursor} is beyond the run's last event, {head.last_seq}")
            slot = self._streams[self._opened % len(self._streams)]

            def closed(stream: ReplayStream) -> None:
                slot.discard(stream)
                self._open -= 1

            stream = ReplayStream(
                self._reader,
                RunFrames(head.identity, self._forms),
                run_id,
                after=cursor,
                last_seq=head.last_seq,
                speed=speed,
                on_close=closed,
            )
            slot.add(stream)
            self._opened += 1
            self._open += 1
            return stream

    async def open_feed(self, wanted: EventFilter, after: int) -> ClientStream:
        """As the EventStreams port says."""
        with self._slot():
            end = await self._last_position(after)
            topic = self._feeds.setdefault(wanted, FeedTopic(wanted))
            log = FeedLog(topic, self._reader, self._recent, last_position=end)
            return self._opened_stream(topic, log, after, lambda: self._feeds.pop(wanted))

    async def read_feed(self, wanted: EventFilter, after: int, limit: int) -> EventPage:
        """One page of the global log, at most `limit` events. Raises InvalidInput if `after` is beyond the end of the
        log, StreamRefused while the log can't be read."""
        end = await self._last_position(after)
        events: list[bytes] = []
        size = 0
        while len(events) < limit and size < PAGE_BYTES and after < end:
            try:
                rows, after = await self._reader.feed_rows(wanted, after, limit - len(events), PAGE_BYTES - size)
            except LogUnavailable as error:
                raise _unavailable(error) from error
            found = [event_json(row) for row in rows if matches(wanted, row)]
            events += found
            size += sum(map(len, found))
            if rows and is_past(wanted, rows[-1]):
                return EventPage(events=events, last=end, more=False)
        return EventPage(events=events, last=after, more=after < end)

    async def _last_position(self, after: int) -> int:
        try:
            end = await self._reader.last_position()
        except LogUnavailable as error:
            raise _unavailable(error) from error
        if after > end:
            raise InvalidInput("after", f"{after} is beyond the log's last position, {end}")
        return end

    async def _last_seq(self, stream: str) -> int:
        try:
            return await self._reader.last_seq(stream)
        except LogUnavailable:
            return 0

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Reserve room for one stream while it is being opened. Raises StreamRefused if there is none."""
        if self._ending:
            raise StreamRefused(
                "this server is shutting down", reason="shutting_down", retry_after_s=RETRY_AFTER_SECONDS
            )
        if self._open + self._opening >= self._max_streams:
            raise StreamRefused(
                f"this server serves {self._max_streams} streams at once and has no room for another one",
                reason="too_many_streams",
                retry_after_s=RETRY_AFTER_SECONDS,
            )
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1

    def _opened_stream(
        self, topic: Topic, log: LogReading, after: int, forget_topic: Callable[[], object]
    ) -> ClientStream:
        slot = self._streams[self._opened % len(self._streams)]

        def closed(stream: ClientStream) -> None:
            slot.discard(stream)
            self._open -= 1
            topic.users -= 1
            if topic.users == 0:
                forget_topic()

        stream = ClientStream(topic=topic, log=log, after=after, on_close=closed)
        slot.add(stream)
        self._opened += 1
        self._open += 1
        topic.users += 1
        if self._ending:
            stream.end()
        return stream

    def _dispatch(self, rows: Sequence[StoredRow]) -> None:
        delay = max(time.time() - rows[-1].recorded_at.timestamp(), 0.0)
        self._measurements.add(STREAM_DELAY_SECONDS, value=delay)
        events = [RecentEvent(row) for row in rows]
        self._recent.add(events)
        self._ends.advance({row.stream: row.seq for row in rows})
        if self._runs:
            of_topics: dict[RunTopic, list[RecentEvent]] = {}
            for event in events:
                topic = self._runs.get(event.row.stream)
                if topic is not None:
                    of_topics.setdefault(topic, []).append(event)
            for run, of_run in of_topics.items():
                self._offer(run, of_run)
        for feed in tuple(self._feeds.values()):
            self._offer(feed, events)

    def _offer(self, topic: Topic, events: Sequence[RecentEvent]) -> None:
        """If a topic fails, its clients' streams are ended; all other topics get their events."""
        try:
            topic.offer(events)
        except Exception:
            _logger.exception("a topic could not pass events on", extra={"position": events[-1].row.position})
            for subscriber in tuple(topic.subscribers):
                subscriber.end()

    async def _send_heartbeats(self) -> None:
        loop = asyncio.get_running_loop()
        turn = 0
        while True:
            await asyncio.sleep(1)
            turn = (turn + 1) % len(self._streams)
            now = loop.time()
            for stream in tuple(self._streams[turn]):
                if not stream.heartbeat(now, self._stuck_seconds):
                    _logger.warning("a stream's client has taken nothing for too long; dropping it")
                    stream.drop()


def _unavailable(error: LogUnavailable) -> StreamRefused:
    return StreamRefused(str(error), reason="log_unavailable", retry_after_s=RETRY_AFTER_SECONDS)
