"""`fleetlog events|history|show|diff|why|bisect`: the log and its past, from a running server.

ID is a run, or with `--session` a session.
"""

import argparse
from datetime import datetime
from typing import Any

import msgspec
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from interfaces.cli.console import out, print_json
from interfaces.cli.server import add_server_options, answer_of
from interfaces.settings import Settings

PAGE = 1000
LONGEST_SHOWN = 100
COLOURS = {
    "run": "cyan",
    "session": "blue",
    "message": "white",
    "tool": "yellow",
    "todo": "green",
    "human_loop": "magenta",
}
MARKS = {"added": "[green]+[/]", "removed": "[red]-[/]", "changed": "[yellow]~[/]"}


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    events = commands.add_parser("events", help="search the log: by type, stream, actor, time, text")
    for name in ("type", "stream", "actor", "text", "from", "to"):
        events.add_argument(f"--{name}", action="append" if name == "type" else "store")
    events.add_argument("--correlation-id", dest="correlation_id")
    events.add_argument("--after", type=int, default=0, metavar="POSITION")
    events.add_argument("--limit", type=int, default=100)
    events.set_defaults(run=run_events)
    history = commands.add_parser("history", help="a run's or session's events as a timeline")
    history.set_defaults(run=run_history)
    show = commands.add_parser("show", help="a run or session as it was")
    show.add_argument("--at", type=int, metavar="SEQ", help="after the event with this seq; now by default")
    show.set_defaults(run=run_show)
    diff = commands.add_parser("diff", help="what changed between two seqs, and by which events")
    diff.set_defaults(run=run_diff)
    bisect = commands.add_parser("bisect", help="the first event after which a condition holds")
    bisect.set_defaults(run=run_bisect)
    why = commands.add_parser("why", help="why an event came to be, and what it led to")
    why.add_argument("position", type=int)
    why.set_defaults(run=run_why)
    for parser in (history, show, diff, bisect):
        parser.add_argument("id")
        parser.add_argument("--session", action="store_true", help="ID is a session, not a run")
    diff.add_argument("from_seq", type=int, metavar="FROM")
    diff.add_argument("to_seq", type=int, metavar="TO")
    bisect.add_argument("where", help="such as 'tools.failed > 0'; docs/reference/conditions.md")
    bisect.add_argument("--monotone", action="store_true", help="it holds for good once it holds: search by halves")
    for parser in (events, history, show, diff, bisect, why):
        add_server_options(parser)


async def run_events(arguments: argparse.Namespace, settings: Settings) -> int:
    given = vars(arguments)
    names = {"type": "type", "stream": "stream", "actor": "actor", "text": "text", "from": "from", "to": "to"}
    query = {name: given[name] for name in names if given[name]} | {"after": arguments.after, "limit": arguments.limit}
    if arguments.correlation_id:
        query["correlationId"] = arguments.correlation_id
    found = await answer_of(arguments, settings, "GET", "/api/events", params=query)
    if arguments.json:
        print_json(found)
        return 0
    out.print(_timeline(found["events"], place="position"))
    if found["nextAfter"] is not None:
        out.print(f"[dim]there is more: --after {found['nextAfter']}[/]")
    return 0


async def run_history(arguments: argparse.Namespace, settings: Settings) -> int:
    path = f"/api/streams/{'session' if arguments.session else 'run'}:{arguments.id}/events"
    events: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = await answer_of(arguments, settings, "GET", path, params={"after": after, "limit": PAGE})
        events += page["events"]
        after = page["nextAfter"]
    if arguments.json:
        print_json({"events": events})
    else:
        out.print(_timeline(events, place="seq"))
    return 0


async def run_show(arguments: argparse.Namespace, settings: Settings) -> int:
    query = {} if arguments.at is None else {"atSeq": arguments.at}
    state = await answer_of(arguments, settings, "GET", _path(arguments), params=query)
    if arguments.json:
        print_json(state)
        return 0
    table = Table("field", "value", box=None)
    for field, value in state.items():
        table.add_row(f"[bold]{field}[/]", _short(value))
    out.print(table)
    return 0


async def run_diff(arguments: argparse.Namespace, settings: Settings) -> int:
    query = {"from": arguments.from_seq, "to": arguments.to_seq}
    found = await answer_of(arguments, settings, "GET", f"{_path(arguments)}/diff", params=query)
    if arguments.json:
        print_json(found)
        return 0
    table = Table("", "field", "before", "after", "by", box=None)
    for change in found["changes"]:
        by = change["by"]
        table.add_row(
            MARKS[change["kind"]],
            escape(change["path"]),
            f"[red]{'' if change['kind'] == 'added' else _short(change['before'])}[/]",
            f"[green]{'' if change['kind'] == 'removed' else _short(change['after'])}[/]",
            f"{by['type']} [dim]seq {by['seq']}[/]" if by else "",
        )
    out.print(table)
    return 0


async def run_bisect(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 when the condition never holds."""
    body = {"where": arguments.where, "monotone": arguments.monotone}
    found = await answer_of(arguments, settings, "POST", f"{_path(arguments)}/bisect", json=body)
    first = found["first"]
    if arguments.json:
        print_json(found)
    elif first is None:
        out.print(f"it holds at none of the {found['lastSeq']} events")
    else:
        out.print(f"[green]✓[/] seq [bold]{first['seq']}[/] {first['type']} [dim]position {first['position']}[/]")
    return 0 if found["found"] else 1


async def run_why(arguments: argparse.Namespace, settings: Settings) -> int:
    found = await answer_of(arguments, settings, "GET", f"/api/events/{arguments.position}/why")
    if arguments.json:
        print_json(found)
        return 0
    tree = Tree(_label(found["tree"]))
    _grow(tree, found["tree"])
    out.print(tree)
    return 0


def _path(arguments: argparse.Namespace) -> str:
    return f"/api/{'session-workers' if arguments.session else 'runs'}/{arguments.id}"


def _timeline(events: list[dict[str, Any]], *, place: str) -> Table:
    """Times are relative to the first event shown."""
    table = Table(place, "after", "event", "", box=None)
    began = datetime.fromisoformat(events[0]["occurredAt"]) if events else None
    for event in events:
        assert began is not None
        after = (datetime.fromisoformat(event["occurredAt"]) - began).total_seconds()
        colour = COLOURS.get(event["type"].partition(".")[0], "white")
        said = (
            _short(event["payload"])
            if place == "seq"
            else f"[dim]{escape(event['stream'])}[/] {_short(event['payload'])}"
        )
        table.add_row(str(event[place]), f"+{after:.3f} s", f"[{colour}]{event['type']}[/]", said)
    return table


def _grow(tree: Tree, node: dict[str, Any]) -> None:
    for child in node["children"]:
        _grow(tree.add(_label(child)), child)
    if node["more"]:
        tree.add(f"[dim]and {node['more']} more[/]")


def _label(node: dict[str, Any]) -> str:
    match node["kind"]:
        case "command":
            return f"[bold]{escape(node['actor'])}[/] [dim]command {escape(node['id'])}[/]"
        case "effect":
            tries = len(node["attempts"])
            return (
                f"[magenta]{node['type']}[/] {node['state']} [dim]after {tries} {'try' if tries == 1 else 'tries'}[/]"
            )
        case "lease":
            return f"[blue]{escape(node['id'])}[/] [dim]{escape(node['actor'])}[/]"
        case _:
            times = f" x {node['count']}" if node["count"] > 1 else ""
            label = f"{node['type']}{times} [dim]{escape(node['stream'])} position {node['position']}[/]"
            return f"[bold reverse]{label}[/]" if node["asked"] else label


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = " ".join(text.split())
    return escape(text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…")
