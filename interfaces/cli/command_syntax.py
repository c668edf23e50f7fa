"""The commands, options and arguments of a command line, read from its argparse parser."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from interfaces.cli.parser import Parser


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """What the value of an option or of a positional argument may be. `choices`: for the kind `choice`."""

    kind: Literal["none", "choice", "file", "any"]
    choices: tuple[str, ...] = ()


class OptionSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """`names`: such as `-h` and `--help`."""

    names: tuple[str, ...]
    help: str
    value: Value


class CommandSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """What can follow a command. `path`: the command, such as `/effects/list`; empty for the program itself.
    `commands`: its subcommands, each with its help."""

    path: str
    commands: tuple[tuple[str, str], ...]
    options: tuple[OptionSyntax, ...]
    positionals: tuple[Value, ...]


def command_syntaxes(parser: Parser, path: str = "") -> Iterator[CommandSyntax]:
    """The syntax of the parser's own command, then those of its subcommands, recursively."""
    below = parser.subcommands
    helps = {each.dest: each.help or "" for each in below._choices_actions} if below else {}  # noqa: SLF001 - as below
    actions = parser._actions  # noqa: SLF001 - argparse has no public way to list its arguments
    yield CommandSyntax(
        path=path,
        commands=tuple((name, helps.get(name, "")) for name in (below.choices if below else ())),
        options=tuple(
            OptionSyntax(names=tuple(each.option_strings), help=each.help or "", value=_value(each))
            for each in actions
            if each.option_strings and each.help != argparse.SUPPRESS
        ),
        positionals=tuple(_value(each) for each in actions if not each.option_strings and each is not below),
    )
    for name, child in (below.choices if below else {}).items():
        yield from command_syntaxes(child, f"{path}/{name}")


def _value(action: argparse.Action) -> Value:
    if action.nargs == 0:
        return Value(kind="none")
    if action.choices is not None:
        return Value(kind="choice", choices=tuple(map(str, action.choices)))
    return Value(kind="file" if action.type is Path or isinstance(action.type, argparse.FileType) else "any")
