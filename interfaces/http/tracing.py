"""Trace ids: W3C `traceparent` or `x-trace-id` in, both out, and the id in every log line of the request."""

import hashlib
import re
import secrets
from collections.abc import Mapping

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_TRACE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_HEX_TRACE = re.compile(r"[0-9a-f]{32}")


def incoming_trace_id(headers: Mapping[str, str]) -> str:
    """The caller's trace id; empty when it sends none, or one that isn't valid (which is ignored, as W3C says)."""
    parent = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if parent and not headers["traceparent"].startswith("ff") and set(parent["trace"]) != {"0"}:
        return parent["trace"]
    own = headers.get("x-trace-id", "")
    return own if _TRACE_ID.fullmatch(own) else ""


def new_trace_id() -> str:
    """32 hex digits."""
    return secrets.token_hex(16)


def outgoing_traceparent(trace_id: str) -> str:
    """The traceparent of this request: the trace, and a span id of its own."""
    trace = trace_id if _HEX_TRACE.fullmatch(trace_id) else hashlib.sha256(trace_id.encode()).hexdigest()[:32]
    return f"00-{trace}-{secrets.token_hex(8)}-01"
