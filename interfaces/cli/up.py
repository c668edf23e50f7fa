"""`fleetlog up`: everything in one process. `fleetlog api`, `fleetlog worker`: its parts, in separate processes."""

import argparse
from collections.abc import Callable
from typing import Any

from interfaces.cli.console import err, print_json
from interfaces.settings import Settings

ReportStart = Callable[[str, dict[str, str]], None]


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    up = commands.add_parser("up", help="run everything in this process; nothing needs to be configured")
    up.set_defaults(run=run_up)
    api = commands.add_parser("api", help="serve the API alone (needs DATABASE_URL, and S3_ENDPOINT or S3_BUCKET)")
    api.set_defaults(run=run_api)
    worker = commands.add_parser("worker", help="process effects, runs and projections alone (needs the same as api)")
    worker.set_defaults(run=run_worker)
    up.add_argument(
        "--stop-workers",
        action="store_true",
        help="at the end stop running agents of the process runtime too: their runs fail. Without it they go on, and "
        "the next start takes them up again",
    )
    for parser in (up, api, worker):
        parser.add_argument("--json", action="store_true", help="announce the address as JSON on standard output")


async def run_up(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.cli.processes import run_everything

    return await run_everything(settings, _start_reporter(arguments), stop_workers=arguments.stop_workers)


async def run_api(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.cli.processes import run_api_alone

    return await run_api_alone(settings, _start_reporter(arguments))


async def run_worker(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.cli.processes import run_worker_alone

    return await run_worker_alone(settings, _start_reporter(arguments))


def _start_reporter(arguments: argparse.Namespace) -> ReportStart:
    """Prints the server's address and notes: as text, or with `--json` as one JSON object."""

    def report_start(url: str, notes: dict[str, str]) -> None:
        if arguments.json:
            print_json({"url": url, **notes})
            return
        err.print(f"[bold green]Fleetlog[/] {f'is at [bold]{url}[/]' if url else 'works'}")
        for name, note in notes.items():
            err.print(f"  [dim]{name}[/] {note}", soft_wrap=True)
        if url:
            err.print(f"  [dim]console[/] {url}/console", soft_wrap=True)
            err.print(f"  [dim]docs[/] {url}/docs", soft_wrap=True)
        err.print("  [dim]Ctrl-C stops it[/]")

    return report_start
