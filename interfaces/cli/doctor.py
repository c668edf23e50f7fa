"""`fleetlog doctor`: what works, what is missing, how to mend it."""

import argparse
from typing import Any

from interfaces.cli.console import harmless, out, print_json
from interfaces.settings import Settings

_MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("doctor", help="what works, what is missing, how to mend it")
    parser.add_argument("--json", action="store_true", help="print [{name, status, detail, mend}]")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 when anything is an error."""
    from interfaces.bootstrap.diagnosis import diagnose

    findings = await diagnose(settings)
    if arguments.json:
        print_json(findings)
    else:
        for finding in findings:
            out.print(f"{_MARKS[finding.status]} [bold]{finding.name}[/]", end=" ")
            out.print(harmless(finding.detail), markup=False, soft_wrap=True)
            if finding.mend:
                out.print(f"  → {harmless(finding.mend)}", markup=False, soft_wrap=True, style="dim")
    return int(any(finding.status == "error" for finding in findings))
