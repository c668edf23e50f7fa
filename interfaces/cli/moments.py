"""The moment of the past that a command asks for."""

import argparse

SEQ = "after the event with this seq; now by default"
POSITION = "as the log stood at this position"
TIME = "as of this time, such as 2026-03-04T05:06:07Z"


def add_moment_options(parser: argparse.ArgumentParser, *, of_one: bool) -> None:
    """`of_one`: the state is that of one stream, so that a seq names a moment, too."""
    moments = parser.add_mutually_exclusive_group()
    if of_one:
        moments.add_argument("--at", type=int, metavar="SEQ", help=SEQ)
    moments.add_argument("--at-position", type=int, metavar="POSITION", help=POSITION)
    moments.add_argument("--at-time", metavar="TIME", help=TIME)


def moment_of(arguments: argparse.Namespace) -> dict[str, int | str]:
    """The query parameters."""
    given = {
        "atSeq": getattr(arguments, "at", None),
        "atPosition": arguments.at_position,
        "at": arguments.at_time,
    }
    return {name: value for name, value in given.items() if value is not None}
