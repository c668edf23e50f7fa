"""The quotas that the settings name, as those who check them take them."""

from application.runs.session_quotas import HourlyQuotas
from domain.run.quotas import RunQuotas
from domain.workspace.limits import WorkspaceLimits
from interfaces.setting_quotas import QuotaSettings

MIB = 1024 * 1024


def run_quotas(settings: QuotaSettings) -> RunQuotas:
    return RunQuotas(
        events=settings.max_events_per_run,
        bytes=settings.max_mb_per_run * MIB,
        todos=settings.max_todos_per_run,
        open_questions=settings.max_open_questions_per_run,
    )


def hourly_quotas(settings: QuotaSettings) -> HourlyQuotas:
    return HourlyQuotas(events=settings.max_events_per_session_hour, bytes=settings.max_mb_per_session_hour * MIB)


def workspace_limits(settings: QuotaSettings) -> WorkspaceLimits:
    return WorkspaceLimits(
        files=settings.max_workspace_files,
        bytes=settings.max_workspace_mb * MIB,
        file_bytes=settings.max_workspace_file_mb * MIB,
        depth=settings.max_workspace_depth,
    )
