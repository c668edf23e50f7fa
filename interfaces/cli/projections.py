"""`fleetlog projections status|rebuild|retry|skip`: see and administer the read models. All of it is in the log."""

import argparse
import getpass
import uuid
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from domain.errors import DomainError
from domain.record import Metadata
from interfaces.cli.console import complain, out, print_json
from interfaces.settings import Settings
from projections.ports import ProjectionStatus


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("projections", help="see, rebuild, retry and skip in the read models")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="where each read model stands")
    rebuild = actions.add_parser("rebuild", help="build a new version beside the present one, then swap")
    retry = actions.add_parser("retry", help="try the event again that stopped a projection")
    skip = actions.add_parser("skip", help="go on without the event that stopped a projection")
    for action, run in ((status, run_status), (rebuild, run_rebuild), (retry, run_retry), (skip, run_skip)):
        if action is not status:
            action.add_argument("name", help="such as runs; `status` lists them")
            action.add_argument("--reason", default="", help="kept in the log")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)
    skip.add_argument("--position", type=int, required=True, help="the event's position, as `status` shows it")


async def run_status(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.projection_administration import projection_administration

    async with projection_administration(settings) as administration:
        statuses = await administration.status()
    if arguments.json:
        print_json(statuses)
    else:
        out.print(_table(statuses))
    return 0 if all(status.status == "running" for status in statuses if status.state == "active") else 1


async def run_rebuild(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings, "rebuild")


async def run_retry(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings, "retry")


async def run_skip(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings, "skip")


async def _act(arguments: argparse.Namespace, settings: Settings, action: str) -> int:
    from interfaces.bootstrap.projection_administration import projection_administration

    command_id = f"cli/{uuid.uuid4().hex}"
    audit = {
        "by": Metadata(actor=f"cli/{getpass.getuser()}", correlation_id=command_id),
        "command_id": command_id,
        "reason": arguments.reason,
    }
    try:
        async with projection_administration(settings) as administration:
            if action == "rebuild":
                result = {"version": await administration.rebuild(arguments.name, **audit)}
            elif action == "retry":
                result = {"position": await administration.retry(arguments.name, **audit)}
            else:
                position = await administration.skip(arguments.name, arguments.position, **audit)
                result = {"position": position}
    except DomainError as error:
        complain(str(error))
        return 1
    if arguments.json:
        print_json(result)
    else:
        (field, value), *_ = result.items()
        out.print(f"[green]✓[/] {action} of [bold]{arguments.name}[/] is in the log ({field} {value})")
    return 0


def _table(statuses: Sequence[ProjectionStatus]) -> Table:
    table = Table("projection", "version", "state", "status", "position", "behind", "held by", "stopped by")
    for status in statuses:
        colour = {"running": "green", "waiting": "yellow", "paused": "red"}[status.status]
        stopped = f"{status.error_type} at {status.error_position}: {status.error}" if status.error else ""
        table.add_row(
            status.projection,
            str(status.version),
            status.state,
            f"[{colour}]{status.status}[/]",
            str(status.position),
            f"{status.lag_events} events, {status.lag_seconds:.1f} s",
            status.holder or "[red]nobody[/]",
            stopped,
        )
    return table
