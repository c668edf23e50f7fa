"""The table of all endpoints: what the API can do, at a glance."""

from interfaces.http import (
    audit,
    callbacks,
    effects,
    events,
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
from interfaces.http.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *probes.ENDPOINTS,
    *housekeeping.ENDPOINTS,
    *session_workers.ENDPOINTS,
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
)
