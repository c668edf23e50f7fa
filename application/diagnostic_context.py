"""The ids that log lines and calls to executors carry: which trace, session, run and effect a task works on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_bound: ContextVar[Mapping[str, str]] = ContextVar("diagnostic_context", default=MappingProxyType({}))


def diagnostic_ids() -> Mapping[str, str]:
    """The ids bound in this task, by name: `traceId`, `spanId` where spans are recorded, `sessionId`, `runId`,
    `effectId`; in an executor also `executorId` and `operation`, as its caller named them. Unknown ones are left
    out."""
    return _bound.get()


@contextmanager
def diagnostic_context(
    *,
    trace_id: str = "",
    span_id: str = "",
    session_id: str = "",
    run_id: str = "",
    effect_id: str = "",
    executor_id: str = "",
    operation: str = "",
) -> Iterator[None]:
    """Bind the given ids for this task and the tasks it starts. Ids that are not given keep their outer values."""
    given = {
        "traceId": trace_id,
        "spanId": span_id,
        "sessionId": session_id,
        "runId": run_id,
        "effectId": effect_id,
        "executorId": executor_id,
        "operation": operation,
    }
    token = _bound.set({**_bound.get(), **{name: value for name, value in given.items() if value}})
    try:
        yield
    finally:
        _bound.reset(token)
