"""The open tool calls of one agent, which give a call's end its name and duration."""

import time
from typing import Any

from domain.run.events import ToolEnded, ToolStarted


class OpenToolCalls:
    def __init__(self) -> None:
        self._begun: dict[str, tuple[str, float]] = {}

    def start(self, tool_id: str, name: str, tool_input: Any) -> ToolStarted:
        self._begun[tool_id] = (name, time.monotonic())
        return ToolStarted(tool_id=tool_id, name=name, input=tool_input)

    def is_open(self, tool_id: str) -> bool:
        return tool_id in self._begun

    def end(self, tool_id: str, output: Any, *, ok: bool) -> ToolEnded:
        """`duration_ms` counts from `start`; None for a call whose start was not seen."""
        name, begun = self._begun.pop(tool_id, ("", None))
        duration = None if begun is None else round((time.monotonic() - begun) * 1000)
        return ToolEnded(tool_id=tool_id, name=name, output=output, ok=ok, duration_ms=duration)

    def end_all(self, reason: str) -> list[ToolEnded]:
        """Ends for all open calls, not ok: the CLI was stopped or died before it reported them."""
        return [self.end(tool_id, reason, ok=False) for tool_id in list(self._begun)]
