"""Whether a run may start in this worker now."""

from domain.errors import Conflict
from infrastructure.executor.workspace.engine import WorkspaceEngine


def admit_run(workspace: WorkspaceEngine, *, maintenance: bool) -> None:
    """Raises Conflict `maintenance`, `gate_under_way`, and what `require_restored` raises."""
    if maintenance:
        raise Conflict("this worker runs for maintenance only; it takes no runs", "maintenance")
    workspace.require_restored()
    if workspace.gate_sync_running:
        raise Conflict("a gate sync is under way; no run may start now", "gate_under_way")
