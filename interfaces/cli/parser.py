"""argparse's parser, with errors that suggest what was probably meant."""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from interfaces.cli.console import print_error, print_hint

WRONG_CALL = 2


class Parser(argparse.ArgumentParser):
    """argparse makes the parsers of subcommands of this class, too."""

    def error(self, message: str) -> NoReturn:
        print_error(message)
        print_hint(f"`{self.prog} --help` says what there is")
        raise SystemExit(WRONG_CALL)

    def parse_known_args(  # type: ignore[override]  # argparse's overloads say nothing more
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self.subcommands is None:
            self.error(_unknown(unknown, [option for action in self._actions for option in action.option_strings]))
        return found, unknown

    @property
    def subcommands(self) -> "argparse._SubParsersAction[Any] | None":
        """The action that holds the parsers of its subcommands; None without any."""
        kind = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it
        return next((each for each in self._actions if isinstance(each, kind)), None)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        if action is self.subcommands:
            message = f"{str(value)!r} is no command of {self.prog}{_meant(str(value), choices)}"
        else:
            name = "/".join(action.option_strings) or action.metavar or action.dest
            message = f"{name} can't be {str(value)!r}{_meant(str(value), choices)}; it is one of {', '.join(choices)}"
        raise argparse.ArgumentError(None, message)


def _unknown(arguments: Sequence[str], options: Iterable[str]) -> str:
    first = arguments[0]
    if first.startswith("-"):
        name = first.partition("=")[0]
        return f"there is no option {name}{_meant(name, options)}"
    return f"nothing more is expected, and there is {' '.join(arguments)!r}"


def _meant(word: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(choices), n=2)
    return f": did you mean {' or '.join(close)}?" if close else ""
