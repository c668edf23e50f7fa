"""`fleetlog process-managers status|retry|skip`: where the process managers are, and what stops them."""

import argparse
import getpass
import uuid
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from application.command_context import CommandContext
from application.ports.process_manager_records import ProcessManagerStatus
from domain.errors import DomainError
from interfaces.cli.console import marked, out, print_error, print_json
from interfaces.settings import Settings


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "process-managers", help="see process managers; retry or skip the event that stopped one"
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="the position and status of each process manager")
    retry = actions.add_parser("retry", help="process the event that stopped one again")
    skip = actions.add_parser("skip", help="go on without that event: its commands and effects are left out")
    for action, run in ((status, run_status), (retry, run_retry), (skip, run_skip)):
        if action is not status:
            action.add_argument("name", help="such as run_life; `status` lists them")
            action.add_argument("--reason", default="", help="kept in the log")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)
    skip.add_argument("--position", type=int, required=True, help="the event's position, as `status` shows it")


async def run_status(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.direct_access import process_manager_administration

    async with process_manager_administration(settings) as administration:
        statuses = await administration.records.status()
        pending = await administration.records.pending()
    if arguments.json:
        print_json(statuses)
    else:
        out.print(_table(statuses))
        for each in pending:
            out.print(each.text)
    return 0 if all(status.status == "running" for status in statuses) else 1


async def run_retry(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings)


async def run_skip(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings)


async def _act(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.direct_access import process_manager_administration

    command_id = uuid.uuid4().hex
    context = CommandContext(actor=f"cli/{getpass.getuser()}", command_id=command_id, correlation_id=command_id)
    async with process_manager_administration(settings) as administration:
        controls = administration.controls
        try:
            if arguments.run is run_skip:
                position = await controls.skip(arguments.name, arguments.position, arguments.reason, context)
            else:
                position = await controls.retry(arguments.name, arguments.reason, context)
        except DomainError as error:
            print_error(str(error))
            return 1
    if arguments.json:
        print_json({"position": position})
    else:
        out.print(f"recorded at position {position}")
    return 0


def _table(statuses: Sequence[ProcessManagerStatus]) -> Table:
    table = Table("process manager", "status", "position", "behind", "error")
    for status in statuses:
        colour = "green" if status.status == "running" else "red"
        error = f"at {status.error_position} ({status.error_type}): {status.error}" if status.error_position else ""
        behind = f"{status.lag_events} events, {status.lag_seconds:.1f} s"
        table.add_row(status.name, f"[{colour}]{status.status}[/]", str(status.position), behind, marked(error))
    return table
