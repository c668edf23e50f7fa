"""LogTail: who waits for a stream to go on is woken by its next event, wherever it is appended."""

import asyncio
import random

from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.async_run import run
from tests.support.log_events import new_event
from tests.support.streaming import streaming


def test_a_waiter_is_woken_by_another_process_s_append(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s, GroupCommitEventStore(database) as other:
            waiting = asyncio.create_task(s.hub.wait_for_stream("note:1", 0, 10))
            assert not await s.hub.wait_for_stream("note:1", 0, 0.05)
            await other.append("note:1", 0, [new_event()])
            assert await waiting

    run(scenario())


def test_no_wake_up_is_lost_between_load_and_wait(database: str) -> None:
    """Followers of many streams, which load and wait in turns, keep up with writers of random timing. A lost wake-up
    would cost a whole timeout, and the test's time."""

    async def scenario() -> None:
        async with streaming(database) as s:

            async def write(stream: str, events: int, random_: random.Random) -> None:
                seq = 0
                while seq < events:
                    new = [new_event() for _ in range(random_.randint(1, 3))]
                    seq = (await s.store.append(stream, seq, new)).last_seq
                    for _ in range(random_.choice([0, 0, 1, 10])):
                        await asyncio.sleep(0)

            async def follow(stream: str, events: int) -> None:
                seq = 0
                while seq < events:
                    rows = await s.store.read_stream_raw(stream, after_seq=seq)
                    if rows:
                        seq = rows[-1].seq
                    elif not await s.hub.wait_for_stream(stream, seq, 30):
                        raise AssertionError(f"{stream} was not seen to go on after {seq}")

            async with asyncio.timeout(90), asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(write(f"note:{number}", 200, random.Random(number)))
                    group.create_task(follow(f"note:{number}", 200))
                    group.create_task(follow(f"note:{number}", 200))

    run(scenario())
