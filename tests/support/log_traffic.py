"""Writers and readers of the log for processes of their own. Everything they see is checked as they go."""

import asyncio
import random
from collections import Counter

from application.ports.event_store import ExpectedSeqConflict
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from tests.support.log_events import new_event

STREAMS = [f"run:{number}" for number in range(40)]
PATIENCE_SECONDS = 30.0


def write(dsn: str, writers: int, events: int, seed: int) -> list[str]:
    """`writers` tasks append `events` events each, to streams that other processes write too; the ids of those that the
    log acknowledged."""
    return asyncio.run(_write(dsn, writers, events, seed))


async def _write(dsn: str, writers: int, events: int, seed: int) -> list[str]:
    async with GroupCommitEventStore(dsn) as store:
        written = await asyncio.gather(
            *[_writer(store, random.Random(seed * 1000 + number), events) for number in range(writers)]
        )
    return [event_id for of_writer in written for event_id in of_writer]


async def _writer(store: GroupCommitEventStore, dice: random.Random, events: int) -> list[str]:
    seqs: Counter[str] = Counter()
    written: list[str] = []
    while len(written) < events:
        stream = dice.choice(STREAMS)
        batch = [
            new_event("x" * dice.randrange(200))
            for _ in range(min(dice.choice([1, 1, 1, 2, 5]), events - len(written)))
        ]
        while True:
            try:
                result = await store.append(stream, seqs[stream], batch)
                break
            except ExpectedSeqConflict as conflict:
                seqs[stream] = conflict.actual
        assert not result.duplicate
        seqs[stream] = result.last_seq
        written += [event.event_id for event in batch]
        if dice.random() < 0.02:
            # Not after the seq it was written after: if a connection dies then, that is this request's own success.
            again = await store.append(stream, result.last_seq + dice.randrange(10), batch)
            assert again.duplicate
            assert again.positions == result.positions
    return written


def read(dsn: str, total: int) -> list[str]:
    """Tails the log by position, and each stream by seq, until `total` events are there; their ids by position."""
    return asyncio.run(_read(dsn, total))


async def _read(dsn: str, total: int) -> list[str]:
    async with GroupCommitEventStore(dsn) as store, PostgresListener(dsn) as listener:
        by_stream = asyncio.create_task(_tail_streams(store, listener, total))
        by_position = await _tail_positions(store, listener, total)
        seen_in_streams = await by_stream
    assert sorted(seen_in_streams) == sorted(by_position)
    return by_position


async def _tail_positions(store: GroupCommitEventStore, listener: PostgresListener, total: int) -> list[str]:
    ids: list[str] = []
    seqs: Counter[str] = Counter()
    while len(ids) < total:
        await listener.position.wait_for(len(ids), timeout=PATIENCE_SECONDS)
        for row in await store.read_all_raw(after=len(ids), limit=1000):
            assert row.position == len(ids) + 1, f"position {row.position} came after {len(ids)}"
            assert row.seq == seqs[row.stream] + 1, f"{row.stream} {row.seq} came after {seqs[row.stream]}"
            seqs[row.stream] = row.seq
            ids.append(row.event_id)
    return ids


async def _tail_streams(store: GroupCommitEventStore, listener: PostgresListener, total: int) -> list[str]:
    ids: list[str] = []
    seqs: Counter[str] = Counter()
    while len(ids) < total:
        await listener.position.wait_for(len(ids), timeout=PATIENCE_SECONDS)
        for stream in STREAMS:
            for row in await store.read_stream_raw(stream, after_seq=seqs[stream]):
                assert row.seq == seqs[stream] + 1, f"{stream} {row.seq} came after {seqs[stream]}"
                seqs[stream] = row.seq
                ids.append(row.event_id)
    return ids
