"""`fleetlog projections status|rebuild|retry|skip|forget`: see and administer projections. Each change is an event."""

import argparse
import asyncio
import getpass
import time
import uuid
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from application.ports.user_projections import UserProjectionStatus
from domain.errors import DomainError
from domain.record import Metadata
from interfaces.cli.console import marked, out, print_error, print_json
from interfaces.cli.progress import bar_of
from interfaces.settings import Settings
from projections.ports import ProjectionAdministration, ProjectionStatus

POLL_S = 0.2
UNHELD_S = 15.0


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "projections",
        help="see and rebuild read models; retry or skip the event that stopped one of them, or a projection of yours",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="the position and status of each read model")
    rebuild = actions.add_parser("rebuild", help="build a new version beside the current one, then swap")
    retry = actions.add_parser("retry", help="try the event again that stopped a projection")
    skip = actions.add_parser("skip", help="go on without the event that stopped a projection")
    forget = actions.add_parser("forget", help="show a projection of yours no more that has ended; its tables stay")
    for action, run in (
        (status, run_status), (rebuild, run_rebuild), (retry, run_retry), (skip, run_skip), (forget, run_forget),
    ):  # fmt: skip
        if action is not status:
            action.add_argument("name", help="such as runs; `status` lists them")
            action.add_argument("--reason", default="", help="kept in the log")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)
    rebuild.add_argument("--no-wait", action="store_true", help="don't follow the build; --json doesn't either")
    skip.add_argument("--position", type=int, required=True, help="the event's position, as `status` shows it")


async def run_status(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 if one of Fleetlog's own doesn't go on; those of users are their own affair."""
    from interfaces.bootstrap.direct_access import projection_administration

    async with projection_administration(settings) as administration:
        statuses, of_users = await administration.own.status(), await administration.users.status()
    if arguments.json:
        print_json([*statuses, *of_users])
    else:
        out.print(_table(statuses))
        if of_users:
            out.print(_table_of_users(of_users))
    return 0 if all(status.status == "running" for status in statuses if status.state == "active") else 1


async def run_rebuild(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings, "rebuild")


async def _follow(administration: ProjectionAdministration, name: str, version: int) -> int:
    """Show progress until readers see the new version. Ctrl-C ends the command, not the build."""
    unheld_since: float | None = None
    with bar_of(f"{name} version {version}") as report:
        while True:
            present = {each.version: each for each in await administration.status() if each.projection == name}
            built = present.get(version)
            if built is None or built.state != "building":
                break
            report(built.position, built.position + built.lag_events)
            if built.status != "running":
                print_error(f"the build is {built.status} at position {built.error_position}: {built.error}")
                return 1
            unheld_since = None if built.holder else unheld_since or time.monotonic()
            if unheld_since is not None and time.monotonic() - unheld_since > UNHELD_S:
                print_error("nobody builds it: `fleetlog up` or `fleetlog worker` has to run")
                return 1
            await asyncio.sleep(POLL_S)
    out.print(f"[green]✓[/] readers see version {version} of [bold]{marked(name)}[/]")
    return 0


async def run_retry(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings, "retry")


async def run_skip(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings, "skip")


async def run_forget(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _act(arguments, settings, "forget")


async def _act(arguments: argparse.Namespace, settings: Settings, action: str) -> int:
    from interfaces.bootstrap.direct_access import projection_administration

    command_id = f"cli/{uuid.uuid4().hex}"
    audit = {
        "by": Metadata(actor=f"cli/{getpass.getuser()}", correlation_id=command_id),
        "command_id": command_id,
        "reason": arguments.reason,
    }
    try:
        async with projection_administration(settings) as projections:
            administration = projections.own
            if action == "rebuild":
                result = {"version": await administration.rebuild(arguments.name, **audit)}
                if not arguments.json and not arguments.no_wait:
                    return await _follow(administration, arguments.name, result["version"])
            elif action == "retry":
                result = {"position": await administration.retry(arguments.name, **audit)}
            elif action == "forget":
                result = {"position": await administration.forget(arguments.name, **audit)}
            else:
                position = await administration.skip(arguments.name, arguments.position, **audit)
                result = {"position": position}
    except DomainError as error:
        print_error(str(error))
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
        stopped = marked(f"{status.error_type} at {status.error_position}: {status.error}") if status.error else ""
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


def _table_of_users(statuses: Sequence[UserProjectionStatus]) -> Table:
    table = Table("your projection", "status", "position", "behind", "held by", "restarts", "stopped by, or last error")
    for status in statuses:
        colour = {"running": "green", "stopped": "red", "not running": "dim"}.get(status.status, "yellow")
        error = status.error or ""
        if status.error_position is not None:
            error = f"{status.error_type} at {status.error_position}: {error}"
        table.add_row(
            marked(status.projection),
            f"[{colour}]{status.status}[/]",
            str(status.position),
            status.lag_text,
            marked(status.holder or "nobody"),
            str(status.restarts),
            marked(error),
        )
    return table
