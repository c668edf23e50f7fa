"""What the events of a run tell, one after the other: given a history, then these spans and measurements."""

from datetime import UTC, datetime, timedelta
from typing import Any

from application.observation import instruments as i
from application.observation.observed import Observed
from application.observation.observer import LogObserver
from application.observation.span import span_id_of
from domain.event import Event
from domain.record import Metadata, RecordedEvent
from domain.run import events as e
from domain.run.values import Message, RunError, RunSpec, Usage

T0 = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPEC = RunSpec(
    session_id="s",
    user_login_name="ada",
    provider="claude-code",
    model="m",
    messages=(Message(role="user", content=""),),
)
LEASE: Any = {"lease_generation": 1}


def history(*events: tuple[float, Event]) -> list[RecordedEvent]:
    """The run `r`: its events at these seconds after T0."""
    recorded = []
    for seq, (seconds, event) in enumerate(events, 1):
        cause = "the command" if seq == 1 else f"lease/r/{getattr(event, 'lease_generation', 0) or 1}"
        at = T0 + timedelta(seconds=seconds)
        recorded.append(
            RecordedEvent(
                position=seq,
                stream="run:r",
                seq=seq,
                event_id="the command" if seq == 1 else f"{cause}/{seq}",
                event=event,
                occurred_at=at,
                recorded_at=at,
                metadata=Metadata(
                    actor="ada", correlation_id="c", causation_id=cause, trace_id=TRACE, span_id="ab" * 8
                ),
            )
        )
    return recorded


def observed(events: list[RecordedEvent], *, traces: bool = True) -> Observed:
    observer, found = LogObserver(traces=traces), Observed()
    for event in events:
        found += observer.see(event)
    return found


def spans(found: Observed, name: str) -> list[tuple[float, float, str]]:
    """Start, end (seconds after T0) and error of the spans of this name."""
    return [
        ((span.start - T0).total_seconds(), (span.end - T0).total_seconds(), span.error)
        for span in found.spans
        if span.name == name
    ]


def measured(found: Observed, instrument: i.Instrument) -> list[tuple[Any, ...]]:
    return [(*each.labels, each.value) for each in found.measurements if each.instrument is instrument]


WHOLE = history(
    (0, e.RunQueued(spec=SPEC)),
    (2, e.RunClaimed(owner="w", attempt=1, **LEASE)),
    (3, e.RunPhaseEntered(phase="restoring", **LEASE)),
    (5, e.RunPhaseEntered(phase="linking", **LEASE)),
    (6, e.RunPhaseEntered(phase="preparing", **LEASE)),
    (7, e.RunStarted(attempt=1, generation=1, boot_id="b", **LEASE)),
    (10, e.ToolStarted(tool_id="t", name="Bash", **LEASE)),
    (11, e.ToolStarted(tool_id="u", name="Read", **LEASE)),
    (14, e.ToolEnded(tool_id="t", ok=False, **LEASE)),
    (15, e.ToolEnded(tool_id="u", **LEASE)),
    (20, e.MessageStopped(**LEASE)),
    (
        21,
        e.RunAgentFinished(
            outcome="succeeded",
            usage=Usage(input_tokens=70, output_tokens=7, cached_input_tokens=50, cost_usd=0.5),
            exit_code=0,
            **LEASE,
        ),
    ),
    (21, e.RunSyncing(sync_id="x", **LEASE)),
    (
        24,
        e.RunFinished(
            outcome="succeeded",
            exported=True,
            usage=Usage(input_tokens=70, output_tokens=7, cached_input_tokens=50, cost_usd=0.5),
            **LEASE,
        ),
    ),
)


def test_a_run_tells_its_end_its_phases_and_what_it_used() -> None:
    found = observed(WHOLE)

    assert measured(found, i.RUNS_FINISHED) == [("succeeded", "none", "claude-code", 1)]
    assert measured(found, i.RUN_SECONDS) == [("succeeded", 24)]
    assert measured(found, i.RUN_CLAIM_DELAY_SECONDS) == [(2,)]
    assert measured(found, i.RUN_PHASE_SECONDS) == [
        ("queued", 2),
        ("claimed", 1),
        ("restoring", 2),
        ("linking", 1),
        ("preparing", 1),
        ("running", 14),
        ("ending", 0),
        ("syncing", 3),
    ]
    assert measured(found, i.TOKENS) == [
        ("claude-code", "input", 70),
        ("claude-code", "output", 7),
        ("claude-code", "cached_input", 50),
    ]
    assert measured(found, i.COST_USD) == [("claude-code", 0.5)]
    assert {each.trace_id for each in found.measurements} == {TRACE}


def test_without_traces_it_tells_the_same_numbers() -> None:
    counted = LogObserver(traces=False).wanted

    found = observed([event for event in WHOLE if event.event.wire_name in counted], traces=False)

    assert found.measurements == observed(WHOLE).measurements


def test_the_model_has_the_word_until_its_next_tool_or_message() -> None:
    found = observed(WHOLE)

    assert spans(found, "chat m") == [(7, 10, ""), (15, 20, "")]
    assert spans(found, "execute_tool Bash") == [(10, 14, "tool_failed")]
    assert spans(found, "execute_tool Read") == [(11, 15, "")]
    assert spans(found, "invoke_agent claude-code") == [(7, 21, "")]
    (agent,) = [span for span in found.spans if span.name == "invoke_agent claude-code"]
    assert agent.attributes["gen_ai.provider.name"] == "anthropic"
    assert {span.parent_id for span in found.spans if span.name in {"chat m", "execute_tool Bash"}} == {agent.span_id}


def test_an_id_that_an_agent_uses_for_two_tools_makes_two_spans() -> None:
    twice = history(
        *[(at, event.event) for at, event in enumerate(WHOLE[:6])],
        (10, e.ToolStarted(tool_id="t", name="Bash", **LEASE)),
        (11, e.ToolEnded(tool_id="t", **LEASE)),
        (12, e.ToolStarted(tool_id="t", name="Bash", **LEASE)),
        (13, e.ToolEnded(tool_id="t", **LEASE)),
    )

    assert len({span.span_id for span in observed(twice).spans if span.name == "execute_tool Bash"}) == 2


def test_the_command_is_below_the_request_and_the_event_below_the_command() -> None:
    command, event, *_ = observed(WHOLE).spans

    assert (command.name, command.parent_id) == ("command run.queued", "ab" * 8)
    assert (event.name, event.parent_id, event.span_id) == ("run.queued", command.span_id, span_id_of("run:r/1"))


def test_a_lease_that_was_taken_over_ends_there_and_the_run_is_one_trace() -> None:
    found = observed(
        history(
            (0, e.RunQueued(spec=SPEC)),
            (1, e.RunClaimed(owner="w", attempt=1, **LEASE)),
            (2, e.RunStarted(attempt=1, generation=1, boot_id="b", **LEASE)),
            (9, e.RunClaimed(owner="v", attempt=1, resumed=True, lease_generation=2)),
            (12, e.RunAgentFinished(outcome="succeeded", lease_generation=2)),
            (13, e.RunFinished(outcome="succeeded", exported=True, lease_generation=2)),
        )
    )

    assert spans(found, "run.execute") == [(1, 9, "lease_taken_over"), (9, 13, "")]
    assert spans(found, "invoke_agent claude-code") == [(2, 12, "")]
    assert measured(found, i.RUN_TAKEOVERS) == [(1,)]
    assert len(measured(found, i.RUN_CLAIM_DELAY_SECONDS)) == 1


def test_a_failed_attempt_is_counted_by_its_class_and_the_wait_for_the_next_one_from_when_it_is_due() -> None:
    error = RunError(error_class="rate_limited", message="a text of the provider")
    found = observed(
        history(
            (0, e.RunQueued(spec=SPEC)),
            (1, e.RunClaimed(owner="w", attempt=1, **LEASE)),
            (2, e.RunStarted(attempt=1, generation=1, boot_id="b", **LEASE)),
            (
                5,
                e.RunRetryScheduled(
                    attempt=1, error=error, available_at=T0 + timedelta(seconds=15), lease_generation=1
                ),
            ),
            (18, e.RunClaimed(owner="w", attempt=2, lease_generation=2)),
            (19, e.RunFinished(outcome="failed", exported=False, error=error, lease_generation=2)),
        )
    )

    assert measured(found, i.RUN_RETRIES) == [("rate_limited", 1)]
    assert measured(found, i.RUN_CLAIM_DELAY_SECONDS) == [(1,), (3,)]
    assert measured(found, i.RUNS_FINISHED) == [("failed", "rate_limited", "claude-code", 1)]
    assert spans(found, "invoke_agent claude-code") == [(2, 5, "rate_limited")]
    second = [span for span in found.spans if span.name == "run.execute"][1]
    assert second.parent_id == span_id_of("run:r/4")


def test_a_parked_run_is_no_longer_executed_and_its_agent_goes_on() -> None:
    found = observed(
        history(
            (0, e.RunQueued(spec=SPEC)),
            (1, e.RunClaimed(owner="w", attempt=1, **LEASE)),
            (2, e.RunStarted(attempt=1, generation=1, boot_id="b", **LEASE)),
            (4, e.RunParked(waits_for="person", until=T0 + timedelta(days=1), **LEASE)),
            (104, e.RunClaimed(owner="w", attempt=1, was_parked="person", lease_generation=2)),
            (106, e.RunAgentFinished(outcome="succeeded", lease_generation=2)),
            (106, e.RunFinished(outcome="succeeded", exported=True, lease_generation=2)),
        )
    )

    assert spans(found, "run.execute") == [(1, 4, ""), (104, 106, "")]
    assert ("parked", 100) in measured(found, i.RUN_PHASE_SECONDS)
    assert spans(found, "invoke_agent claude-code") == [(2, 106, "")]
    assert len(measured(found, i.RUN_CLAIM_DELAY_SECONDS)) == 1


def test_a_run_of_another_program_has_the_provider_external() -> None:
    found = observed(
        history(
            (0, e.RunBound(bound_session_id="s")),
            (5, e.RunFinished(outcome="canceled", exported=False)),
        )
    )

    assert measured(found, i.RUNS_FINISHED) == [("canceled", "none", "external", 1)]
    assert measured(found, i.RUN_PHASE_SECONDS) == [("running", 5)]


def test_folded_anew_a_run_gives_the_same_spans() -> None:
    assert observed(WHOLE).spans == observed(WHOLE).spans
    assert len({span.span_id for span in observed(WHOLE).spans}) == len(observed(WHOLE).spans)


def test_a_run_that_has_ended_is_forgotten() -> None:
    observer = LogObserver(traces=True)
    for event in WHOLE:
        observer.see(event)

    assert not observer.knows(WHOLE[-1])
