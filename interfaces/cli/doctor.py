"""`fleetlog doctor`: what works, what is missing, how to fix it."""

import argparse
from typing import Any

from interfaces.cli.console import out, print_json
from interfaces.settings import Settings
from interfaces.terminal_text import harmless

_MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("doctor", help="what works, what is missing, how to fix it")
    parser.add_argument("--json", action="store_true", help="print [{name, status, detail, mend}]")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 if any check fails."""
    from interfaces.bootstrap.diagnosis import diagnosis

    results = await diagnosis(settings)
    if arguments.json:
        print_json(results)
    else:
        for result in results:
            out.print(f"{_MARKS[result.status]} [bold]{result.name}[/]", end=" ")
            out.print(harmless(result.detail), markup=False, soft_wrap=True)
            if result.mend:
                out.print(f"  → {harmless(result.mend)}", markup=False, soft_wrap=True, style="dim")
    return int(any(result.status == "error" for result in results))
