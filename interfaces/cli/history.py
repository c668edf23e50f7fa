"""`fleetlog events|history|show|diff|why|bisect`: the log and its past, from a running server.

ID is a run, or with `--session` a session.
"""

import argparse
from typing import Any

from rich.table import Table
from rich.tree import Tree

from interfaces.cli.as_of_options import add_as_of_options, as_of_query
from interfaces.cli.console import marked, out, print_json
from interfaces.cli.event_text import STATE_COLOURS, TODO_MARKS, StateAfter, from_list
from interfaces.cli.progress import bar_of, spinner
from interfaces.cli.server import add_server_options, path_part, request_json
from interfaces.cli.timeline import Timeline
from interfaces.settings import Settings

PAGE = 1000
BISECT_PART = 20_000
"""Events per call of a scan, so that progress can be shown."""
ROW_FROM = 100
"""The smallest terminal width at which each change is one table row; narrower ones get several lines."""
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
    add_as_of_options(show, of_one=True)
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
    bisect.add_argument("--monotone", action="store_true", help="once it holds, it holds for good: use binary search")
    for parser in (events, history, show, diff, bisect, why):
        add_server_options(parser)


async def run_events(arguments: argparse.Namespace, settings: Settings) -> int:
    given = vars(arguments)
    names = {"type": "type", "stream": "stream", "actor": "actor", "text": "text", "from": "from", "to": "to"}
    query = {name: given[name] for name in names if given[name]} | {"after": arguments.after, "limit": arguments.limit}
    if arguments.correlation_id:
        query["correlationId"] = arguments.correlation_id
    found = await request_json(arguments, settings, "GET", "/api/events", params=query)
    if arguments.json:
        print_json(found)
        return 0
    timeline = Timeline(out, "position")
    for event in found["events"]:
        timeline.event(from_list(event))
    if found["nextAfter"] is not None:
        out.print(f"[dim]there is more: --after {found['nextAfter']}[/]")
    return 0


async def run_history(arguments: argparse.Namespace, settings: Settings) -> int:
    kind = "session" if arguments.session else "run"
    path, events = f"/api/streams/{kind}:{path_part(arguments.id)}/events", []
    timeline = Timeline(out, "seq", StateAfter(kind, arguments.id))
    after: int | None = 0
    while after is not None:
        page = await request_json(arguments, settings, "GET", path, params={"after": after, "limit": PAGE})
        after = page["nextAfter"]
        if arguments.json:
            events += page["events"]
            continue
        for event in page["events"]:
            timeline.event(from_list(event))
    if arguments.json:
        print_json({"events": events})
    else:
        timeline.end()
    return 0


async def run_show(arguments: argparse.Namespace, settings: Settings) -> int:
    query = as_of_query(arguments)
    state = await request_json(arguments, settings, "GET", _path(arguments), params=query)
    if arguments.json:
        print_json(state)
        return 0
    table = Table("field", "value", box=None)
    for field, value in state.items():
        colour = STATE_COLOURS.get(value, "white") if field == "state" else "white"
        table.add_row(f"[bold]{marked(field)}[/]", f"[{colour}]{marked(value)}[/]")
    out.print(table)
    if not arguments.session:
        todos = await request_json(arguments, settings, "GET", f"{_path(arguments)}/todos", params=query)
        asked = {"runId": arguments.id, **query}
        questions = await request_json(arguments, settings, "GET", "/api/human-loop/requests", params=asked)
        for todo in todos["items"]:
            out.print(f" {TODO_MARKS.get(todo['status'], '?')} {marked(todo['content'])}")
        for question in questions["requests"]:
            answer = "" if question["answer"] is None else f" → [green]{marked(question['answer'])}[/]"
            prompt = marked(question["prompt"] or question["questionId"])
            out.print(f" [magenta]?[/] {prompt} [dim]{question['status']}[/]{answer}")
    return 0


async def run_diff(arguments: argparse.Namespace, settings: Settings) -> int:
    query = {"from": arguments.from_seq, "to": arguments.to_seq}
    found = await request_json(arguments, settings, "GET", f"{_path(arguments)}/diff", params=query)
    if arguments.json:
        print_json(found)
        return 0
    if out.width < ROW_FROM:
        _print_stacked(found["changes"])
        return 0
    table = Table("", "field", "before", "after", "by", box=None)
    for change in found["changes"]:
        before, after = _sides(change)
        table.add_row(MARKS[change["kind"]], marked(change["path"]), before, after, _by(change))
    out.print(table)
    return 0


def _print_stacked(changes: list[dict[str, Any]]) -> None:
    for change in changes:
        out.print(f"{MARKS[change['kind']]} {marked(change['path'])}  {_by(change)}")
        for mark, side in zip("-+", _sides(change), strict=True):
            if side:
                out.print(f"  {mark} {side}")


def _sides(change: dict[str, Any]) -> tuple[str, str]:
    before = "" if change["kind"] == "added" else f"[red]{marked(change['before'])}[/]"
    after = "" if change["kind"] == "removed" else f"[green]{marked(change['after'])}[/]"
    return before, after


def _by(change: dict[str, Any]) -> str:
    return f"{change['by']['type']} [dim]seq {change['by']['seq']}[/]" if change["by"] else ""


async def run_bisect(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 if the condition never holds."""
    found = await (_halved if arguments.monotone else _scanned)(arguments, settings)
    first = found["first"]
    if arguments.json:
        print_json(found)
    elif first is None:
        out.print(f"it holds at none of the {found['lastSeq']} events")
    else:
        out.print(f"[green]✓[/] seq [bold]{first['seq']}[/] {first['type']} [dim]position {first['position']}[/]")
    return 0 if found["found"] else 1


async def _halved(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    body = {"where": arguments.where, "monotone": True}
    with spinner("searching by halves"):
        return await request_json(arguments, settings, "POST", f"{_path(arguments)}/bisect", json=body)


async def _scanned(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Bisect part by part; `evaluated` of the result counts the events of all parts."""
    last = (await request_json(arguments, settings, "GET", _path(arguments)))["seq"]
    evaluated = 0
    with bar_of("events") as report:
        for begin in range(1, last + 1, BISECT_PART):
            report(begin - 1, last)
            end = min(begin + BISECT_PART - 1, last)
            body = {"where": arguments.where, "from": begin, "to": end}
            found = await request_json(arguments, settings, "POST", f"{_path(arguments)}/bisect", json=body)
            evaluated += found["evaluated"]
            if found["found"]:
                break
    return found | {"evaluated": evaluated}


async def run_why(arguments: argparse.Namespace, settings: Settings) -> int:
    found = await request_json(arguments, settings, "GET", f"/api/events/{arguments.position}/why")
    if arguments.json:
        print_json(found)
        return 0
    tree = Tree(_label(found["tree"]))
    _grow(tree, found["tree"])
    out.print(tree)
    return 0


def _path(arguments: argparse.Namespace) -> str:
    return f"/api/{'session-workers' if arguments.session else 'runs'}/{path_part(arguments.id)}"


def _grow(tree: Tree, node: dict[str, Any]) -> None:
    for child in node["children"]:
        _grow(tree.add(_label(child)), child)
    if node["more"]:
        tree.add(f"[dim]and {node['more']} more[/]")


def _label(node: dict[str, Any]) -> str:
    match node["kind"]:
        case "command":
            return f"[bold]{marked(node['actor'])}[/] [dim]command {marked(node['id'])}[/]"
        case "effect":
            tries = len(node["attempts"])
            return (
                f"[magenta]{node['type']}[/] {node['state']} [dim]after {tries} {'try' if tries == 1 else 'tries'}[/]"
            )
        case "lease":
            return f"[blue]{marked(node['id'])}[/] [dim]{marked(node['actor'])}[/]"
        case _:
            times = f" x {node['count']}" if node["count"] > 1 else ""
            label = f"{node['type']}{times} [dim]{marked(node['stream'])} position {node['position']}[/]"
            return f"[bold reverse]{label}[/]" if node["asked"] else label
