"""`fleetlog effects list|show|retry|drop`: the effect ledger, and the dead letters in it."""

import argparse
import getpass
import uuid
from collections.abc import Sequence
from typing import Any, get_args

from rich.table import Table

from application.command_context import CommandContext
from application.ports.effect_records import EffectRecord, EffectState, EffectTry
from domain.errors import DomainError
from interfaces.cli.console import marked, out, print_error, print_json
from interfaces.settings import Settings

NEWEST = 2**63 - 1
COLOURS = {"done": "green", "dead": "red", "ready": "yellow", "leased": "cyan"}


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("effects", help="see effects; retry or drop dead letters")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="effects, newest first; by default the dead letters")
    listed.add_argument("--state", action="append", choices=get_args(EffectState), help="may be given several times")
    listed.add_argument("--limit", type=int, default=50)
    shown = actions.add_parser("show", help="one effect with all its attempts")
    retried = actions.add_parser("retry", help="try a dead letter again")
    dropped = actions.add_parser("drop", help="give a dead letter up for good")
    for action, run in ((listed, run_list), (shown, run_show), (retried, run_retry), (dropped, run_drop)):
        if action is not listed:
            action.add_argument("id", help="as `list` shows it")
        if action in {retried, dropped}:
            action.add_argument("--reason", default="", help="kept in the log")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=run)


async def run_list(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.direct_access import operator_commands

    async with operator_commands(settings) as work:
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
    from interfaces.bootstrap.direct_access import operator_commands

    async with operator_commands(settings) as work:
        record = await work.records.get(arguments.id)
        tries = await work.records.tries(record.effect_id) if record else []
    if record is None:
        print_error(f"no effect {arguments.id} is known; `fleetlog effects list` shows what waits for a person")
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
    from interfaces.bootstrap.direct_access import operator_commands

    command_id = f"cli/{uuid.uuid4().hex}"
    context = CommandContext(actor=f"cli/{getpass.getuser()}", command_id=command_id, correlation_id=command_id)
    try:
        async with operator_commands(settings) as work:
            decide = work.retry if action == "retry" else work.drop
            position = await decide(arguments.id, arguments.reason, context)
    except DomainError as error:
        print_error(str(error))
        return 1
    if arguments.json:
        print_json({"position": position})
    else:
        out.print(f"[green]✓[/] {action} is in the log at position {position}")
    return 0


def _table(records: Sequence[EffectRecord]) -> Table:
    table = Table("id", "kind", "key", "state", "tries", "last error")
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
