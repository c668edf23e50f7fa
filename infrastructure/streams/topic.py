"""A topic passes live events to its subscribers: those of one run, or of the log through one filter, encoded once.

A coordinate is an event's number within its topic: the seq in a run, the position in the log.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Protocol

from application.ports.event_streams import EventFilter
from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.streams.feed_frames import feed_frame, is_past, matches
from infrastructure.streams.recent_events import RecentEvent
from infrastructure.streams.run_frames import FINISHED, PayloadForms, RunFrames, RunIdentity


class Subscriber(Protocol):
    """`after`: the coordinate of the last event that it has sent or queued."""

    after: int

    def push(self, frames: bytes, last: int, *, ended: bool) -> None: ...
    def end(self) -> None: ...


class Topic:
    """`last`: the highest coordinate passed on so far. `users`: how many streams use the topic, attached or not."""

    caught_up: bytes
    closed: bytes
    """The derived frames sent when live events begin, and when the stream is over."""

    def __init__(self) -> None:
        self.last = 0
        self.users = 0
        self.subscribers: set[Subscriber] = set()

    def coordinate(self, row: StoredRow) -> int:
        raise NotImplementedError

    def frame(self, event: RecentEvent) -> bytes:
        """The event's SSE frame; empty if the topic leaves it out."""
        raise NotImplementedError

    def ends_with(self, row: StoredRow) -> bool:
        """Whether no event of the topic can follow this one."""
        raise NotImplementedError

    def offer(self, events: Sequence[RecentEvent]) -> None:
        """Push events, in order, to all subscribers that don't have them yet."""
        frames = [(self.coordinate(event.row), frame) for event in events if (frame := self.frame(event))]
        ended = self.ends_with(events[-1].row)
        if not frames and not ended:
            return
        first, last = (frames[0][0], frames[-1][0]) if frames else (0, 0)
        self.last = max(self.last, last)
        joined = frames[0][1] if len(frames) == 1 else b"".join([frame for _, frame in frames])
        for subscriber in tuple(self.subscribers):
            after = subscriber.after
            if after < first or (ended and after >= last):
                subscriber.push(joined if after < first else b"", max(last, after), ended=ended)
            elif after < last:
                rest = b"".join([frame for coordinate, frame in frames if coordinate > after])
                subscriber.push(rest, last, ended=ended)


class RunTopic(Topic):
    """A run's events by seq."""

    def __init__(self, identity: RunIdentity, forms: PayloadForms = MappingProxyType({})) -> None:
        super().__init__()
        self.identity = identity
        self.frames = RunFrames(identity, forms)
        self.caught_up, self.closed = self.frames.caught_up, self.frames.closed

    def coordinate(self, row: StoredRow) -> int:
        return row.seq

    def frame(self, event: RecentEvent) -> bytes:
        if not event.run_frame:
            event.run_frame = self.frames.stored(event.row)
        return event.run_frame

    def ends_with(self, row: StoredRow) -> bool:
        return row.type == FINISHED


class FeedTopic(Topic):
    """The events of the log that match a filter, by position."""

    caught_up = b'event: caught-up\ndata: {"type":"caught-up"}\n\n'
    closed = b'event: feed.closed\ndata: {"type":"feed.closed"}\n\n'

    def __init__(self, wanted: EventFilter) -> None:
        super().__init__()
        self.wanted = wanted

    def coordinate(self, row: StoredRow) -> int:
        return row.position

    def frame(self, event: RecentEvent) -> bytes:
        if not matches(self.wanted, event.row):
            return b""
        if not event.feed_frame:
            event.feed_frame = feed_frame(event.row)
        return event.feed_frame

    def ends_with(self, row: StoredRow) -> bool:
        return is_past(self.wanted, row)
