"""The tools of a run as an object, by name: older clients send it, where the API has a list."""

from collections.abc import Mapping
from typing import Any

from interfaces.http_conventions.problems import invalid


def tool_names(tools: tuple[str, ...] | Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the tools that are wanted, in alphabetical order: those without `false` or null. Raises Problem 400
    where all are turned off: a run can name what its agent may use, and not what it may not."""
    if not isinstance(tools, Mapping):
        return tools
    wanted = tuple(sorted(name for name, value in tools.items() if value not in (False, None)))
    if tools and not wanted:
        raise invalid("tools", "turns tools off and none on: name those that the agent may use")
    return wanted
