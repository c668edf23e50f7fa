"""The log."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from domain.record import NewEvent, RecordedEvent


class ExpectedSeqConflict(Exception):
    """Another writer appended to the stream first. Load it again and decide again."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"{stream} is at seq {actual}, expected {expected}")
        self.stream, self.expected, self.actual = stream, expected, actual


class LogWentBack(Exception):
    """The log lacks events that this process has seen: a failover has lost commits, or an older copy of the database
    was restored. The process takes no more decisions and ends; the message says what is missing."""


class AppendResult(msgspec.Struct, frozen=True, kw_only=True):
    """`positions` of all given events, in order; `duplicate` when the stream had every one of them before (found by
    event id), and nothing was written. `last_seq` is the seq of the last given event."""

    positions: tuple[int, ...]
    last_seq: int
    duplicate: bool = False

    @property
    def position(self) -> int:
        return self.positions[-1]


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of `EventStore.append`."""

    stream: str
    expected_seq: int
    events: Sequence[NewEvent]


class StreamPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events of a stream, in order. `more`: there may be further ones."""

    events: list[RecordedEvent]
    more: bool


class EventStore(Protocol):
    """The log. Positions are dense and appear to readers in order, without gaps, across processes."""

    async def append(self, stream: str, expected_seq: int, events: Sequence[NewEvent]) -> AppendResult:
        """Append all or none. `expected_seq` is the stream's last seq, 0 for a new stream.

        If all the event ids are in the stream already the result is a duplicate, whatever `expected_seq` says; if
        only some are, or the stream is at another seq, raises ExpectedSeqConflict.
        """
        ...

    async def append_sequence(self, appends: Sequence[Append]) -> Sequence[AppendResult | ExpectedSeqConflict]:
        """Append one after the other, each only if the one before it was written: like calls of `append`, without a
        round trip for each. The results, up to the first append that wrote nothing."""
        ...

    async def read_stream(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int | None = None
    ) -> list[RecordedEvent]: ...

    async def read_page(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int
    ) -> StreamPage:
        """The next events of a stream: at most `limit`, and about 8 MiB of payloads."""
        ...

    async def read_all(self, *, after: int = 0, limit: int = 500) -> list[RecordedEvent]:
        """Events with a position greater than `after`, in order."""
        ...

    async def last_position(self) -> int: ...

    async def last_seq(self, stream: str) -> int:
        """0 for a stream without events."""
        ...

    async def find_positions(self, stream: str, event_ids: Sequence[str]) -> Mapping[str, int]:
        """Event id → position, of those that the stream has."""
        ...

    async def find_event(self, stream: str, event_id: str) -> RecordedEvent | None: ...
