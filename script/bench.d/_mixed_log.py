"""A log of mixed events (sessions, runs, tools, todos, questions, a third of it deltas), for several benchmarks."""

import asyncio
from collections.abc import Iterator
from itertools import islice

from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.mixed_history import Batch, mixed_history

EVENTS_PER_SESSION = 190
APPENDS_AT_ONCE = 400


def history_of(events: int) -> Iterator[Batch]:
    """Batches with at least `events` events in all."""
    left = events
    for stream, batch in mixed_history(sessions=events // EVENTS_PER_SESSION + 2):
        if left <= 0:
            return
        left -= len(batch)
        yield stream, batch


async def fill(store: GroupCommitEventStore, events: int) -> int:
    """Appends a history of at least `events` events, many batches at once; returns the last position."""
    return await append_batches(store, history_of(events))


async def append_batches(store: GroupCommitEventStore, history: Iterator[Batch]) -> int:
    """Appends a history, many batches at once; returns the last position."""
    ends: dict[str, int] = {}
    position = 0
    while batches := list(islice(history, APPENDS_AT_ONCE)):
        appends = []
        for stream, batch in batches:
            appends.append(store.append(stream, ends.get(stream, 0), batch))
            ends[stream] = ends.get(stream, 0) + len(batch)
        position = (await asyncio.gather(*appends))[-1].position
    return position
