"""The trace that a call to an executor belongs to, and the headers that carry it."""

import hashlib
import os
import re
from contextvars import ContextVar
from datetime import UTC, datetime

current_trace_id: ContextVar[str] = ContextVar("current_trace_id", default="")
"""Set by whoever handles a request or an effect; any text. Without one each call is a trace of its own."""

_W3C_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


def trace_headers(*, session_id: str, executor_id: str, run_id: str, operation: str) -> dict[str, str]:
    """The headers of one attempt. `traceparent` holds the trace id itself when that is one of W3C's form, else its
    hash; the span is new."""
    trace_id = _UNPRINTABLE.sub("_", current_trace_id.get()) or os.urandom(16).hex()
    w3c = trace_id if _W3C_TRACE_ID.fullmatch(trace_id) else hashlib.sha256(trace_id.encode()).hexdigest()[:32]
    headers = {
        "x-trace-id": trace_id,
        "x-trace-session-id": session_id,
        "x-trace-executor-id": executor_id,
        "x-trace-operation": operation,
        "x-trace-ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "traceparent": f"00-{w3c}-{os.urandom(8).hex()}-01",
    }
    return {**headers, "x-trace-run-id": run_id} if run_id else headers
