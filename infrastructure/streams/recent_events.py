"""The last events that the tail has read, so that a stream that begins near the end of the log needs no query."""

from collections import deque
from collections.abc import Iterable

import msgspec

from infrastructure.postgres.event_store.reading import StoredRow

MAX_EVENTS = 10_000
MAX_BYTES = 16 * 1024 * 1024


class RecentEvent(msgspec.Struct, gc=False):
    """A row of the log with its frames. The first topic that needs a frame encodes it; empty until then."""

    row: StoredRow
    run_frame: bytes = b""
    feed_frame: bytes = b""


class RecentEvents:
    """Bounded by number and by payload bytes; the oldest events are dropped first, so no stream has gaps."""

    def __init__(self, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_events, self._max_bytes = max_events, max_bytes
        self._events: deque[RecentEvent] = deque()
        self._streams: dict[str, deque[RecentEvent]] = {}
        self._bytes = 0
        self._forgotten_up_to: int | None = None

    def start(self, position: int) -> None:
        """Declare that no event up to `position` is held here."""
        self._forgotten_up_to = position

    def add(self, events: Iterable[RecentEvent]) -> None:
        for event in events:
            row = event.row
            self._events.append(event)
            self._bytes += len(row.payload)
            of_stream = self._streams.get(row.stream)
            if of_stream is None:
                of_stream = self._streams[row.stream] = deque()
            of_stream.append(event)
        while len(self._events) > self._max_events or self._bytes > self._max_bytes:
            self._forget_oldest()

    def of_stream(self, stream: str, after_seq: int, up_to_seq: int) -> list[RecentEvent] | None:
        """All events of the stream after `after_seq`, at least up to `up_to_seq`; None if some are not held here."""
        known = self._streams.get(stream)
        if not known or known[0].row.seq > after_seq + 1 or known[-1].row.seq < up_to_seq:
            return None
        found: list[RecentEvent] = []
        for event in reversed(known):
            if event.row.seq <= after_seq:
                break
            found.append(event)
        found.reverse()
        return found

    def of_log(self, after: int, up_to: int) -> list[RecentEvent] | None:
        """All events with a position greater than `after`, at least up to `up_to`; None if some are not held here."""
        if self._forgotten_up_to is None or after < self._forgotten_up_to:
            return None
        if up_to > (self._events[-1].row.position if self._events else self._forgotten_up_to):
            return None
        found: list[RecentEvent] = []
        for event in reversed(self._events):
            if event.row.position <= after:
                break
            found.append(event)
        found.reverse()
        return found

    def _forget_oldest(self) -> None:
        row = self._events.popleft().row
        self._bytes -= len(row.payload)
        self._forgotten_up_to = row.position
        of_stream = self._streams[row.stream]
        of_stream.popleft()
        if not of_stream:
            del self._streams[row.stream]
