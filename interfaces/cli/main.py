"""`fleetlog`: the entry point; each command or group of commands is a module of this package."""

import io
import os
import sys
from collections.abc import Sequence

import uvloop

from application.ports.event_store import LogWentBack
from domain.event import WrittenByNewerVersion
from interfaces.cli import (
    audit,
    completion,
    doctor,
    effects,
    fork,
    history,
    lists,
    logs,
    migrate,
    process_managers,
    project,
    projections,
    replay,
    template,
    up,
    workspace,
)
from interfaces.cli.console import print_error
from interfaces.cli.parser import WRONG_CALL, Parser
from interfaces.errors import StartRefused
from interfaces.settings import SettingsError
from interfaces.settings_reading import load_settings
from interfaces.version import __version__

LOG_WENT_BACK = 3
COMMANDS = (
    up,
    migrate,
    doctor,
    project,
    projections,
    process_managers,
    effects,
    template,
    workspace,
    audit,
    lists,
    history,
    logs,
    fork,
    replay,
    completion,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0 done, 1 it failed, 2 the arguments or settings are wrong, 3 the log of
    a server went back."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # print characters that the terminal's encoding lacks as escapes instead of failing
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if argv is None else argv
    if not given:
        parser().print_help()
        return WRONG_CALL
    arguments = parser().parse_args(given)
    try:
        return int(uvloop.run(arguments.run(arguments, load_settings(os.environ))))
    except SettingsError as error:
        print_error(str(error))
        return WRONG_CALL
    except (StartRefused, WrittenByNewerVersion) as error:
        print_error(str(error))
        return 1
    except LogWentBack as error:
        print_error(str(error))
        return LOG_WENT_BACK
    except BrokenPipeError:  # the reader of the pipe has closed it
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
    top.set_defaults(whole=top)  # for `completion`, which reads what all commands take
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
