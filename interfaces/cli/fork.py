"""`fleetlog fork RUN --at SEQ`: a new session that begins with a run's files and conversation as of an event."""

import argparse
from typing import Any

from rich.markup import escape

from interfaces.cli.console import out, print_json, whole
from interfaces.cli.server import add_server_options, path_part, request_json
from interfaces.settings import Settings

FILES = {
    "none": "no files",
    "copying": "its files are still being copied",
    "copied": "the files of the sync at position {}",
}
CONVERSATIONS = {
    "resumed": "the agent's own, resumed by a run of the same provider",
    "retold": "sent to the first run as text from the log",
}


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("fork", help="a new session with a run's files and conversation as they were")
    parser.add_argument("id", metavar="RUN")
    parser.add_argument("--at", type=int, required=True, metavar="SEQ", help="after the run's event with this seq")
    parser.add_argument("--session", metavar="ID", help="the new session's id; a generated one by default")
    add_server_options(parser)
    parser.set_defaults(run=run_fork)


async def run_fork(arguments: argparse.Namespace, settings: Settings) -> int:
    body = {"atSeq": arguments.at} | ({"sessionId": arguments.session} if arguments.session else {})
    answer = await request_json(arguments, settings, "POST", f"/api/runs/{path_part(arguments.id)}/fork", json=body)
    if arguments.json:
        print_json(answer)
        return 0
    origin = answer["origin"]
    made = "is a fork" if answer.get("created", True) else "was known: a fork"
    out.print(
        f"[green]✓[/] session [bold]{escape(answer['sessionId'])}[/] {made} of run {escape(origin['runId'])} "
        f"at seq {origin['atSeq']}"
    )
    out.print(f"  files         {FILES[origin['files']].format(origin['syncPosition'])}")
    out.print(f"  conversation  {CONVERSATIONS[origin['conversation']]}")
    for warning in origin["warnings"]:
        out.print(f"  [yellow]![/] {whole(warning['message'])}")
    how = "POST /api/runs/start with this sessionId, and the origin's appId, projectName and userLoginName"
    out.print(f"[dim]its next run continues from there: {how}[/]")
    return 0
