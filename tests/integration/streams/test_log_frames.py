"""The frames that the database builds are those of the Python encoder, byte by byte, whichever way a batch is read."""

import random
from datetime import UTC, datetime, timedelta

import pytest

import tests.support.aged_events  # noqa: F401
from domain.event import Event, encode
from domain.run.events import (
    MessageDelta,
    ReasoningDelta,
    RunCancelRequested,
    RunFinished,
    RunQueued,
    RunStarted,
    ToolEnded,
    ToolStarted,
)
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.streams.client_stream import LogBatch
from infrastructure.streams.log_reader import LogReader
from infrastructure.streams.log_sources import RunLog
from infrastructure.streams.recent_events import RecentEvents
from infrastructure.streams.run_frames import RunFrames, RunIdentity
from infrastructure.streams.topic import RunTopic
from tests.support.async_run import run
from tests.support.raw_append import append_raw
from tests.support.recorded import OCCURRED_AT
from tests.support.streaming import SPEC

TEXTS = ["plain", 'quotes " and \\ and \n', "ünïcödé 漢字 🙂", "\x00\x1f", "x" * 3000, "y" * 6000, "z" * 100_000]
FORMS = {"tool.end": lambda payload: payload.replace(b"large", b"LARGE"), "run.cancel_requested": lambda payload: b"?"}
"""Of types that the random runs have: an odd one, and one whose payloads are empty."""
IDENTITY = RunIdentity(run_id="r", session_id="s1", provider="scripted")


def random_payload(random_: random.Random, *, oddities: float) -> tuple[str, int, bytes]:
    text = random_.choice(TEXTS[:4])
    event: Event | None
    if random_.random() < oddities:
        odd: list[Event | None] = [
            MessageDelta(text=random_.choice(TEXTS)),
            RunStarted(attempt=1, generation=2, boot_id="b"),
            RunCancelRequested(),
            ToolEnded(tool_id="t", output={"large": random_.choice(TEXTS)}),
            None,
        ]
        event = random_.choice(odd)
        if event is None:
            return random_.choice(
                [
                    ("test.reworded", 1, b'{"words":["two","words"]}'),
                    ("test.reworded", 2, b'{"text":"current"}'),
                    ("message.delta", 7, b'{"novel":true}'),
                    ("run.invented", 1, b'{"novel":[1,2]}'),
                    ("message.delta", 1, b""),
                    ("message.delta", 1, b'{"text":"\xff\xfe"}'),
                ]
            )
    else:
        event = random_.choice(
            [
                MessageDelta(text=text, lease_generation=1),
                ReasoningDelta(text=text),
                ToolStarted(tool_id="1", name=text),
            ]
        )
    return event.wire_name, event.schema_version, encode(event)


def random_moment(random_: random.Random) -> datetime:
    micros = random_.choice([0, 1, 10, 500_000, 123_000, 999_999, random_.randrange(1_000_000)])
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=random_.randrange(10**8), microseconds=micros)


@pytest.mark.parametrize(("seed", "oddities"), [(1, 0.0), (2, 0.002), (3, 0.02), (4, 0.3), (5, 0.01)])
def test_every_way_of_reading_gives_the_same_bytes(database: str, seed: int, oddities: float) -> None:
    random_ = random.Random(seed)

    async def scenario() -> None:
        payloads = [("run.queued", 1, encode(RunQueued(spec=SPEC)))]
        payloads += [random_payload(random_, oddities=oddities) for _ in range(3000)]
        payloads.append(("run.finished", 1, encode(RunFinished(outcome="succeeded", exported=True))))
        async with GroupCommitEventStore(database) as store:
            await append_raw(store, "run:other", 0, [("message.delta", 1, b'{"text":"x"}', OCCURRED_AT)])
            seq = await append_raw(store, "run:r", 0, [(*payload, random_moment(random_)) for payload in payloads])
            rows = await store.read_stream_raw("run:r")
        frames = RunFrames(IDENTITY, FORMS)
        expected = [frames.stored(row) for row in rows]
        reader = LogReader(database, tenant="default", connections=2)
        await reader.open()
        try:
            for after in (0, random_.randrange(seq), seq - 1):
                source = RunLog(RunTopic(IDENTITY, FORMS), reader, RecentEvents(), last_seq=seq)
                batches: list[LogBatch] = []
                end = after
                while not batches or not batches[-1].ended:
                    batch = await source.read(end, random_.choice([1, 5_000, 65_536, 600_000]))
                    assert batch.more != batch.ended
                    batches.append(batch)
                    end = batch.last
                assert b"".join([batch.frames for batch in batches]) == b"".join(expected[after:])
                assert end == seq
        finally:
            await reader.close()

    run(scenario())


def test_a_batch_of_large_payloads_is_bounded(database: str) -> None:
    async def scenario() -> None:
        async with GroupCommitEventStore(database) as store:
            large = [("message.delta", 1, b'{"text":"%b"}' % (b"x" * 200_000), OCCURRED_AT)] * 100
            await append_raw(store, "run:r", 0, large)
        reader = LogReader(database, tenant="default", connections=2)
        await reader.open()
        try:
            source = RunLog(RunTopic(IDENTITY), reader, RecentEvents(), last_seq=100)
            end, most = 0, 0
            while True:
                batch = await source.read(end, 512 * 1024)
                most, end = max(most, len(batch.frames)), batch.last
                if not batch.more:
                    break
            assert end == 100
            assert most < 1024 * 1024
        finally:
            await reader.close()

    run(scenario())


def test_a_reader_that_was_never_opened_can_be_closed(database: str) -> None:
    run(LogReader(database, tenant="default", connections=2).close())
