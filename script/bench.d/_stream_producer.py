"""The producer process of the sse benchmark: appends events to runs through the database.

Arguments: DSN, number of runs, events per second of each run (0: as many as commits take), a file for the times at
which the appends were acknowledged (or `-`, format as in _stream_clients.py). It makes the runs, prints `ready`,
and appends from the first line on its standard input until the second one.
"""

import asyncio
import struct
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import uvloop

from domain.event import Event
from domain.record import Metadata, NewEvent
from domain.run.events import MessageDelta, RunQueued
from domain.run.values import Message, RunSpec
from infrastructure.postgres.event_store.store import GroupCommitEventStore

DELTA = MessageDelta(text="A piece of an agent's answer, as long as such pieces usually are. " * 2, lease_generation=1)
METADATA = Metadata(actor="bench", correlation_id="0123456789abcdef0123456789abcdef", trace_id="0123456789abcdef")
SPEC = RunSpec(
    session_id="bench", user_login_name="bench", provider="scripted", messages=(Message(role="user", content="go"),)
)
_COMMITTED = struct.Struct("=IId")


async def produce(dsn: str, run_count: int, rate: float) -> list[tuple[int, int, float]]:
    committed: list[tuple[int, int, float]] = []
    async with GroupCommitEventStore(dsn) as store:

        async def append(run: int, seq: int, event: Event) -> int:
            """The new last seq."""
            new = NewEvent(
                event_id=f"run-{run}/1/0123456789abcdef/{seq}",
                event=event,
                occurred_at=datetime.now(UTC),
                metadata=METADATA,
            )
            result = await store.append(f"run:run-{run}", seq, [new])
            committed.append((run, result.last_seq, time.monotonic()))
            return result.last_seq

        async def follow(run: int) -> None:
            seq = 1
            if not rate:
                while True:
                    seq = await append(run, seq, DELTA)
            due = time.monotonic() + run / run_count / rate
            while True:
                await asyncio.sleep(due - time.monotonic())
                seq = await append(run, seq, DELTA)
                due += 1 / rate

        for run in range(run_count):
            await append(run, 0, RunQueued(spec=SPEC))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        followers = [asyncio.create_task(follow(run)) for run in range(run_count)]
        await asyncio.to_thread(sys.stdin.readline)
        for follower in followers:
            follower.cancel()
        await asyncio.wait(followers)
    return committed


if __name__ == "__main__":
    acknowledged = uvloop.run(produce(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
    if sys.argv[4] != "-":
        Path(sys.argv[4]).write_bytes(b"".join([_COMMITTED.pack(*event) for event in acknowledged]))
    print("done", flush=True)
