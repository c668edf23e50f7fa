"""Reads the field and the message out of msgspec's validation errors."""

import re

import msgspec

from interfaces.http_conventions.problems import Problem, invalid

_AT = re.compile(r"(?P<message>.*) - at `\$(?P<path>[^`]*)`", re.DOTALL)
_NAMED = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_LONGEST_NAME = 200


def field_and_message(error: msgspec.ValidationError, root: str = "") -> tuple[str, str]:
    """The JSON path of the invalid value below `root`, such as `messages[0].role`, and the message.

    The path of a missing or unknown field ends with its name. If the whole value is invalid, it is `root`, or `body`.
    """
    text = str(error)
    located = _AT.fullmatch(text)
    path = located["path"] if located else ""
    message = located["message"] if located else text
    named = _NAMED.fullmatch(message)
    if named:
        path = f"{path}.{named['name'][:_LONGEST_NAME]}"
        message = "is required" if named["what"] == "missing required" else "is not a known field"
    joined = f"{root}{path}"
    return (joined.removeprefix(".") or "body"), message


def validation_problem(error: msgspec.ValidationError, root: str = "") -> Problem:
    """Problem 400 for a body or query that doesn't fit its type."""
    return invalid(*field_and_message(error, root))
