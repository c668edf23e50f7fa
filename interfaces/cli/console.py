"""The terminal: standard output for results, standard error for errors and progress, JSON for machines.

Text of agents and other people goes through `harmless` or `short` before it is printed, because a terminal obeys the
control characters in it.
"""

import re
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from interfaces.terminal_text import harmless

PIPED_WIDTH = 10_000
"""The width of a pipe: no line is cut or wrapped there."""
LONGEST_SHOWN = 100

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, highlight=False)


def short(value: Any, longest: int = LONGEST_SHOWN) -> str:
    """A value on one line of at most `longest` characters; what is no string is shown as JSON."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = harmless(" ".join(text.split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def whole(text: str) -> str:
    """A text on one line, not shortened, escaped for rich's markup."""
    return escape(harmless(text).replace("\n", "\\n"))


def marked(value: Any) -> str:
    """`short`, escaped for rich's markup."""
    return escape(short(value))


def print_error(message: str) -> None:
    """Print an error on standard error."""
    err.print("[bold red]error:[/]", end=" ")
    err.print(harmless(message), markup=False, soft_wrap=True)


def print_hint(message: str) -> None:
    """Print on standard error what to do about the error printed before."""
    err.print(f"  → {harmless(message)}", markup=False, soft_wrap=True, style="dim")


def print_json(value: Any) -> None:
    """Print one JSON document on standard output. DEL and C1, which JSON allows unescaped, are escaped."""
    text = msgspec.json.encode(value).decode()
    sys.stdout.write(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found.group()):04x}", text) + "\n")
    sys.stdout.flush()
