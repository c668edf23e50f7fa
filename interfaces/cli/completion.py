"""`fleetlog completion bash|zsh|fish`: a script that completes commands, options and their values.

It is made from the parser itself, so a new command or option is completed as soon as it is there.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from interfaces.cli.completion_scripts import SCRIPTS
from interfaces.cli.console import print_json
from interfaces.cli.parser import Parser
from interfaces.settings import Settings

SHELLS = tuple(SCRIPTS)


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand for an option's or a positional argument's value."""

    kind: Literal["none", "choice", "file", "any"]
    choices: tuple[str, ...] = ()


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """`names`, such as `-h` and `--help`."""

    names: tuple[str, ...]
    help: str
    value: Value


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What can follow a command. `path` is that of the command, such as `/effects/list`, empty at the beginning;
    `commands` are its subcommands with their help."""

    path: str
    commands: tuple[tuple[str, str], ...]
    options: tuple[Option, ...]
    positionals: tuple[Value, ...]


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
    from interfaces.cli.main import parser

    places = list(places_of(parser()))
    if arguments.json:
        print_json(places)
    else:
        print(SCRIPTS[arguments.shell](places), end="")
    return 0


def places_of(parser: Parser, path: str = "") -> Iterator[Place]:
    """The parser's own place, and those of its subcommands."""
    below = parser.subcommands
    helps = {each.dest: each.help or "" for each in below._choices_actions} if below else {}  # noqa: SLF001 - as below
    actions = parser._actions  # noqa: SLF001 - argparse tells its arguments in no other way
    yield Place(
        path=path,
        commands=tuple((name, helps.get(name, "")) for name in (below.choices if below else ())),
        options=tuple(
            Option(names=tuple(each.option_strings), help=each.help or "", value=_value(each))
            for each in actions
            if each.option_strings and each.help != argparse.SUPPRESS
        ),
        positionals=tuple(_value(each) for each in actions if not each.option_strings and each is not below),
    )
    for name, child in (below.choices if below else {}).items():
        yield from places_of(child, f"{path}/{name}")


def _value(action: argparse.Action) -> Value:
    if action.nargs == 0:
        return Value(kind="none")
    if action.choices is not None:
        return Value(kind="choice", choices=tuple(map(str, action.choices)))
    return Value(kind="file" if action.type is Path or isinstance(action.type, argparse.FileType) else "any")
