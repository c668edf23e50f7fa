"""`fleetlog logs --worker SESSION`: the last lines of the log of a session worker's executor, from a running server."""

import argparse
from typing import Any

from interfaces.cli.console import marked, out, print_json
from interfaces.cli.server import add_server_options, path_part, request_json
from interfaces.settings import Settings

COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
IDS = ("runId", "effectId", "traceId")


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("logs", help="the last lines of the log of a session worker's executor")
    parser.add_argument("--worker", required=True, metavar="SESSION", help="the session whose worker it is")
    parser.add_argument("--limit", type=int, default=200, metavar="LINES", help="how many, 1000 at most")
    add_server_options(parser)
    parser.set_defaults(run=run_logs)


async def run_logs(arguments: argparse.Namespace, settings: Settings) -> int:
    path = f"/api/session-workers/{path_part(arguments.worker)}/logs"
    found = await request_json(arguments, settings, "GET", path, params={"limit": arguments.limit})
    if arguments.json:
        print_json(found)
        return 0
    if found["leftOut"]:
        out.print(f"[dim]{found['leftOut']} earlier lines are not shown[/]")
    for line in found["lines"]:
        colour = COLOURS.get(str(line.get("level", "")), "green")
        ids = " ".join(f"{name}={line[name]}" for name in IDS if line.get(name))
        time, level, message = (marked(str(line.get(name, ""))) for name in ("time", "level", "message"))
        text = f"{time} [{colour}]{level}[/] {message}"
        out.print(f"{text} [dim]{marked(ids)}[/]" if ids else text)
        if line.get("exception"):
            out.print(marked(str(line["exception"])))
    return 0
