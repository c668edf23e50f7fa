"""The port of live streams: replay from the log, then the log's live end, as bytes of an SSE body."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class StreamRefused(Exception):
    """No stream can be opened now; the same may work in `retry_after_s` seconds. `reason` is a snake_case word."""

    def __init__(self, message: str, *, reason: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.reason, self.retry_after_s = reason, retry_after_s


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events of the global log are wanted; an empty field lets every event pass. `recorded_from` and
    `recorded_to` are inclusive. `text`: all of its words are among the event's search terms; only
    EventSearch uses it."""

    types: tuple[str, ...] = ()
    stream: str = ""
    actor: str = ""
    correlation_id: str = ""
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None
    text: str = ""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events as JSON objects, undecoded, in order. `last`: the position up to which the log was searched; go on after
    it. `more`: the log went on after it at the time of the search."""

    events: Sequence[bytes]
    last: int
    more: bool


class ByteStream(Protocol):
    """One client's stream. Has one reader; `close` may be called by others, at any time, more than once.

    A reader whose client takes nothing for minutes is cancelled, with `dropped` set.
    """

    dropped: bool

    async def next_body(self) -> bytes:
        """The next bytes of the body, as soon as there are any; empty once the stream is over."""
        ...

    def close(self) -> None:
        """Give back what the stream holds; its reader is woken and told that it is over."""
        ...


class EventStreams(Protocol):
    async def open_run(self, run_id: str, cursor: int, *, closing_frames: bool = False) -> ByteStream | None:
        """The SSE body of a run's events with a seq greater than `cursor`. When the run is over and all of them were
        seen: None, or with `closing_frames` those that follow the last event. Raises NotFound, InvalidInput for a
        cursor beyond the end, StreamRefused."""
        ...

    async def open_replay(self, run_id: str, cursor: int, speed: float) -> ByteStream:
        """A finished run's events after `cursor` again, with their original pauses divided by `speed`; 0: without
        pauses. Raises NotFound, InvalidInput for a cursor beyond the end, Conflict for a run that goes on,
        StreamRefused."""
        ...

    async def open_feed(self, wanted: EventFilter, after: int) -> ByteStream:
        """The SSE body of the global log's events with a position greater than `after`. Raises InvalidInput for a
        position beyond the end, StreamRefused."""
        ...

    async def read_feed(self, wanted: EventFilter, after: int, limit: int) -> EventPage:
        """At most `limit` events of the global log after a position. Raises as `open_feed` does."""
        ...


class EventSearch(Protocol):
    async def find(self, wanted: EventFilter, after: int, limit: int) -> EventPage:
        """At most `limit` events of the whole log after a position, in order. Raises InvalidInput for a position beyond
        the end and for a text without words."""
        ...

    async def indexed(self) -> int:
        """The position up to which texts are found: the index follows the log."""
        ...
