"""Events as lines of a timeline: seq or position, time since the first, what happened, and the state after it."""

from datetime import datetime
from typing import Literal

from rich.console import Console
from rich.text import Text

from interfaces.cli.event_text import ShownEvent, StateAfter, event_text
from interfaces.terminal_text import harmless

BESIDE_FROM = 110
"""The smallest terminal width at which the state is shown beside the events."""
TYPES_FROM = 80
TYPE_WIDTH = 24
COLOURS = {
    "run": "cyan",
    "session": "blue",
    "message": "white",
    "reasoning": "dim",
    "tool": "yellow",
    "todo": "green",
    "human_loop": "magenta",
}


class Timeline:
    """Prints events as they come, each on one line that fits the terminal. `number`: which of an event's numbers is
    shown. `state`: if given, the state after each event is shown, too."""

    def __init__(self, console: Console, number: Literal["seq", "position"], state: StateAfter | None = None) -> None:
        self._console, self._number, self._state = console, number, state
        self._began: datetime | None = None
        self._piped = not console.is_terminal

    def event(self, event: ShownEvent) -> None:
        width = self._console.width
        line = self._line(event, width)
        state = None if self._state is None else self._state.after(event)
        if self._state is not None and not self._piped and width >= BESIDE_FROM:
            left = width * 3 // 5
            line.truncate(left, overflow="ellipsis", pad=True)
            line.append(" │ ", "dim")
            if state is not None:
                line.append_text(state)
        if not self._piped:
            line.truncate(width, overflow="ellipsis")
        line.rstrip()
        self._console.print(line, soft_wrap=True)

    def end(self) -> None:
        """Print the state after the last event, unless states were shown beside the events."""
        beside = not self._piped and self._console.width >= BESIDE_FROM
        if self._state is not None and not beside and self._state.last.plain:
            self._console.print(Text.assemble(("state ", "bold"), self._state.last), soft_wrap=self._piped)

    def _line(self, event: ShownEvent, width: int) -> Text:
        if self._began is None:
            self._began = event.occurred_at
        after = since((event.occurred_at - self._began).total_seconds())
        type_ = harmless(event.type)
        colour = COLOURS.get(event.type.partition(".")[0], "white")
        line = Text.assemble(
            (f"{event.seq if self._number == 'seq' else event.position:>5}", "dim"), (f" {after:>10}  ", "dim green")
        )
        line.append(type_.ljust(TYPE_WIDTH) if width >= TYPES_FROM else type_, colour)
        if self._number == "position":
            line.append(f"  {harmless(event.stream)}", "dim")
        text = event_text(event)
        failed = event.type in {"tool.end", "run.finished", "run.agent_finished"} and text.startswith(("✗", "failed"))
        line.append(f"  {text}", "red" if failed else "dim" if colour == "dim" else "")
        return line


def since(seconds: float) -> str:
    """Time gone by, such as `+0.412 s`, `+2 m 03 s`, `+26 h 10 m`."""
    if seconds < 60:
        return f"+{seconds:.3f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"+{minutes} m {rest:02} s" if minutes < 60 else f"+{minutes // 60} h {minutes % 60:02} m"
