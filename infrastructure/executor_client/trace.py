"""The trace that a call to an executor belongs to, and the headers that carry it."""

import hashlib
import os
import re
from datetime import UTC, datetime

from application.work_context import bound_ids

_W3C_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


def trace_headers(*, session_id: str, executor_id: str, run_id: str, operation: str) -> dict[str, str]:
    """The headers of one attempt. The trace is that of the work under way (work_context.py); without one each call is a
    trace of its own. `traceparent` holds the trace id itself when that is one of W3C's form, else its hash; the span is
    new."""
    about = bound_ids()
    trace_id = _UNPRINTABLE.sub("_", about.get("traceId", "")) or os.urandom(16).hex()
    w3c = trace_id if _W3C_TRACE_ID.fullmatch(trace_id) else hashlib.sha256(trace_id.encode()).hexdigest()[:32]
    headers = {
        "x-trace-id": trace_id,
        "x-trace-session-id": session_id,
        "x-trace-executor-id": executor_id,
        "x-trace-operation": operation,
        "x-trace-ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "traceparent": f"00-{w3c}-{os.urandom(8).hex()}-01",
    }
    if run_id:
        headers["x-trace-run-id"] = run_id
    if "effectId" in about:
        headers["x-trace-effect-id"] = _UNPRINTABLE.sub("_", about["effectId"])
    return headers
