"""The table of all endpoints of the API."""

from interfaces.http.compatibility import chat_history
from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.resources import (
    audit,
    callbacks,
    effects,
    events,
    executor_logs,
    forks,
    history,
    housekeeping,
    human_loop,
    probes,
    process_managers,
    providers,
    queue,
    restore_plan,
    runs,
    session_workers,
    todos,
    usage,
    workspaces,
)

ENDPOINTS: tuple[Endpoint, ...] = (
    *probes.ENDPOINTS,
    *housekeeping.ENDPOINTS,
    *session_workers.ENDPOINTS,
    *executor_logs.ENDPOINTS,
    *workspaces.ENDPOINTS,
    *restore_plan.ENDPOINTS,
    *effects.ENDPOINTS,
    *process_managers.ENDPOINTS,
    *queue.ENDPOINTS,
    *runs.ENDPOINTS,
    *callbacks.ENDPOINTS,
    *todos.ENDPOINTS,
    *human_loop.ENDPOINTS,
    *usage.ENDPOINTS,
    *providers.ENDPOINTS,
    *events.ENDPOINTS,
    *history.ENDPOINTS,
    *forks.ENDPOINTS,
    *audit.ENDPOINTS,
    *chat_history.ENDPOINTS,
)
