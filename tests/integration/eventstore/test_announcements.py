"""Small commits carry their events in their notification; whoever follows the log's end needs no read for them."""

import asyncio
import random
from collections.abc import Sequence

from application.ports.event_store import ExpectedSeqConflict
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.announcement import Announcement, announcement
from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.streams.tail import Tail
from tests.support.async_run import run
from tests.support.backends import kill_backends
from tests.support.log_events import new_event, new_events
from tests.support.streaming import until

ODD_TEXT = 'quotes " and \\ and \n and \u2028 and 🜚 and \u0007'


def test_a_notification_carries_what_the_log_holds(database: str) -> None:
    async def scenario() -> None:
        heard: list[Announcement] = []
        async with GroupCommitEventStore(database) as store, PostgresListener(database, poll_seconds=30) as listener:
            await listener.position.wait_for(0, timeout=0.5)
            listener.position.follower = lambda last, said: hear(heard, last, said)
            await store.append('run:odd "name" 🜚', 0, [new_event(ODD_TEXT, event_id='id "1" \\')])
            await store.append("run:several", 0, new_events("a", "b", "c"))
            await asyncio.gather(*[store.append(f"run:{n}", 0, [new_event()]) for n in range(5)])
            assert await listener.position.wait_for(8, timeout=90) == 9
            rows = [row for one in heard for row in one.rows]
            assert rows == await store.read_all_raw()
            assert {one.tenant for one in heard} == {"default"}

    run(scenario())


def test_large_commits_and_those_with_a_refusal_are_announced_without_their_events(database: str) -> None:
    async def scenario() -> None:
        heard: list[tuple[int, bytes]] = []
        async with GroupCommitEventStore(database) as store, PostgresListener(database, poll_seconds=30) as listener:
            await store.append("run:1", 0, new_events("first"))
            await listener.position.wait_for(0, timeout=250)
            listener.position.follower = lambda last, said: heard.append((last, said))
            await store.append("run:1", 1, new_events("x" * 8_000))
            assert await listener.position.wait_for(1, timeout=90) == 2
            alone = asyncio.create_task(store.append("run:2", 0, new_events("has a commit of its own")))
            await asyncio.sleep(0)
            good = asyncio.create_task(store.append("run:3", 0, new_events("shares the next one")))
            bad = asyncio.create_task(store.append("run:1", 7, new_events("with this")))
            results = await asyncio.gather(alone, good, bad, return_exceptions=True)
            assert isinstance(results[2], ExpectedSeqConflict)
            assert await listener.position.wait_for(3, timeout=90) == 4
            said = {last: bool(text) for last, text in heard if last > 1}  # the first's may arrive only now
            assert said == {2: False, 3: True, 4: False}

    run(scenario())


def test_what_a_notification_says_may_be_anything() -> None:
    for said in (
        b"",
        b"5",
        b"x {}",
        b'5 ["default"]',
        b"99999999999999999999999 []",
        b'5 ["default",[["s",1]]]',
        b"\xff",
    ):
        assert announcement(7, said) is None


def test_a_tail_passes_each_event_on_once_and_in_order(database: str) -> None:
    """Small and large commits of two tenants, in turns that change between heard and read, and lost connections."""

    async def scenario() -> None:
        chance = random.Random(7)
        passed: list[StoredRow] = []

        def dispatch(rows: Sequence[StoredRow]) -> None:
            passed.extend(rows)

        async with (
            GroupCommitEventStore(database) as mine,
            GroupCommitEventStore(database, tenant="other") as others,
            PostgresListener(database) as listener,
        ):
            tail = Tail(
                database,
                tenant="default",
                announcements=listener.position,
                dispatch=dispatch,
                continuity=LogContinuity(),
            )
            await tail.start()

            async def write(store: GroupCommitEventStore, stream: str) -> None:
                seq = 0
                while seq < 150:
                    size = chance.choice([5, 50, 500, 9_000])
                    new = [new_event("x" * size) for _ in range(chance.randint(1, 3))]
                    seq = (await store.append(stream, seq, new)).last_seq
                    await asyncio.sleep(chance.choice([0, 0, 0.001, 0.02]))

            async with asyncio.timeout(180), asyncio.TaskGroup() as group:
                for number in range(4):
                    group.create_task(write(mine, f"run:{number}"))
                    group.create_task(write(others, f"run:{number}"))
                await until(lambda: len(passed) >= 100, seconds=60)
                await asyncio.to_thread(kill_backends, database)
            written = await mine.read_all_raw(limit=10_000)
            await until(lambda: len(passed) >= len(written), seconds=30)
            await tail.close()
            assert passed == written

    run(scenario())


def hear(heard: list[Announcement], last: int, said: bytes) -> None:
    understood = announcement(last, said)
    assert understood is not None
    heard.append(understood)
