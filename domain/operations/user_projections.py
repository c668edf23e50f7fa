"""Users' own projections as consumers of the log: stream `user_projection:{name}`. Pure."""

from domain.operations import events as e
from domain.operations.log_consumer import ConsumerKind

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
