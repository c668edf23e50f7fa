"""The settings of quotas: how much one run, one session or one workspace may be."""

from dataclasses import dataclass

from interfaces import setting_values as values
from interfaces.setting_declarations import setting


@dataclass(frozen=True, kw_only=True)
class QuotaSettings:
    max_events_per_run: int = setting(
        "MAX_EVENTS_PER_RUN",
        values.integer(1, 100_000_000),
        "Events that a run's agent and callbacks may record. Then the run fails, as at the other quotas of runs, with "
        "the error class `quota_exceeded`.",
        default=500_000,
    )
    max_mb_per_run: int = setting(
        "MAX_MB_PER_RUN",
        values.integer(1, 1_000_000),
        "MiB of events that a run's agent and callbacks may record.",
        default=256,
    )
    max_events_per_session_hour: int = setting(
        "MAX_EVENTS_PER_SESSION_HOUR",
        values.integer(1, 100_000_000),
        "Events that the runs of a session may record in an hour, by the database's clock.",
        default=1_000_000,
    )
    max_mb_per_session_hour: int = setting(
        "MAX_MB_PER_SESSION_HOUR",
        values.integer(1, 1_000_000),
        "MiB of events that the runs of a session may record in an hour.",
        default=1024,
    )
    max_open_questions_per_run: int = setting(
        "MAX_OPEN_QUESTIONS_PER_RUN",
        values.integer(1, 5_000),
        "Questions of a run that may wait for answers at the same time.",
        default=100,
    )
    max_todos_per_run: int = setting(
        "MAX_TODOS_PER_RUN",
        values.integer(1, 10_000),
        "Items that a run's todo list may have. Further ones are left out; the run goes on, with a warning.",
        default=1000,
    )
    max_workspace_files: int = setting(
        "MAX_WORKSPACE_FILES",
        values.integer(1, 10_000_000),
        "Files, links and folders that a workspace may have. Beyond this and the quotas below its sync fails "
        "at once, by their name.",
        default=150_000,
    )
    max_workspace_mb: int = setting(
        "MAX_WORKSPACE_MB",
        values.integer(1, 100_000_000),
        "MiB that the files of a workspace may have in all; holes of sparse files are not counted.",
        default=20_480,
    )
    max_workspace_file_mb: int = setting(
        "MAX_WORKSPACE_FILE_MB",
        values.integer(1, 5_000_000),
        "MiB that one file of a workspace may have, holes included.",
        default=10_240,
    )
    max_workspace_depth: int = setting(
        "MAX_WORKSPACE_DEPTH",
        values.integer(1, 1_000),
        "How deep folders of a workspace may be nested.",
        default=200,
    )
