"""`fleetlog migrate`: apply missing migrations and functions to the configured database."""

import argparse
from typing import Any

from interfaces.cli.console import out, print_json
from interfaces.settings import Settings, SettingsError


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("migrate", help="apply the migrations that DATABASE_URL's database lacks")
    parser.add_argument("--json", action="store_true", help="print {applied: [...]}")
    parser.set_defaults(run=run)


async def run(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.startup_errors import migrate_database

    if settings.database_url is None:
        raise SettingsError("DATABASE_URL", "it is required here; `fleetlog up` migrates its own Postgres by itself.")
    applied = await migrate_database(settings.database_url)
    if arguments.json:
        print_json({"applied": applied})
        return 0
    for name in applied:
        out.print(f"[green]✓[/] {name}")
    out.print(f"{len(applied)} applied" if applied else "the database is up to date")
    return 0
