"""Users' own projections as consumers of the log: stream `user_projection:{name}`. Pure."""

from collections.abc import Sequence

import msgspec

from domain.errors import Conflict
from domain.event import Event
from domain.operations import events as e
from domain.operations.log_consumer import ConsumerCommand, ConsumerKind, ConsumerState

USER_PROJECTION = ConsumerKind(
    title="user's projection",
    stream_prefix="user_projection",
    stopped=e.UserProjectionStopped,
    retried=e.UserProjectionRetried,
    skipped=e.UserProjectionSkipped,
    stopped_status="stopped",
    not_stopped="not_stopped",
    versioned=False,
)


class ForgetProjection(msgspec.Struct, frozen=True, kw_only=True):
    """Show it no more."""

    reason: str = ""


class ProjectionRuns(Conflict):
    """A projection that runs can't be forgotten."""


def decide(state: ConsumerState | None, command: ConsumerCommand | ForgetProjection) -> Sequence[Event]:
    """The events that a command leads to. Raises NotStopped."""
    if isinstance(command, ForgetProjection):
        return (e.UserProjectionForgotten(reason=command.reason),)
    return USER_PROJECTION.decide(state, command)
