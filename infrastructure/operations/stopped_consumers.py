"""Which projection or process manager has stopped, and what to do about it: for `/ready` and `fleetlog doctor`."""

from collections.abc import Sequence

import msgspec

from application.ports.process_manager_records import ProcessManagerStatus
from projections.ports import ProjectionStatus


class StoppedConsumer(msgspec.Struct, frozen=True, kw_only=True):
    """`detail`: which one stands where, and why. `mend`: the commands for it."""

    detail: str
    mend: str


def stopped_projection(statuses: Sequence[ProjectionStatus]) -> StoppedConsumer | None:
    """The first active one that does not go on."""
    for status in statuses:
        if status.state == "active" and status.status != "running":
            return _stopped("projections", status.projection, status)
    return None


def stopped_process_manager(statuses: Sequence[ProcessManagerStatus]) -> StoppedConsumer | None:
    """The first one that does not go on."""
    for status in statuses:
        if status.status != "running":
            return _stopped("process-managers", status.name, status)
    return None


def _stopped(command: str, name: str, status: ProjectionStatus | ProcessManagerStatus) -> StoppedConsumer:
    return StoppedConsumer(
        detail=f"{name} is {status.status} at position {status.error_position}: {status.error}",
        mend=f"`fleetlog {command} retry {name}` after mending the cause, or `skip`",
    )
