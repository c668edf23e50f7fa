"""Settings of how much work is done at the same time: a part of `Settings` (settings.py)."""

# `setting` makes a dataclass field, not a default value

from dataclasses import dataclass

from interfaces import setting_values as values
from interfaces.setting_declarations import setting


@dataclass(frozen=True, kw_only=True)
class WorkSlots:
    """Zero means no limit where zero is allowed."""

    max_runs: int = setting(
        "MAX_RUNS",
        values.integer(1, 100_000),
        "Runs that may be executed at the same time, over all processes. A run that waits for a person, for a place or "
        "for its session is not executed.",
        default=1000,
    )
    max_runs_per_process: int = setting(
        "MAX_RUNS_PER_PROCESS",
        values.integer(1, 100_000),
        "Runs that this process executes at the same time, at most.",
        default=200,
    )
