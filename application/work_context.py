"""What the work under way is about: the ids that its log lines and its calls to executors carry."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_nothing: Mapping[str, str] = {}
_bound: ContextVar[Mapping[str, str]] = ContextVar("work_context", default=_nothing)


def bound_ids() -> Mapping[str, str]:
    """The ids that are bound here: `traceId`, `sessionId`, `runId`, `effectId`, as far as they are known."""
    return _bound.get()


@contextmanager
def work_context(*, trace_id: str = "", session_id: str = "", run_id: str = "", effect_id: str = "") -> Iterator[None]:
    """Bind the ids that are given, for this task and those that it starts; the others stay as they were outside."""
    given = {"traceId": trace_id, "sessionId": session_id, "runId": run_id, "effectId": effect_id}
    token = _bound.set({**_bound.get(), **{name: value for name, value in given.items() if value}})
    try:
        yield
    finally:
        _bound.reset(token)
