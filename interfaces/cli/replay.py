"""`fleetlog replay RUN`: the events of a finished run, printed at their original intervals or faster."""

import argparse
import asyncio
from typing import Any

from rich.markup import escape

from interfaces.cli.console import err, out, print_json
from interfaces.cli.event_text import StateAfter, from_list, from_stream
from interfaces.cli.progress import bar_of
from interfaces.cli.server import add_server_options, path_part, request_json, stream_frames
from interfaces.cli.timeline import Timeline
from interfaces.settings import Settings

PAGE = 1000
FASTEST = 10_000.0


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("replay", help="a finished run again, at its original pace; Ctrl-C ends it")
    parser.add_argument("id", metavar="RUN")
    parser.add_argument("--speed", type=_speed, default=1.0, help="4 is four times as fast, 0 at once; 1 by default")
    parser.add_argument("--after", type=int, default=0, metavar="SEQ", help="begin after the event with this seq")
    add_server_options(parser)
    parser.set_defaults(run=run_replay)


async def run_replay(arguments: argparse.Namespace, settings: Settings) -> int:
    """With `--json`, one event per line."""
    path = f"/api/runs/{path_part(arguments.id)}"
    last = int((await request_json(arguments, settings, "GET", path))["seq"])
    query = {"replay": "true", "speed": arguments.speed, "cursor": arguments.after}
    frames = stream_frames(arguments, settings, f"{path}/stream", **query)
    timeline, seq = Timeline(out, "seq", await _state_before(arguments, settings)), arguments.after
    try:
        with bar_of("events", err if arguments.json else out) as report:
            report(seq, last)
            async for data in frames:
                if "seq" not in data:  # a derived frame, not an event of the log
                    continue
                seq = data["seq"]
                if arguments.json:
                    print_json(data)
                else:
                    timeline.event(from_stream(data))
                report(seq, last)
    except asyncio.CancelledError:
        err.print(
            f"[dim]stopped at seq {seq} of {last}; go on with: fleetlog replay {escape(arguments.id)} --after {seq}[/]"
        )
        raise
    if not arguments.json:
        timeline.end()
    return 0


async def _state_before(arguments: argparse.Namespace, settings: Settings) -> StateAfter:
    """The state after the events that `--after` leaves out."""
    state, after = StateAfter("run", arguments.id), 0
    path = f"/api/streams/run:{path_part(arguments.id)}/events"
    while after < arguments.after:
        query = {"after": after, "limit": min(PAGE, arguments.after - after)}
        page = await request_json(arguments, settings, "GET", path, params=query)
        for event in page["events"]:
            state.after(from_list(event))
        if page["nextAfter"] is None:
            break
        after = page["nextAfter"]
    return state


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed <= FASTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: a number from 0 to {FASTEST:g}")
    return speed
