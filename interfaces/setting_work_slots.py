"""Settings of how much work is done at the same time: a part of `Settings` (settings.py)."""

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
    max_runs_per_user: int = setting(
        "MAX_RUNS_PER_USER",
        values.integer(0, 100_000),
        "Runs of one `userLoginName`, in all apps together, that may be executed at the same time, over all processes; "
        "0: no limit. The others wait in the queue. A run that goes on after a wait is not held back.",
        default=0,
    )
    max_runs_per_app: int = setting(
        "MAX_RUNS_PER_APP",
        values.integer(0, 100_000),
        "The same for the runs of one `appId`; 0: no limit.",
        default=0,
    )
    allow_high_priority: bool = setting(
        "ALLOW_HIGH_PRIORITY",
        values.SWITCH,
        "Whether callers may queue runs with the priority `high`, which are claimed before all others.",
        default=False,
        shown_default="false",
    )
    effect_slots: int = setting(
        "EFFECT_SLOTS",
        values.COUNT,
        "Short effects that this process performs at the same time: containers created, started, stopped and removed, "
        "workspaces restored, answers delivered. Restores are bounded by `MAX_STARTING`, too: keep this one above it.",
        default=16,
    )
    long_effect_slots: int = setting(
        "LONG_EFFECT_SLOTS",
        values.COUNT,
        "Long effects that this process performs at the same time: syncs, copies of workspaces, collections of "
        "content. Syncs that a stop waits for have as many slots of their own.",
        default=16,
    )
