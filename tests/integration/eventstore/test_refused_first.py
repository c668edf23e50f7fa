"""A batch whose first request is refused: the others are stored as they are, not shifted by one."""

import asyncio

from application.ports.event_store import AppendResult, ExpectedSeqConflict
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.log_events import new_events


def test_the_events_after_a_refused_first_request_are_stored_whole(database: str) -> None:
    async def scenario() -> None:
        async with GroupCommitEventStore(database) as store, asyncio.timeout(90):
            await store.append("run:a", 0, new_events("a1", "a2"))
            await store.append("run:b", 0, new_events("b1"))
            stale, second, third = await asyncio.gather(
                store.append("run:a", 0, new_events("never", "never")),
                store.append("run:b", 1, new_events("b2", "b3")),
                store.append("run:c", 0, new_events("c1")),
                return_exceptions=True,
            )
            assert isinstance(stale, ExpectedSeqConflict)
            assert second == AppendResult(positions=(4, 5), last_seq=3)
            assert third == AppendResult(positions=(6,), last_seq=1)
            log = [(e.position, e.stream, e.seq, e.event.text) for e in await store.read_all()]  # type: ignore[attr-defined]
            assert log == [
                (1, "run:a", 1, "a1"),
                (2, "run:a", 2, "a2"),
                (3, "run:b", 1, "b1"),
                (4, "run:b", 2, "b2"),
                (5, "run:b", 3, "b3"),
                (6, "run:c", 1, "c1"),
            ]
            assert (await store.append("run:b", 3, new_events("b4"))).last_seq == 4

    asyncio.run(scenario())
