"""A reader that has seen position N never later finds one below N."""

import asyncio

from infrastructure.postgres.event_store.append_request import append_request, encode_new_event
from infrastructure.postgres.event_store.batch import append_call
from infrastructure.postgres.event_store.prepared_append import AppendConnection
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.backends import until_one_waits_for_the_log
from tests.support.log_events import new_events


def test_a_writer_held_open_before_commit_holds_back_the_one_behind_it(database: str) -> None:
    """Two writers, the first held open before commit: the second gets the later position and appears after the first,
    so a tailing reader sees 1 before 2 and never only 2."""
    seen: list[list[int]] = []

    async def run() -> None:
        first = AppendConnection.open(database)
        request = append_request("run:1", 0, [encode_new_event(event) for event in new_events("first")])
        async with GroupCommitEventStore(database) as store:
            with first.connection.transaction():
                assert first.append(append_call(b"default", [request])).position_before == 0
                second = asyncio.create_task(store.append("run:2", 0, new_events("second")))
                await until_one_waits_for_the_log(database)
                seen.append([event.position for event in await store.read_all()])
                assert not second.done()
            assert (await second).positions == (2,)
            seen.append([event.position for event in await store.read_all()])
        first.close()

    asyncio.run(run())
    assert seen == [[], [1, 2]]


def test_a_writer_that_is_rolled_back_leaves_no_gap(database: str) -> None:
    async def run() -> None:
        request = append_request("run:1", 0, [encode_new_event(event) for event in new_events("never")])
        first = AppendConnection.open(database)
        with first.connection.transaction(force_rollback=True):
            first.append(append_call(b"default", [request]))
        first.close()
        async with GroupCommitEventStore(database) as store:
            assert (await store.append("run:1", 0, new_events("one"))).positions == (1,)

    asyncio.run(run())
