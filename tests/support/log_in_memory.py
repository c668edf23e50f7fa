"""The log in memory, and its tail: both ports, by their rules, for tests that need neither disk nor other processes."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

from application.ports.event_store import Append, AppendResult, ExpectedSeqConflict, StreamPage
from domain.event import Event
from domain.record import NewEvent, RecordedEvent
from tests.support.specification import occurrence


class LogInMemory:
    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []
        self._changed = asyncio.Condition()

    async def append(self, stream: str, expected_seq: int, events: Sequence[NewEvent]) -> AppendResult:
        await asyncio.sleep(0)
        recorded = self.of(stream)
        known = {event.event_id: event for event in recorded}
        same = [known[new.event_id] for new in events if new.event_id in known]
        if len(same) == len(events):
            positions = tuple(event.position for event in same)
            return AppendResult(positions=positions, last_seq=same[-1].seq, duplicate=True)
        if same or len(recorded) != expected_seq:
            raise ExpectedSeqConflict(stream, expected_seq, len(recorded))
        for new in events:
            self.events.append(
                RecordedEvent(
                    position=len(self.events) + 1,
                    stream=stream,
                    seq=len(self.of(stream)) + 1,
                    event_id=new.event_id,
                    event=new.event,
                    occurred_at=new.occurred_at,
                    recorded_at=datetime.now(UTC),
                    metadata=new.metadata,
                )
            )
        async with self._changed:
            self._changed.notify_all()
        last = self.events[-1]
        return AppendResult(
            positions=tuple(range(last.position - len(events) + 1, last.position + 1)), last_seq=last.seq
        )

    async def append_sequence(self, appends: Sequence[Append]) -> Sequence[AppendResult | ExpectedSeqConflict]:
        done: list[AppendResult | ExpectedSeqConflict] = []
        for one in appends:
            try:
                done.append(await self.append(one.stream, one.expected_seq, one.events))
            except ExpectedSeqConflict as conflict:
                return [*done, conflict]
        return done

    async def read_stream(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int | None = None
    ) -> list[RecordedEvent]:
        await asyncio.sleep(0)
        wanted = [e for e in self.of(stream) if e.seq > after_seq and (up_to_seq is None or e.seq <= up_to_seq)]
        return wanted[:limit]

    async def read_page(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int
    ) -> StreamPage:
        events = await self.read_stream(stream, after_seq=after_seq, up_to_seq=up_to_seq, limit=limit)
        return StreamPage(events=events, more=len(events) == limit)

    async def read_all(self, *, after: int = 0, limit: int = 500) -> list[RecordedEvent]:
        return self.events[after : after + limit]

    async def last_position(self) -> int:
        return len(self.events)

    async def last_seq(self, stream: str) -> int:
        return len(self.of(stream))

    async def find_positions(self, stream: str, event_ids: Sequence[str]) -> dict[str, int]:
        return {event.event_id: event.position for event in self.of(stream) if event.event_id in event_ids}

    async def find_event(self, stream: str, event_id: str) -> RecordedEvent | None:
        return next((event for event in self.of(stream) if event.event_id == event_id), None)

    async def wait_for_stream(self, stream: str, after_seq: int, timeout: float) -> int:
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: len(self.of(stream)) > after_seq)
        except TimeoutError:
            return 0
        return len(self.of(stream))

    async def changed(self) -> None:
        """Returns when something was appended, or after a moment."""
        try:
            async with asyncio.timeout(0.05), self._changed:
                await self._changed.wait()
        except TimeoutError:
            return

    async def happened(self, stream: str, *events: Event) -> None:
        """Others have appended these."""
        first = len(self.of(stream))
        new = [occurrence(event, event_id=f"world-{first + number}") for number, event in enumerate(events)]
        await self.append(stream, first, new)

    def of(self, stream: str) -> list[RecordedEvent]:
        """What the stream holds."""
        return [event for event in self.events if event.stream == stream]

    def types(self, stream: str) -> list[str]:
        """The wire names of what the stream holds."""
        return [event.event.wire_name for event in self.of(stream)]

    def last(self, stream: str) -> Event:
        return self.of(stream)[-1].event


class SteppingTail:
    """Implements LogTail: whoever waits for a stream lets the next of its steps happen; after the last of them nothing
    does, and waiting ends at its time."""

    def __init__(self, log: LogInMemory) -> None:
        self._log = log
        self._steps: dict[str, deque[tuple[Event, ...]]] = {}

    def will(self, stream: str, *steps: tuple[Event, ...]) -> None:
        self._steps.setdefault(stream, deque()).extend(steps)

    async def wait_for_stream(self, stream: str, after_seq: int, timeout: float) -> int:
        if steps := self._steps.get(stream):
            await self._log.happened(stream, *steps.popleft())
            return len(self._log.of(stream))
        return await self._log.wait_for_stream(stream, after_seq, timeout)
