"""The state at any seq of a run of 100,000 events, warm and cold, against a fold from its first event; and bisect.

A third of the run's events are deltas; all others (tools, todos, messages) change its state. Ours reads the run at
random seqs as `GET /api/runs/{runId}?atSeq=` does: warm on connections that have done it before, cold as the first read
of a new process. It starts from row snapshots that the projector kept. The baseline folds the same events by the same
fold from the first one. Bisect is monotone, over the whole run. Figures are milliseconds.
"""

import asyncio
import random
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import uvloop
from _measuring import CommandLine, conclude, machine, postgres, show

from domain.event import Event
from domain.identifiers import run_stream
from domain.record import Metadata, NewEvent
from domain.run import events as r
from domain.run.values import Todo
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.migrations import migrate
from infrastructure.postgres.projector.projector import Projector
from infrastructure.postgres.read_models.history import PostgresHistory
from infrastructure.postgres.read_models.past_versions import PastVersions
from infrastructure.postgres.read_models.progress import PostgresProjectionProgress
from infrastructure.postgres.read_models.read_models import PostgresReadModels
from interfaces.bootstrap.reads import projection_control
from projections.condition import Condition
from projections.ports import AtSeq
from projections.runs import RUNS
from tests.support.mixed_history import spec

RUN = "long"
FOLDS = 5
METADATA = Metadata(actor="bench", correlation_id="c")


def events_of(count: int) -> list[Event]:
    events: list[Event] = [
        r.RunQueued(spec=spec(0, "bench")),
        r.RunClaimed(lease_generation=1, owner="bench", attempt=1),
        r.RunStarted(lease_generation=1, attempt=1, generation=1, boot_id="bench"),
    ]
    step = 0
    while len(events) < count:
        step += 1
        tool, todo = f"t{step}", Todo(todo_id=f"d{step % 20}", content=f"step {step}", status="doing", order=step % 20)
        events += [
            r.MessageDelta(lease_generation=1, text="A piece of an agent's answer, as long as they are. "),
            r.MessageDelta(lease_generation=1, text="And another one, of about the same length. "),
            r.ToolStarted(lease_generation=1, tool_id=tool, name="shell", input={"command": "pytest -q"}),
            r.ToolEnded(lease_generation=1, tool_id=tool, output={"text": "3 passed"}, ok=step % 9 > 0),
            r.TodoUpdated(lease_generation=1, todo=todo),
            r.MessageStopped(lease_generation=1),
        ]
    return events[:count]


async def written(dsn: str, count: int) -> None:
    """Write the run and project it, with its row snapshots."""
    await migrate(dsn)
    stream, now = run_stream(RUN), datetime.now(UTC)
    new = [
        NewEvent(event_id=f"{RUN}/{number}", event=event, occurred_at=now, metadata=METADATA)
        for number, event in enumerate(events_of(count), 1)
    ]
    async with (
        GroupCommitEventStore(dsn) as store,
        PostgresListener(dsn) as listener,
        await open_pool(dsn, size=2) as pool,
        PostgresProjectionProgress(pool, listener) as progress,
    ):
        projector = Projector(dsn, control=projection_control(store), end_of_log=listener.position)
        projecting = asyncio.create_task(projector.run())
        for start in range(0, count, 1000):
            result = await store.append(stream, start, new[start : start + 1000])
        for name in ("runs", "todos", "human_loop"):
            assert await progress.wait_for(name, result.position, 300)
        projecting.cancel()


async def reads(dsn: str, seqs: list[int]) -> list[float]:
    """Milliseconds of each read."""
    times = []
    async with GroupCommitEventStore(dsn) as store, await open_pool(dsn, size=1) as pool:
        models = PostgresReadModels(pool, PastVersions(pool, projection_control(store)))
        for seq in seqs:
            began = time.perf_counter()
            answer = await models.run(RUN, at=AtSeq(seq))
            times.append((time.perf_counter() - began) * 1000)
            assert answer.value is not None
            assert answer.value.seq == seq
    return times


async def folds(dsn: str, seqs: list[int]) -> list[float]:
    """Milliseconds of each fold from the first event."""
    times = []
    async with GroupCommitEventStore(dsn) as store:
        for seq in seqs:
            began = time.perf_counter()
            rows = RUNS.fold_all(await store.read_stream(run_stream(RUN), up_to_seq=seq))
            times.append((time.perf_counter() - began) * 1000)
            assert rows
    return times


async def bisected(dsn: str, count: int) -> float:
    async with await open_pool(dsn, size=1) as pool:
        history = PostgresHistory(pool)
        began = time.perf_counter()
        found = await history.bisect("run", RUN, Condition(f"tools.started >= {count // 9}"), monotone=True)
        elapsed = (time.perf_counter() - began) * 1000
    assert found.found
    return elapsed


def cold_read(dsn: str, seq: int) -> float:
    """Milliseconds in a new process, with its connection and first query plan, without its start."""
    command = [sys.executable, __file__, "--cold", dsn, str(seq)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return float(done.stdout)


def run(events: int, rounds: int, reads_of_round: int, processes: int) -> dict[str, Any]:
    random_ = random.Random(1)
    warm, cold, whole, halved = [], [], [], []
    with postgres() as server:
        host = machine(server)
        dsn = server.create_database()
        uvloop.run(written(dsn, events))
        for _ in range(rounds):
            seqs = [random_.randint(1, events) for _ in range(reads_of_round)]
            warm += uvloop.run(reads(dsn, [1, *seqs]))[1:]
            cold += [cold_read(dsn, random_.randint(1, events)) for _ in range(processes)]
            whole += uvloop.run(folds(dsn, random_.choices(seqs, k=FOLDS)))
            halved.append(uvloop.run(bisected(dsn, events)))
    ours, baseline = statistics.median(warm), statistics.median(whole)
    rows = [
        (
            name,
            f"{statistics.median(times):.1f}",
            f"{baseline / statistics.median(times):.1f}x" if compared else "",
            f"{max(times):.1f}",
            str(len(times)),
        )
        for name, times, compared in (
            ("a fold from the first event", whole, False),
            ("fleetlog, warm", warm, True),
            ("fleetlog, cold", cold, True),
            ("monotone bisect", halved, False),
        )
    ]
    title = f"timetravel: a run of {events:,} events"
    show(title, ("what", "median ms", "ratio", "slowest ms", "times"), rows, host)
    return {
        "bench": "timetravel",
        "rounds": rounds,
        "ours": round(ours, 2),
        "baseline": round(baseline, 1),
        "ratio": round(baseline / ours, 1),
        "cold_ms": round(statistics.median(cold), 1),
        "cold_slowest_ms": round(max(cold), 1),
        "warm_slowest_ms": round(max(warm), 1),
        "bisect_ms": round(statistics.median(halved), 1),
        "events": events,
        "machine": host,
    }


def main() -> None:
    if sys.argv[1:2] == ["--cold"]:
        print(uvloop.run(reads(sys.argv[2], [int(sys.argv[3])]))[0])
        return
    parser = CommandLine("timetravel", __doc__, rounds=3)
    parser.add_size("--events", 100_000, toy=600)
    parser.add_size("--reads", 60, toy=5, about="warm reads of a round")
    parser.add_size("--processes", 5, toy=1, about="new processes of a round, one cold read each")
    options = parser.parse()
    result = run(options.events, options.rounds, options.reads, options.processes)
    conclude(result, as_json=options.json)


if __name__ == "__main__":
    main()
