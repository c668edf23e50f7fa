"""The headers by which an executor's logs name the trace, session, run, effect and operation of a call."""

import re
from datetime import UTC, datetime

from application.diagnostic_context import diagnostic_ids
from application.executor_protocol import TRACE_HEADERS, TRACE_TIME_HEADER
from application.trace_context import (
    TRACE_ID_HEADER,
    TRACEPARENT_HEADER,
    new_trace_id,
    traceparent,
    valid_trace_id,
)

_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


def trace_headers(*, session_id: str, executor_id: str, run_id: str, operation: str) -> dict[str, str]:
    """The headers of one attempt. The trace id is that of the current task (application/diagnostic_context.py), else a
    new one; the span id is always new."""
    bound = diagnostic_ids()
    trace_id = valid_trace_id(bound.get("traceId", "")) or new_trace_id()
    about = {
        "session_id": session_id,
        "run_id": run_id,
        "effect_id": bound.get("effectId", ""),
        "executor_id": executor_id,
        "operation": operation,
    }
    return {
        TRACE_ID_HEADER: trace_id,
        TRACEPARENT_HEADER: traceparent(trace_id),
        TRACE_TIME_HEADER: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **{TRACE_HEADERS[name]: _UNPRINTABLE.sub("_", value) for name, value in about.items() if value},
    }
