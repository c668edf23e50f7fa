"""`fleetlog workspace ls|cat|restore SESSION`: a session's workspace as of any recorded sync, from a running server."""

import argparse
import sys
from typing import Any

import httpx
from rich.table import Table

from interfaces.cli.console import out, print_json
from interfaces.errors import StartRefused
from interfaces.settings import Settings

TIMEOUT_S = 660


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("workspace", help="workspaces as recorded syncs have them")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    ls = actions.add_parser("ls", help="list a workspace")
    ls.add_argument("session")
    ls.add_argument("path", nargs="?", default="/workspace")
    ls.set_defaults(run=run_ls)
    cat = actions.add_parser("cat", help="write a file's bytes to standard output")
    cat.add_argument("session")
    cat.add_argument("path")
    cat.set_defaults(run=run_cat)
    restore = actions.add_parser("restore", help="make a recorded sync the workspace again; syncs first")
    restore.add_argument("session")
    restore.set_defaults(run=run_restore)
    for action in (ls, cat, restore):
        position = "position of a session.synced event (fleetlog shows it as `position`)"
        action.add_argument("--at", type=int, required=action is restore, metavar="POSITION", help=position)
        action.add_argument("--url", help="the server; by default the one that FLEETLOG_HOST and _PORT name")
        action.add_argument("--key-file", type=argparse.FileType(), help="file with an API key, where one is needed")
        action.add_argument("--json", action="store_true", help="JSON for machines")


async def run_ls(arguments: argparse.Namespace, settings: Settings) -> int:
    query = {"path": arguments.path} | _at(arguments)
    listing = (await _call(arguments, settings, "GET", "workspace", params=query)).json()
    if arguments.json:
        print_json(listing)
        return 0
    table = Table("mode", "size", "path", box=None)
    for entry in listing["entries"]:
        letter = {"dir": "d", "symlink": "l"}.get(entry["kind"], "-")
        arrow = f" → {entry['target']}" if entry.get("target") else ""
        table.add_row(f"{letter}{entry.get('mode', 0):03o}", str(entry.get("size", 0)), f"{entry['path']}{arrow}")
    out.print(table)
    return 0


async def run_cat(arguments: argparse.Namespace, settings: Settings) -> int:
    query = {"path": arguments.path} | _at(arguments)
    answer = await _call(arguments, settings, "GET", "workspace/file", params=query)
    sys.stdout.buffer.write(answer.content)
    sys.stdout.buffer.flush()
    return 0


async def run_restore(arguments: argparse.Namespace, settings: Settings) -> int:
    answer = await _call(arguments, settings, "POST", "restore", json={"syncPosition": arguments.at})
    if arguments.json:
        print_json(answer.json())
    elif answer.status_code == httpx.codes.ACCEPTED:
        out.print("the worker is still being synced and taken down: call again")
    else:
        out.print(f"[green]✓[/] the workspace of {arguments.session} is that of position {arguments.at}")
    return 0 if answer.status_code == httpx.codes.OK else 1


def _at(arguments: argparse.Namespace) -> dict[str, int]:
    return {} if arguments.at is None else {"syncPosition": arguments.at}


async def _call(
    arguments: argparse.Namespace, settings: Settings, method: str, what: str, **options: Any
) -> httpx.Response:
    url = arguments.url or f"http://{settings.host}:{settings.port}"
    headers = {"authorization": f"Bearer {arguments.key_file.read().strip()}"} if arguments.key_file else {}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
            answer = await client.request(method, f"/api/session-workers/{arguments.session}/{what}", **options)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StartRefused(f"{url} can't be called ({error}); is the server running?") from error
    if answer.is_error:
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = answer.text[:500]
        raise StartRefused(f"{detail} (HTTP {answer.status_code})")
    return answer
