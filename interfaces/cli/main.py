"""`fleetlog`: the commands, each in a module of its own."""

import argparse
import os
import sys
from collections.abc import Sequence

import uvloop

from interfaces.cli import (
    audit,
    doctor,
    effects,
    fork,
    history,
    migrate,
    process_managers,
    projections,
    template,
    up,
    workspace,
)
from interfaces.cli.console import complain
from interfaces.errors import StartRefused
from interfaces.settings import SettingsError, load_settings
from interfaces.version import __version__

COMMANDS = (up, migrate, doctor, projections, process_managers, effects, template, workspace, audit, history, fork)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 done, 1 it failed, 2 the call or the settings are wrong."""
    arguments = _parser().parse_args(argv)
    try:
        return int(uvloop.run(arguments.run(arguments, load_settings(os.environ))))
    except SettingsError as error:
        complain(str(error))
        return 2
    except StartRefused as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleetlog",
        description="A self-hosted, event-sourced control plane for coding agents.",
        epilog="Settings are environment variables, such as FLEETLOG_PORT; docs/reference/configuration.md lists all.",
    )
    parser.add_argument("--version", action="version", version=f"fleetlog {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
