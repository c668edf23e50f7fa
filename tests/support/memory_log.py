"""The log and its tail in memory, with a world that goes on a step whenever somebody waits for it."""

import asyncio
from collections import deque
from collections.abc import Sequence

from application.ports import Append, AppendResult, ExpectedSeqConflict
from domain.event import Event
from domain.record import NewEvent, RecordedEvent
from tests.support.specification import occurrence

PAUSE_S = 0.001


class MemoryLog:
    """Implements what Aggregates use of EventStore."""

    def __init__(self) -> None:
        self.streams: dict[str, list[RecordedEvent]] = {}
        self._position = 0

    async def append(self, stream: str, expected_seq: int, events: Sequence[NewEvent]) -> AppendResult:
        log = self.streams.setdefault(stream, [])
        if len(log) != expected_seq:
            raise ExpectedSeqConflict(stream, expected_seq, len(log))
        for new in events:
            self._position += 1
            log.append(
                RecordedEvent(
                    position=self._position,
                    stream=stream,
                    seq=len(log) + 1,
                    event_id=new.event_id,
                    event=new.event,
                    occurred_at=new.occurred_at,
                    recorded_at=new.occurred_at,
                    metadata=new.metadata,
                )
            )
        return AppendResult(positions=tuple(one.position for one in log[-len(events) :]), last_seq=len(log))

    async def append_in_turn(self, appends: Sequence[Append]) -> Sequence[AppendResult | ExpectedSeqConflict]:
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
        return self.streams.get(stream, [])[after_seq:][:limit]

    async def find_event(self, stream: str, event_id: str) -> RecordedEvent | None:
        return next((one for one in self.streams.get(stream, []) if one.event_id == event_id), None)

    async def happened(self, stream: str, *events: Event) -> None:
        """Others have appended these."""
        first = len(self.streams.get(stream, []))
        await self.append(
            stream, first, [occurrence(event, event_id=f"world-{first + n}") for n, event in enumerate(events)]
        )

    def types(self, stream: str) -> list[type[Event]]:
        return [type(one.event) for one in self.streams.get(stream, [])]


class World:
    """Implements LogTail: whoever waits for a stream lets the next of its steps happen, if one is left."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._steps: dict[str, deque[tuple[Event, ...]]] = {}

    def will(self, stream: str, *steps: tuple[Event, ...]) -> None:
        self._steps.setdefault(stream, deque()).extend(steps)

    async def wait_for_stream(self, stream: str, seq: int, timeout_s: float) -> int:
        steps = self._steps.get(stream)
        if steps:
            await self._log.happened(stream, *steps.popleft())
            return len(self._log.streams[stream])
        await asyncio.sleep(min(PAUSE_S, timeout_s))
        return 0
