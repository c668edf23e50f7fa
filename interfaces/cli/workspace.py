"""`fleetlog workspace ls|cat|restore SESSION`: a session's workspace as of a recorded sync, from a running server;
`workspace discard SESSION` gives up the one that can't be synced."""

import argparse
import sys
from typing import Any

import httpx
from rich.table import Table

from interfaces.cli.console import out, print_json, whole
from interfaces.cli.server import add_server_options, path_part, request
from interfaces.settings import Settings


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("workspace", help="stored workspaces, as of a recorded sync")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    ls = actions.add_parser("ls", help="list a workspace")
    ls.add_argument("session")
    ls.add_argument("path", nargs="?", default="/workspace")
    ls.set_defaults(run=run_ls)
    cat = actions.add_parser("cat", help="write a file's bytes to standard output")
    cat.add_argument("session")
    cat.add_argument("path")
    cat.set_defaults(run=run_cat)
    restore = actions.add_parser(
        "restore", help="make a recorded sync the current workspace, after a sync of the present one"
    )
    restore.add_argument("session")
    restore.set_defaults(run=run_restore)
    discard = actions.add_parser(
        "discard", help="remove a worker without a sync: what it holds since the last recorded sync is lost"
    )
    discard.add_argument("session")
    discard.add_argument("--reason", required=True, help="kept in the log")
    discard.set_defaults(run=run_discard)
    add_server_options(discard)
    for action in (ls, cat, restore):
        position = "of a sync: `fleetlog events --stream session:SESSION --type session.synced` lists them"
        action.add_argument("--at", type=int, required=action is restore, metavar="POSITION", help=position)
        add_server_options(action)


async def run_ls(arguments: argparse.Namespace, settings: Settings) -> int:
    query = {"path": arguments.path} | _at(arguments)
    listing = (await request(arguments, settings, "GET", _path(arguments, "workspace"), params=query)).json()
    if arguments.json:
        print_json(listing)
        return 0
    table = Table("mode", "size", "path", box=None)
    for entry in listing["entries"]:
        letter = {"dir": "d", "symlink": "l"}.get(entry["kind"], "-")
        arrow = f" → {whole(entry['target'])}" if entry.get("target") else ""
        mode, size = f"{letter}{entry.get('mode', 0):03o}", str(entry.get("size", 0))
        table.add_row(mode, size, f"{whole(entry['path'])}{arrow}")
    out.print(table)
    return 0


async def run_cat(arguments: argparse.Namespace, settings: Settings) -> int:
    query = {"path": arguments.path} | _at(arguments)
    answer = await request(arguments, settings, "GET", _path(arguments, "workspace/file"), params=query)
    sys.stdout.buffer.write(answer.content)
    sys.stdout.buffer.flush()
    return 0


async def run_restore(arguments: argparse.Namespace, settings: Settings) -> int:
    answer = await request(
        arguments, settings, "POST", _path(arguments, "restore"), json={"syncPosition": arguments.at}
    )
    if arguments.json:
        print_json(answer.json())
    elif answer.status_code == httpx.codes.ACCEPTED:
        out.print("the worker is still being synced and taken down: call again")
    else:
        out.print(f"[green]✓[/] the workspace of {arguments.session} is that of position {arguments.at}")
    return 0 if answer.status_code == httpx.codes.OK else 1


async def run_discard(arguments: argparse.Namespace, settings: Settings) -> int:
    answer = await request(
        arguments, settings, "POST", _path(arguments, "discard-workspace"), json={"reason": arguments.reason}
    )
    if arguments.json:
        print_json(answer.json())
    elif answer.status_code == httpx.codes.ACCEPTED:
        out.print("the worker is still being removed: `fleetlog list sessions` shows when it is")
    elif answer.json()["worker"]["lastSync"] is None:
        out.print(f"[green]✓[/] the worker of {arguments.session} is removed; its next one begins without files")
    else:
        out.print(f"[green]✓[/] the worker of {arguments.session} is removed; its next one has the last recorded sync")
    return 0 if answer.status_code == httpx.codes.OK else 1


def _path(arguments: argparse.Namespace, what: str) -> str:
    return f"/api/session-workers/{path_part(arguments.session)}/{what}"


def _at(arguments: argparse.Namespace) -> dict[str, int]:
    return {} if arguments.at is None else {"syncPosition": arguments.at}
