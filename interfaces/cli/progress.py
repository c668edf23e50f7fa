"""How far long work is: for people at a terminal alone, on standard error if it isn't said otherwise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from interfaces.cli.console import err

Report = Callable[[int, int], None]
"""Told what is done and how much there is."""


@contextmanager
def bar_of(what: str, console: Console = err) -> Iterator[Report]:
    """A bar that counts `what`; what is printed on its console meanwhile stands above it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """For work that doesn't tell how far it is."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task(what, total=None)
        yield
