"""Which trace a request belongs to, by its two headers."""

import hashlib

import pytest

from application.trace_context import (
    incoming_span_id,
    incoming_trace_id,
    new_trace_id,
    traceparent,
    valid_trace_id,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
HASHED = hashlib.sha256(b"my-trace.1").hexdigest()[:32]


@pytest.mark.parametrize(
    ("parent", "own", "trace_id"),
    [
        ("", "", ""),
        (PARENT, "", TRACE),
        (PARENT + "-more", "", TRACE),
        (PARENT, "another", TRACE),
        ("", "my-trace.1", "my-trace.1"),
        (f"00-{HASHED}-00f067aa0ba902b7-01", "my-trace.1", "my-trace.1"),
        (f"00-{HASHED}-00f067aa0ba902b7-01", "", HASHED),
        ("nonsense", "my-trace.1", "my-trace.1"),
        (PARENT.upper(), "", ""),
        ("ff" + PARENT[2:], "", ""),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", "", ""),
        (f"00-{TRACE}-{'0' * 16}-01", "", ""),
        ("", "a b", ""),
        ("", "x" * 129, ""),
    ],
)
def test_traceparent_decides_unless_the_own_id_names_the_same_trace(parent: str, own: str, trace_id: str) -> None:
    assert incoming_trace_id({"traceparent": parent, "x-trace-id": own}) == trace_id


@pytest.mark.parametrize("trace_id", [TRACE, "my-trace.1", "0" * 32, pytest.param(new_trace_id(), id="a new one")])
def test_what_one_program_sends_the_other_reads(trace_id: str) -> None:
    sent = {"traceparent": traceparent(trace_id), "x-trace-id": trace_id}
    assert incoming_trace_id(sent) == trace_id


@pytest.mark.parametrize(
    ("parent", "trace_id", "span_id"),
    [
        (PARENT, TRACE, "00f067aa0ba902b7"),
        (f"00-{HASHED}-00f067aa0ba902b7-01", "my-trace.1", "00f067aa0ba902b7"),
        (PARENT, "another", ""),
        (f"00-{TRACE}-{'0' * 16}-01", TRACE, ""),
        ("", TRACE, ""),
    ],
)
def test_the_caller_s_span_is_known_where_it_is_of_the_same_trace(parent: str, trace_id: str, span_id: str) -> None:
    assert incoming_span_id({"traceparent": parent}, trace_id) == span_id


def test_each_traceparent_is_a_span_of_its_own() -> None:
    assert traceparent(TRACE) != traceparent(TRACE)


def test_any_text_becomes_a_trace_id_that_is_read_again() -> None:
    trace_id = valid_trace_id("request 7\r\né" + "x" * 200)
    assert trace_id.startswith("request_7___x")
    assert incoming_trace_id({"x-trace-id": trace_id}) == trace_id
