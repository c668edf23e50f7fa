"""`fleetlog completion bash|zsh|fish`: a script that completes commands, options and their values.

It is generated from the parser itself, so that new commands and options are completed, too.
"""

import argparse
from typing import Any

from interfaces.cli.command_syntax import command_syntaxes
from interfaces.cli.completion_scripts import SCRIPTS
from interfaces.cli.console import print_json
from interfaces.settings import Settings

SHELLS = tuple(SCRIPTS)


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "completion",
        help="a script that completes commands in your shell",
        description="bash: source <(fleetlog completion bash), in ~/.bashrc. "
        "zsh: source <(fleetlog completion zsh), in ~/.zshrc after compinit. "
        "fish: fleetlog completion fish > ~/.config/fish/completions/fleetlog.fish",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.add_argument("--json", action="store_true", help="the commands and options themselves, for other tools")
    parser.set_defaults(run=run_completion)


async def run_completion(arguments: argparse.Namespace, _settings: Settings) -> int:
    """`arguments.whole`: the parser of all commands."""
    syntaxes = list(command_syntaxes(arguments.whole))
    if arguments.json:
        print_json(syntaxes)
    else:
        print(SCRIPTS[arguments.shell](syntaxes), end="")
    return 0
