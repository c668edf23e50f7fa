"""The headers by which an executor's logs name the trace, session, run, effect and operation of a call."""

import re
from datetime import UTC, datetime

from application.diagnostic_context import diagnostic_ids
from application.executor_protocol import TRACE_HEADERS, TRACE_TIME_HEADER
from application.trace_context import TRACE_ID_HEADER, TRACEPARENT_HEADER, traceparent

_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


def trace_headers(
    *, session_id: str, executor_id: str, run_id: str, operation: str, trace_id: str, span_id: str
) -> dict[str, str]:
    """The headers of one attempt. `span_id`: of its span; empty for a new id."""
    bound = diagnostic_ids()
    about = {
        "session_id": session_id,
        "run_id": run_id,
        "effect_id": bound.get("effectId", ""),
        "executor_id": executor_id,
        "operation": operation,
    }
    return {
        TRACE_ID_HEADER: trace_id,
        TRACEPARENT_HEADER: traceparent(trace_id, span_id),
        TRACE_TIME_HEADER: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **{TRACE_HEADERS[name]: _UNPRINTABLE.sub("_", value) for name, value in about.items() if value},
    }
