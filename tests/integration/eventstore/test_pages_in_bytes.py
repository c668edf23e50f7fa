"""Reads of the log end by bytes as by rows, and whoever reads on gets all of it."""

import pytest

from application.aggregates.stream_pages import events_of
from domain.run.events import MessageDelta, RunQueued, TodosReplaced
from domain.run.values import Todo
from infrastructure.postgres.event_store.reading import PAGE_BYTES
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from projections.ports import AtSeq
from tests.support.async_run import run
from tests.support.mixed_history import spec
from tests.support.projecting import projection_harness
from tests.support.recorded import OCCURRED_AT, new_event

pytestmark = pytest.mark.every_postgres

LARGE = 200 * 1024
COUNT = 60
PER_PAGE = -(-PAGE_BYTES // LARGE)


def large(number: int) -> MessageDelta:
    return MessageDelta(text=f"{number} ".ljust(LARGE, "x"))


async def fill(store: GroupCommitEventStore) -> None:
    events = [RunQueued(spec=spec(1, "s1")), *map(large, range(COUNT - 1))]
    for first in range(0, COUNT, 20):
        new = [new_event(event, f"{first + n}", OCCURRED_AT) for n, event in enumerate(events[first : first + 20])]
        await store.append("run:r1", first, new)


def test_a_page_of_a_stream_ends_by_bytes(database: str) -> None:
    async def check() -> None:
        async with GroupCommitEventStore(database) as store:
            await fill(store)
            page = await store.read_page("run:r1", limit=1000)
            assert (len(page.events), page.more) == (PER_PAGE + 1, True)
            last = await store.read_page("run:r1", after_seq=COUNT - 2, limit=1000)
            assert ([event.seq for event in last.events], last.more) == ([COUNT - 1, COUNT], False)
            few = await store.read_page("run:r1", limit=3)
            assert (len(few.events), few.more) == (3, True)
            whole = [event.seq async for event in events_of(store, "run:r1")]
            assert whole == list(range(1, COUNT + 1))
            part = [event.seq async for event in events_of(store, "run:r1", after_seq=5, up_to_seq=50)]
            assert part == list(range(6, 51))

    run(check())


def test_so_does_a_page_for_process_managers(database: str) -> None:
    async def check() -> None:
        async with GroupCommitEventStore(database) as store:
            await fill(store)
            rows, more = await store.read_all_page(after=0, limit=500, types=["message.delta"])
            assert (len(rows), more) == (PER_PAGE, True)
            rows, more = await store.read_all_page(after=rows[-1].position, limit=500, types=["message.delta"])
            assert (rows[-1].seq, more) == (COUNT, False)

    run(check())


def test_states_of_the_past_and_the_text_of_a_message_are_read_in_parts(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness:
            await fill(harness.store)
            todos = tuple(Todo(todo_id=f"t{number}", content="x" * 200) for number in range(900))
            lists = [new_event(TodosReplaced(todos=todos), f"todos/{number}", OCCURRED_AT) for number in range(50)]
            position = (await harness.store.append("run:r1", COUNT, lists)).position
            async with harness.projector():
                await harness.caught_up(position)
            then = await harness.reads.run("r1", at=AtSeq(COUNT))
            assert then.value is not None
            assert (then.value.text_truncated, then.value.seq) == (True, COUNT)
            assert then.value.text.endswith("x")
            past = await harness.reads.todos("r1", at=AtSeq(COUNT + 50))
            assert past.value is not None
            assert past.value.total == 900
            changes, after = 0, 0
            while True:
                page = (await harness.reads.todo_history("r1", after_seq=after, limit=500)).value
                assert page is not None
                if not page.events:
                    break
                assert len(page.events) < 50
                changes, after = changes + len(page.events), page.events[-1].seq
            assert (changes, page.total) == (50, 50)

    run(check())
