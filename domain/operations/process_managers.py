"""Process managers as consumers of the log: stream `process_manager:{name}`. Pure."""

from domain.operations import events as e
from domain.operations.log_consumer import ConsumerKind

PROCESS_MANAGER = ConsumerKind(
    title="process manager",
    stream_prefix="process_manager",
    stopped=e.ProcessManagerStopped,
    retried=e.ProcessManagerRetried,
    skipped=e.ProcessManagerSkipped,
    stopped_status="stopped",
    not_stopped="not_stopped",
    versioned=False,
)
