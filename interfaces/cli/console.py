"""The terminal: one console for answers, one for complaints, JSON for machines.

What agents and other people wrote goes through `harmless` or `short` before it is printed: a terminal obeys control
characters, wherever they come from.
"""

import re
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

PIPED_WIDTH = 10_000
"""Where no terminal shows it, no line is cut or folded."""
LONGEST_SHOWN = 100
# C0 but line feed and tab, DEL, C1, marks that turn the direction of writing, separators of lines, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, highlight=False)


def harmless(text: str) -> str:
    """The text with everything that could steer a terminal written as an escape, as Python writes it."""
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def short(value: Any, longest: int = LONGEST_SHOWN) -> str:
    """A value on one line of at most `longest` characters; whatever is no text as JSON."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = harmless(" ".join(text.split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def whole(text: str) -> str:
    """A name on one line, however long it is, for within rich's markup."""
    return escape(harmless(text).replace("\n", "\\n"))


def marked(value: Any) -> str:
    """`short`, for within rich's markup."""
    return escape(short(value))


def complain(message: str) -> None:
    """An error, for people."""
    err.print("[bold red]error:[/]", end=" ")
    err.print(harmless(message), markup=False, soft_wrap=True)


def advise(message: str) -> None:
    """What to do about the error before."""
    err.print(f"  → {harmless(message)}", markup=False, soft_wrap=True, style="dim")


def print_json(value: Any) -> None:
    """One JSON document on standard output. DEL and C1, which JSON leaves as they are, come as escapes."""
    text = msgspec.json.encode(value).decode()
    sys.stdout.write(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found.group()):04x}", text) + "\n")
    sys.stdout.flush()
