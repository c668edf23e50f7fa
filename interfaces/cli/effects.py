"""`fleetlog effects list|show|retry|drop`: what was wanted of the outside world, and what became of it."""

import argparse
import getpass
import uuid
from collections.abc import Sequence
from typing import Any, get_args

from rich.table import Table

from application.command_context import CommandContext
from application.work_control import EffectRecord, EffectState, EffectTry
from domain.errors import DomainError
from interfaces.cli.console import complain, marked, out, print_json
from interfaces.settings import Settings

NEWEST = 2**63 - 1
COLOURS = {"done": "green", "dead": "red", "ready": "yellow", "leased": "cyan"}


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("effects", help="see wanted effects; retry or drop those that were given up")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="effects, newest first; by default those that were given up")
    listed.add_argument("--state", action="append", choices=get_args(EffectState), help="may be given several times")
    listed.add_argument("--limit", type=int, default=50)
    shown = actions.add_parser("show", help="one effect with every try")
    retried = actions.add_parser("retry", help="try once more what was given up")
    dropped = actions.add_parser("drop", help="never try again what was given up")
    for action, run in ((listed, run_list), (shown, run_show), (retried, run_retry), (dropped, run_drop)):
        if action is not listed:
            action.add_argument("id", help="as `list` shows it")
        if action in {retried, dropped}:
            action.add_argument("--reason", default="", help="kept in the log")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)


async def run_list(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.work_administration import work_administration

    async with work_administration(settings) as work:
        found = await work.records.list(
            states=arguments.state or ["dead"], kind="", before=NEWEST, limit=arguments.limit
        )
    if arguments.json:
        print_json(found)
    elif found:
        out.print(_table(found))
    else:
        out.print(f"no effect is {' or '.join(arguments.state or ['dead'])}")
    return 0


async def run_show(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.work_administration import work_administration

    async with work_administration(settings) as work:
        record = await work.records.get(arguments.id)
        tries = await work.records.tries(record.effect_id) if record else []
    if record is None:
        complain(f"no effect {arguments.id} is known; `fleetlog effects list` shows what waits for a person")
        return 1
    if arguments.json:
        print_json({"effect": record, "history": tries})
        return 0
    out.print(f"[bold]{record.kind}[/] {record.effect_id}\n  wanted by the event at position {record.caused_by}")
    out.print(f"  [{COLOURS.get(record.state, 'white')}]{record.state}[/] after {record.attempts} tries")
    out.print(_history(tries))
    return 0


async def run_retry(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _decide(arguments, settings, "retry")


async def run_drop(arguments: argparse.Namespace, settings: Settings) -> int:
    return await _decide(arguments, settings, "drop")


async def _decide(arguments: argparse.Namespace, settings: Settings, action: str) -> int:
    from interfaces.bootstrap.work_administration import work_administration

    command_id = f"cli/{uuid.uuid4().hex}"
    context = CommandContext(actor=f"cli/{getpass.getuser()}", command_id=command_id, correlation_id=command_id)
    try:
        async with work_administration(settings) as work:
            decide = work.retry if action == "retry" else work.drop
            position = await decide(arguments.id, arguments.reason, context)
    except DomainError as error:
        complain(str(error))
        return 1
    if arguments.json:
        print_json({"position": position})
    else:
        out.print(f"[green]✓[/] {action} is in the log at position {position}")
    return 0


def _table(records: Sequence[EffectRecord]) -> Table:
    table = Table("id", "kind", "lane", "state", "tries", "last error")
    for record in records:
        state = f"[{COLOURS.get(record.state, 'white')}]{record.state}[/]"
        table.add_row(record.id, record.kind, record.lane, state, str(record.attempts), marked(record.last_error))
    return table


def _history(tries: Sequence[EffectTry]) -> Table:
    table = Table("try", "by", "from", "to", "outcome", "error")
    for one in tries:
        ended = one.finished_at.isoformat(timespec="milliseconds") if one.finished_at else ""
        began = one.started_at.isoformat(timespec="milliseconds")
        table.add_row(str(one.attempt), one.owner, began, ended, one.outcome, marked(one.error))
    return table
