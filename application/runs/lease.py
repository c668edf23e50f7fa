"""Ids and command contexts of what the holder of a run's lease writes."""

from application.command_context import CommandContext
from application.ports.run_queue import RunLease


def final_sync_id(run_id: str, attempt: int) -> str:
    """The id of an attempt's final sync."""
    return f"{run_id}/{attempt}/final"


def run_context(lease: RunLease, step: str) -> CommandContext:
    """The context of the commands that a lease's holder sends for its run."""
    cause = lease.name
    return CommandContext(
        actor=f"run-worker/{lease.owner}",
        command_id=f"{cause}/{step}",
        correlation_id=lease.run_id,
        causation_id=cause,
        trace_id=lease.trace_id,
    )
