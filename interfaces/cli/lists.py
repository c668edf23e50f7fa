"""`fleetlog list runs|sessions|questions`: newest first, now or as of a position or time."""

import argparse
from collections.abc import Mapping
from typing import Any

import msgspec
from rich.table import Table

from interfaces.cli.as_of_options import add_as_of_options, as_of_query
from interfaces.cli.console import marked, out, print_json
from interfaces.cli.event_text import STATE_COLOURS
from interfaces.cli.server import add_server_options, request_json
from interfaces.settings import Settings


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """`members`: the response's field with the items. `state`: the items' state field, and its query parameter."""

    path: str
    members: str
    state: str
    columns: tuple[str, ...]


LISTINGS: Mapping[str, Listing] = {
    "runs": Listing(
        path="/api/runs",
        members="items",
        state="state",
        columns=("runId", "state", "provider", "sessionId", "createdAt", "finishedAt"),
    ),
    "sessions": Listing(
        path="/api/session-workers",
        members="items",
        state="state",
        columns=("sessionId", "state", "phase", "lastSyncStatus", "attachedRunId", "lastActiveAt"),
    ),
    "questions": Listing(
        path="/api/human-loop/requests",
        members="requests",
        state="status",
        columns=("runId", "questionId", "status", "prompt", "answer"),
    ),
}


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("list", help="runs, sessions or questions, newest first, now or as they were")
    parser.add_argument("what", choices=tuple(LISTINGS))
    parser.add_argument(
        "--state", help="one of the states that the list shows; for any other the error names those that there are"
    )
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--cursor", help="the next page: the cursor that the page before ended with")
    add_as_of_options(parser, of_one=False)
    add_server_options(parser)
    parser.set_defaults(run=run_list)


async def run_list(arguments: argparse.Namespace, settings: Settings) -> int:
    listing = LISTINGS[arguments.what]
    query = {"limit": arguments.limit, listing.state: arguments.state, "cursor": arguments.cursor}
    query = {name: value for name, value in query.items() if value is not None} | as_of_query(arguments)
    found = await request_json(arguments, settings, "GET", listing.path, params=query)
    if arguments.json:
        print_json(found)
        return 0
    table = Table(*listing.columns, box=None)
    for item in found[listing.members]:
        table.add_row(*(_cell(item[column], coloured=column == listing.state) for column in listing.columns))
    out.print(table)
    if found["nextCursor"] is not None:
        out.print(f"[dim]there is more: --cursor {marked(found['nextCursor'])}[/]")
    return 0


def _cell(value: Any, *, coloured: bool) -> str:
    text = "" if value is None else marked(value)
    return f"[{STATE_COLOURS.get(str(value), 'green')}]{text}[/]" if coloured else text
