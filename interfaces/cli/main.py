"""`fleetlog`: the commands, each in a module of its own."""

import io
import os
import sys
from collections.abc import Sequence

import uvloop

from interfaces.cli import (
    audit,
    completion,
    doctor,
    effects,
    fork,
    history,
    lists,
    migrate,
    process_managers,
    projections,
    replay,
    template,
    up,
    workspace,
)
from interfaces.cli.console import complain
from interfaces.cli.parser import WRONG_CALL, Parser
from interfaces.errors import StartRefused
from interfaces.settings import SettingsError, load_settings
from interfaces.version import __version__

COMMANDS = (
    up,
    migrate,
    doctor,
    projections,
    process_managers,
    effects,
    template,
    workspace,
    audit,
    lists,
    history,
    fork,
    replay,
    completion,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 done, 1 it failed, 2 the call or the settings are wrong."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a mark that a terminal's encoding lacks is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if argv is None else argv
    if not given:
        parser().print_help()
        return WRONG_CALL
    arguments = parser().parse_args(given)
    try:
        return int(uvloop.run(arguments.run(arguments, load_settings(os.environ))))
    except SettingsError as error:
        complain(str(error))
        return WRONG_CALL
    except StartRefused as error:
        complain(str(error))
        return 1
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> Parser:
    """The parser of all commands."""
    top = Parser(
        prog="fleetlog",
        description="A self-hosted, event-sourced control plane for coding agents.",
        epilog="Settings are environment variables, such as FLEETLOG_PORT; docs/reference/configuration.md lists all.",
    )
    top.add_argument("--version", action="version", version=f"fleetlog {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
