"""Each attempt to call an executor is a span and a measurement, and its request names that span."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from application.diagnostic_context import diagnostic_context
from application.observation.instruments import Instrument
from application.observation.span import Span
from application.ports.executor import ExecutorError
from application.ports.telemetry import NoSpans
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory
from infrastructure.executor_client.http_executor import HttpExecutor
from infrastructure.executor_client.observed_calls import ObservedCalls
from tests.support.async_run import run
from tests.support.scripted_executor import Reply, ScriptedExecutor, scripted_executor

Ask = Callable[[HttpExecutor], Awaitable[object]]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEALTH = {"protocolVersion": 2, "bootId": "b1", "sessionId": "s", "generation": 3}
POLICY = CallPolicy(timeout_s=5, max_retries=1, retry_delay_s=0.01, failures_to_open=100)


class Seen(NoSpans):
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.counted: list[tuple[str, ...]] = []

    def new_id(self) -> str:
        return f"{len(self.spans) + 1:016x}"

    def take(self, span: Span) -> None:
        self.spans.append(span)

    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None:
        assert trace_id in {TRACE, ""}
        self.counted.append((instrument.name, *labels))


def called(*replies: Reply, ask: Ask = HttpExecutor.health) -> tuple[Seen, ScriptedExecutor]:
    """One call, of /health if nothing else is asked, within a task that works on something."""
    seen = Seen()

    async def scene() -> ScriptedExecutor:
        async with (
            scripted_executor() as scripted,
            HttpExecutorDirectory(b"s", policy=POLICY, observed=ObservedCalls(seen, seen)) as directory,
        ):
            scripted.replies.extend(replies)
            executor = directory.executor(session_id="s", generation=3, url=scripted.url)
            with diagnostic_context(trace_id=TRACE, span_id=PARENT), suppress(ExecutorError):
                await ask(executor)
            return scripted

    return seen, run(scene())


def test_each_attempt_is_a_span_below_what_calls() -> None:
    seen, scripted = called(Reply(status=503), Reply(body=HEALTH))

    assert [(each.name, each.parent_id, each.trace_id, each.error) for each in seen.spans] == [
        ("executor health", PARENT, TRACE, "http"),
        ("executor health", PARENT, TRACE, ""),
    ]
    assert [each.attributes["http.response.status_code"] for each in seen.spans] == [503, 200]
    assert seen.spans[1].attributes["http.request.resend_count"] == 1
    assert [request.headers["traceparent"] for request in scripted.requests] == [
        f"00-{TRACE}-{span.span_id}-01" for span in seen.spans
    ]


def test_taking_the_log_is_measured_but_no_span() -> None:
    seen, _ = called(Reply(body={"lines": [], "lost": 0}), ask=HttpExecutor.take_log)

    assert seen.spans == []
    assert seen.counted == [("executor_call_seconds", "log.take", "ok")]


def test_attempts_are_measured_by_their_outcome_and_repetitions_counted() -> None:
    seen, _ = called(Reply(status=503), Reply(body=HEALTH))

    assert seen.counted == [
        ("executor_call_seconds", "health", "http"),
        ("executor_call_retries", "health"),
        ("executor_call_seconds", "health", "ok"),
    ]


@pytest.mark.parametrize(("reply", "outcome"), [(Reply(status=400), "refused"), (Reply(status=418), "http")])
def test_what_is_not_repeated_is_measured_once(reply: Reply, outcome: str) -> None:
    seen, _ = called(reply)

    assert seen.counted == [("executor_call_seconds", "health", outcome)]
