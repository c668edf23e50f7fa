"""Which trace a request belongs to, by W3C's `traceparent` and by `x-trace-id`: one rule for both programs.

A trace id is 1 to 128 letters, digits and `. _ : -`. One that is not of W3C's form (32 hex digits) appears in
`traceparent` as the first 32 hex digits of its SHA-256.
"""

import hashlib
import os
import re
from collections.abc import Mapping

TRACE_ID_HEADER = "x-trace-id"
TRACEPARENT_HEADER = "traceparent"
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?"
)
_TRACE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_W3C_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_NOT_IN_A_TRACE_ID = re.compile(r"[^A-Za-z0-9._:-]")
_LONGEST = 128


def incoming_trace_id(headers: Mapping[str, str]) -> str:
    """The caller's trace id; empty when it sends none, or one that isn't valid (which is ignored, as W3C says).

    `traceparent` decides, unless `x-trace-id` names the same trace by the id that its hash was made of.
    """
    own = headers.get(TRACE_ID_HEADER, "")
    own = own if _TRACE_ID.fullmatch(own) else ""
    parent = _TRACEPARENT.fullmatch(headers.get(TRACEPARENT_HEADER, ""))
    if parent is None or (own and w3c_trace_id(own) == parent["trace"]):
        return own
    return parent["trace"]


def new_trace_id() -> str:
    """32 hex digits."""
    return os.urandom(16).hex()


def w3c_trace_id(trace_id: str) -> str:
    """The trace id as `traceparent` holds it: 32 hex digits."""
    return trace_id if _W3C_TRACE_ID.fullmatch(trace_id) else hashlib.sha256(trace_id.encode()).hexdigest()[:32]


def traceparent(trace_id: str, span_id: str = "") -> str:
    """The `traceparent` of one request or answer: the trace, and its span, or a new one."""
    return f"00-{w3c_trace_id(trace_id)}-{span_id or os.urandom(8).hex()}-01"


def incoming_span_id(headers: Mapping[str, str], trace_id: str) -> str:
    """The span of the caller that a request of this trace comes from; empty if its `traceparent` names another trace,
    or none."""
    parent = _TRACEPARENT.fullmatch(headers.get(TRACEPARENT_HEADER, ""))
    return parent["span"] if parent is not None and parent["trace"] == w3c_trace_id(trace_id) else ""


def valid_trace_id(text: str) -> str:
    """The text with `_` for each character that a trace id can't hold, cut to 128 characters."""
    return _NOT_IN_A_TRACE_ID.sub("_", text)[:_LONGEST]
