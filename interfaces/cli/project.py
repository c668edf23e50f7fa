"""`fleetlog project`: run a projection of your own over the log."""

import argparse
import os
from typing import Any

from interfaces.cli.console import err, print_error, print_json, whole
from interfaces.cli.parser import WRONG_CALL
from interfaces.settings import Settings


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "project",
        help="run a projection of your own over the log, into a table of your own",
        description="Runs an `eventsourcing.projection.Projection` in a process of its own, once for each event, and "
        "restarts it when it dies. `fleetlog projections status` shows it, `retry` and `skip` take its name.",
    )
    parser.add_argument("projection", metavar="MODULE:CLASS", help="the class; the present folder can be imported from")
    parser.add_argument(
        "--view", default="", metavar="MODULE:CLASS", help="its view; by default that of its Projection[View]"
    )
    parser.add_argument(
        "--schema", default="projections", help="where the view's tables are, created if absent; %(default)s by default"
    )
    parser.add_argument("--json", action="store_true", help="announce it as JSON on standard output")
    parser.set_defaults(run=run_project)


async def run_project(arguments: argparse.Namespace, settings: Settings) -> int:
    """Until SIGINT or SIGTERM. Exit code 2 for a class that is missing or that can't be run."""
    from application.ports.user_projections import ProjectionRefused, SchemaRefused
    from interfaces.bootstrap.user_projections import user_projection_supervisor
    from interfaces.logging import configure_logging
    from interfaces.supervision import running, stop_signals, unless_stopped

    configure_logging(settings.log_level)
    try:
        with stop_signals() as stop:
            async with user_projection_supervisor(
                settings,
                dict(os.environ),
                projection=arguments.projection,
                view=arguments.view,
                schema=arguments.schema,
            ) as supervisor:
                described = await unless_stopped(supervisor.describe(), stop)
                if described is None:
                    return 0
                async with running({f"projection {described.name}": supervisor.run()}, stop):
                    holds = await unless_stopped(supervisor.holds(), stop)
                    if holds is not None:
                        _announce(arguments, described.name, described.view_class, holds=holds)
                    await stop.wait()
    except (ProjectionRefused, SchemaRefused) as refused:
        print_error(str(refused))
        return WRONG_CALL
    return 0


def _announce(arguments: argparse.Namespace, name: str, view: str, *, holds: bool) -> None:
    if arguments.json:
        print_json({"projection": name, "class": arguments.projection, "view": view, "waits": not holds})
        return
    if holds:
        err.print(f"[bold green]Fleetlog[/] runs the projection [bold]{whole(name)}[/], its view is {whole(view)}")
    else:
        err.print(f"Another process runs the projection [bold]{whole(name)}[/]; this one takes over when that ends")
    err.print("  [dim]Ctrl-C stops it; `fleetlog projections status` shows it[/]")
