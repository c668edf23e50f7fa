"""What observing costs: appends a second, SSE frames a second and activations, with a collector (on) and without (off).

`off` is what a server does by default: it counts. `on` exports traces, metrics and logs to a collector in a process of
its own. `none` has no observer at all. Appends: 32 callers, each on a run of its own, one event in twenty a message's
end. SSE: clients of live runs, unthrottled. Activation: of an empty session in the `process` runtime, at two real
servers. All take turns in one run; the figures are medians of the rounds, and each ratio says how many times better
`on` is than `off`: 0.95 is 5 % worse.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from _measuring import CommandLine, conclude, machine, postgres, show
from _observing import EXPORTED, MODES, environment, observing
from activate import activate
from append import DELTA, METADATA
from sse import Bench, Load, line_process

from domain.event import Event
from domain.record import NewEvent
from domain.run.events import MessageStopped, RunClaimed, RunQueued, RunStarted
from domain.run.values import Message, RunSpec
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.migrations import migrate
from tests.support.fleetlog_server import FleetlogServer

CALLERS, EVENTS_PER_MESSAGE = 32, 20
SPEC = RunSpec(
    session_id="bench", user_login_name="bench", provider="scripted", messages=(Message(role="user", content="go"),)
)
BEGINNING: tuple[Event, ...] = (
    RunQueued(spec=SPEC),
    RunClaimed(owner="bench", attempt=1, lease_generation=1),
    RunStarted(attempt=1, generation=1, boot_id="bench", lease_generation=1),
)


def new_event(event: Event, event_id: str) -> NewEvent:
    return NewEvent(event_id=event_id, event=event, occurred_at=datetime.now(UTC), metadata=METADATA)


async def appends(dsn: str, mode: str, seconds: float) -> float:
    """A second, acknowledged."""
    done = 0
    async with (
        GroupCommitEventStore(dsn) as store,
        PostgresListener(dsn) as listener,
        observing(dsn, store, listener, mode),
    ):

        async def caller(number: int, deadline: float) -> None:
            nonlocal done
            run = f"{number}-{time.monotonic_ns()}"
            first = [new_event(each, f"{run}/{seq}") for seq, each in enumerate(BEGINNING)]
            await store.append(f"run:{run}", 0, first)
            seq = len(first)
            while time.perf_counter() < deadline:
                event = MessageStopped(lease_generation=1) if seq % EVENTS_PER_MESSAGE == 0 else DELTA
                await store.append(f"run:{run}", seq, [new_event(event, f"{run}/1/b/{seq}")])
                seq += 1
                done += 1

        began = time.perf_counter()
        await asyncio.gather(*[caller(number, began + seconds) for number in range(CALLERS)])
        return done / (time.perf_counter() - began)


@contextmanager
def collector() -> Iterator[str]:
    """Its URL, which is in this process's environment, too."""
    with line_process("_otlp_sink.py") as sink:
        url = f"http://127.0.0.1:{sink.read_line()}"
        os.environ[EXPORTED] = url
        try:
            yield url
        finally:
            del os.environ[EXPORTED]


def run(rounds: int, load: Load, append_s: float, activations: int) -> dict[str, Any]:
    figures: dict[str, dict[str, list[float]]] = {
        name: {mode: [] for mode in modes}
        for name, modes in (("append", MODES), ("sse", MODES), ("activation", ("off", "on")))
    }
    with (
        collector() as url,
        postgres() as database,
        tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder,
    ):
        host = machine(database)
        streams = Bench(database.dsn, Path(folder), load)
        for number in range(rounds):
            for mode in MODES if number % 2 == 0 else MODES[::-1]:
                dsn = database.create_database()
                asyncio.run(migrate(dsn))
                figures["append"][mode].append(uvloop.run(appends(dsn, mode, append_s)))
                figures["sse"][mode].append(streams.ours(0, in_detail=False, observed=mode))
        with (
            FleetlogServer(Path(folder) / "off/home", **environment("off", url)) as off,
            FleetlogServer(Path(folder) / "on/home", **environment("on", url)) as on,
        ):
            for server in (off, on):
                activate(server)
            for number in range(activations):
                for mode, server in (("off", off), ("on", on))[:: 1 if number % 2 == 0 else -1]:
                    figures["activation"][mode].append(1 / activate(server)[0])
    return report(figures, rounds, host)


def report(figures: dict[str, dict[str, list[float]]], rounds: int, host: dict[str, Any]) -> dict[str, Any]:
    medians = {
        name: {mode: statistics.median(values) for mode, values in of_modes.items()}
        for name, of_modes in figures.items()
    }
    ratios = {name: of_modes["on"] / of_modes["off"] for name, of_modes in medians.items()}
    rows = [
        (
            f"{name} a second, {mode}",
            f"{medians[name][mode]:,.2f}",
            f"{medians[name][mode] / medians[name]['off']:.3f}x",
            " ".join(f"{value:,.2f}" for value in values),
        )
        for name, of_modes in figures.items()
        for mode, values in of_modes.items()
    ]
    show(f"observe: medians of {rounds} rounds", ("", "median", "ratio to off", "rounds"), rows, host)
    worst = min(ratios, key=lambda name: ratios[name])
    return {
        "bench": "observe",
        "rounds": rounds,
        "ours": round(medians[worst]["on"], 3),
        "baseline": round(medians[worst]["off"], 3),
        "ratio": round(ratios[worst], 3),
        **{f"ratio_{name}": round(value, 3) for name, value in ratios.items()},
        **{f"ratio_none_{name}": round(medians[name]["none"] / medians[name]["off"], 3) for name in ("append", "sse")},
        "figures": {name: {mode: round(each, 3) for mode, each in found.items()} for name, found in medians.items()},
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("observe", __doc__, rounds=5)
    parser.add_size("--append-seconds", 3.0, toy=0.3, about="per mode and round")
    parser.add_size("--seconds", 4.0, toy=0.5, about="of streams, per mode and round")
    parser.add_size("--warm-up", 1.0, toy=0.1, about="seconds before each measurement of streams")
    parser.add_size("--runs", 100, toy=2)
    parser.add_size("--clients", 1000, toy=4)
    parser.add_size("--activations", 15, toy=1, about="at each server")
    options = parser.parse()
    load = Load(options.runs, options.clients, options.seconds, options.warm_up)
    result = run(options.rounds, load, options.append_seconds, options.activations)
    conclude(result, as_json=options.json)


if __name__ == "__main__":
    main()
