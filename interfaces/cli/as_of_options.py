"""The options of commands that can show a past state instead of the current one."""

import argparse

SEQ = "after the event with this seq; now by default"
POSITION = "as the log stood at this position"
TIME = "as of this time, such as 2026-03-04T05:06:07Z"


def add_as_of_options(parser: argparse.ArgumentParser, *, of_one: bool) -> None:
    """`of_one`: the state is that of one stream, so that `--at SEQ` is offered, too."""
    choice = parser.add_mutually_exclusive_group()
    if of_one:
        choice.add_argument("--at", type=int, metavar="SEQ", help=SEQ)
    choice.add_argument("--at-position", type=int, metavar="POSITION", help=POSITION)
    choice.add_argument("--at-time", metavar="TIME", help=TIME)


def as_of_query(arguments: argparse.Namespace) -> dict[str, int | str]:
    """The API's query parameters for the options given."""
    given = {
        "atSeq": getattr(arguments, "at", None),
        "atPosition": arguments.at_position,
        "at": arguments.at_time,
    }
    return {name: value for name, value in given.items() if value is not None}
