"""The store against a model of it that fits on a page: any mix of appends that arrive together."""

import asyncio
from collections.abc import Iterable

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.ports.event_store import AppendResult, ExpectedSeqConflict
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.hash_chain import broken_links
from tests.support.log_events import new_event
from tests.support.samples import samples

pytestmark = pytest.mark.proof


Append = tuple[str, int, tuple[str, ...]]


class Model:
    """The log as a list of (stream, event id), with the port's rules."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []

    def append(self, stream: str, expected_seq: int, event_ids: tuple[str, ...]) -> AppendResult | tuple[int, int]:
        ids = [event_id for of_stream, event_id in self.log if of_stream == stream]
        known = [event_id for event_id in event_ids if event_id in ids]
        if len(known) == len(event_ids):
            positions = tuple(self.log.index((stream, event_id)) + 1 for event_id in event_ids)
            return AppendResult(positions=positions, last_seq=ids.index(event_ids[-1]) + 1, duplicate=True)
        if known or expected_seq != len(ids):
            return expected_seq, len(ids)
        self.log += [(stream, event_id) for event_id in event_ids]
        last = len(self.log)
        return AppendResult(
            positions=tuple(range(last - len(event_ids) + 1, last + 1)), last_seq=expected_seq + len(event_ids)
        )


event_ids = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3, unique=True).map(tuple)
appends = st.tuples(st.sampled_from(["run:1", "run:2", "run:3"]), st.integers(0, 5), event_ids)
rounds = st.lists(st.lists(appends, min_size=1, max_size=6), min_size=1, max_size=6)


@settings(
    max_examples=samples().size(whole=60, sample=25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rounds=rounds)
def test_any_mix_of_appends_that_arrive_together_ends_as_in_the_model(
    database: str, rounds: list[list[Append]]
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE events")

    async def run() -> None:
        model = Model()
        async with GroupCommitEventStore(database, readers=1) as store:
            for arriving_together in rounds:
                outcomes = await asyncio.gather(*[outcome(store, *append) for append in arriving_together])
                assert_some_order_explains(model, arriving_together, outcomes)
            stored = [(event.stream, event.event_id) for event in await store.read_all(limit=1000)]
            assert stored == model.log

    asyncio.run(run())
    assert broken_links(database) == []


async def outcome(
    store: GroupCommitEventStore, stream: str, expected_seq: int, event_ids: Iterable[str]
) -> AppendResult | tuple[int, int]:
    try:
        return await store.append(stream, expected_seq, [new_event(event_id=event_id) for event_id in event_ids])
    except ExpectedSeqConflict as conflict:
        return conflict.expected, conflict.actual


def assert_some_order_explains(
    model: Model, arriving: list[Append], outcomes: list[AppendResult | tuple[int, int]]
) -> None:
    """Requests are taken in order of arrival, so that the model answers them in that order."""
    assert outcomes == [model.append(*append) for append in arriving]
