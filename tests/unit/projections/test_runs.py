"""The runs' read model: given events, the snapshot that reads show."""

from collections.abc import Sequence
from typing import Any

import pytest

from domain.event import Event
from domain.run import events as e
from domain.run.values import Message, RunError, RunSpec, Usage, Warn
from projections import runs
from projections.runs import RUNS, MessageMarks, RunRow, StreamEnd, TextChunk, last_message
from tests.support.mixed_history import sync_ref
from tests.support.recorded import as_json, at, recorded

SPEC = RunSpec(
    session_id="s1",
    app_id="a",
    project_name="p",
    user_login_name="u",
    provider="scripted",
    model="m",
    messages=(Message(role="user", content="a long prompt"),),
    provider_options={"script": "true"},
)
STARTED: list[Event] = [
    e.RunQueued(spec=SPEC),
    e.RunClaimed(lease_generation=1, owner="w", attempt=1),
    e.RunStarted(lease_generation=1, attempt=1, generation=1, boot_id="b"),
]


def row_of(events: Sequence[Event]) -> RunRow:
    return RUNS.fold_all(recorded("run:r1", events))["r1"]


def shown(*events: Event) -> dict[str, Any]:
    stream = recorded("run:r1", events)
    row = RUNS.fold_all(stream)["r1"]
    end = StreamEnd(seq=stream[-1].seq, position=stream[-1].position, at=stream[-1].occurred_at)
    answer: dict[str, Any] = as_json(runs.snapshot(row, end, chunks_of(events, row.message)))
    return answer


def chunks_of(events: Sequence[Event], marks: MessageMarks) -> list[TextChunk]:
    texts = [
        TextChunk(seq, event.text)
        for seq, event in enumerate(events, 1)
        if seq > marks.begins_after and isinstance(event, e.MessageDelta | e.MessageStopped)
    ]
    return texts[::-1]


def test_a_queued_run() -> None:
    assert shown(e.RunQueued(spec=SPEC)) == {
        "runId": "r1",
        "sessionId": "s1",
        "appId": "a",
        "projectName": "p",
        "userLoginName": "u",
        "provider": "scripted",
        "model": "m",
        "state": "queued",
        "attempt": 0,
        "maxAttempts": 5,
        "createdAt": at(1),
        "startedAt": None,
        "finishedAt": None,
        "updatedAt": at(1),
        "availableAt": None,
        "blockedReason": "",
        "outcome": None,
        "error": None,
        "exported": False,
        "warnings": [],
        "usage": {"inputTokens": 0, "outputTokens": 0, "cachedInputTokens": None, "costUsd": None},
        "providerSessionId": "",
        "cancelRequested": False,
        "outside": False,
        "openQuestions": [],
        "tools": {"started": 0, "finished": 0, "failed": 0},
        "messages": 0,
        "seq": 1,
        "position": 101,
        "text": "",
        "textTruncated": False,
    }


def test_a_run_to_its_end() -> None:
    usage = Usage(input_tokens=7, output_tokens=2, cost_usd=0.5)
    end = shown(
        *STARTED,
        e.ToolStarted(tool_id="t", name="shell"),
        e.ToolEnded(tool_id="t", ok=False),
        e.MessageDelta(text="all "),
        e.MessageDelta(text="good"),
        e.MessageStopped(),
        e.RunWarning(warning=Warn(code="c", message="m")),
        e.RunAgentFinished(outcome="succeeded", usage=usage, provider_session_id="ps"),
        e.RunSyncing(sync_id="y"),
        e.RunExported(sync=sync_ref(1)),
        e.RunFinished(outcome="succeeded", exported=True, usage=usage, provider_session_id="ps"),
    )
    assert end["state"] == end["outcome"] == "succeeded"
    assert (end["exported"], end["providerSessionId"], end["error"]) == (True, "ps", None)
    assert (end["startedAt"], end["finishedAt"], end["updatedAt"]) == (at(3), at(13), at(13))
    assert end["tools"] == {"started": 1, "finished": 1, "failed": 1}
    assert end["usage"] == {"inputTokens": 7, "outputTokens": 2, "cachedInputTokens": None, "costUsd": 0.5}
    assert (end["text"], end["messages"]) == ("all good", 1)
    assert end["warnings"] == [{"code": "c", "message": "m"}]


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([e.RunBlocked(spec=SPEC, capability="humanLoop", reason="none")], "blocked"),
        (STARTED[:2], "claimed"),
        ([*STARTED[:2], e.RunPhaseEntered(phase="restoring")], "restoring"),
        (STARTED, "running"),
        ([*STARTED, e.HumanLoopRequested(question_id="q")], "waiting_human"),
        ([*STARTED, e.HumanLoopRequested(question_id="q"), e.HumanLoopResolved(question_id="q")], "running"),
        ([*STARTED, e.RunAgentFinished(outcome="failed"), e.RunSyncing(sync_id="y")], "syncing"),
        ([*STARTED, e.RunAgentFinished(outcome="failed"), e.RunExported(sync=sync_ref(1))], "exported"),
        (
            [e.RunQueued(spec=SPEC), e.RunCancelRequested(), e.RunFinished(outcome="canceled", exported=False)],
            "canceled",
        ),
    ],
)
def test_states(events: list[Event], state: str) -> None:
    assert shown(*events)["state"] == state


def test_a_retry_tells_why_and_when() -> None:
    error = RunError(error_class="environment", message="no container")
    again = shown(
        *STARTED[:2], e.RunRetryScheduled(attempt=1, error=error, available_at=recorded("", STARTED)[2].occurred_at)
    )
    assert (again["state"], again["availableAt"]) == ("queued", at(3))
    assert again["error"] == {"errorClass": "environment", "message": "no container"}


def test_an_external_run_is_running_from_its_first_event() -> None:
    bound = shown(e.RunBound(bound_session_id="s9"))
    assert (bound["outside"], bound["state"], bound["sessionId"], bound["startedAt"]) == (True, "running", "s9", at(1))


def test_open_questions_are_named_until_they_end() -> None:
    asked = e.HumanLoopRequested(question_id="q", prompt="?", default_answer="x" * 1000)
    accepted = e.HumanLoopReplyAccepted(question_id="q", answer="y" * 1000)
    assert shown(*STARTED, asked)["openQuestions"] == ["q"]
    assert shown(*STARTED, asked, accepted)["openQuestions"] == ["q"]
    assert shown(*STARTED, asked, accepted, e.HumanLoopResolved(question_id="q", answer="y"))["openQuestions"] == []
    assert len(RUNS.encode(row_of([*STARTED, asked, accepted]))) < 1000  # answers are the human loop's


def test_prompts_and_options_stay_in_the_log() -> None:
    row = row_of(STARTED)
    assert b"long prompt" not in RUNS.encode(row)
    assert RUNS.decode(RUNS.encode(row)) == row


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([], ""),
        ([e.MessageDelta(text="a"), e.MessageDelta(text="b")], "ab"),
        ([e.MessageDelta(text="a"), e.MessageStopped()], "a"),
        ([e.MessageDelta(text="a"), e.MessageStopped(), e.MessageDelta(text="b")], "b"),
        ([e.MessageDelta(text="a"), e.MessageStopped(), e.MessageDelta(text="b"), e.MessageStopped()], "b"),
        ([e.MessageDelta(text="a"), e.MessageStopped(text="the whole")], "the whole"),
        ([e.MessageStopped(text="only that")], "only that"),
        ([e.MessageDelta(text="a"), e.MessageStopped(), e.MessageStopped()], ""),
        ([e.MessageDelta(text="a"), STARTED[2]], ""),
    ],
)
def test_the_text_is_that_of_the_last_message(events: list[Event], text: str) -> None:
    assert shown(*STARTED, *events)["text"] == text


def test_a_long_text_is_cut_at_its_beginning() -> None:
    marks = MessageMarks()
    assert last_message(marks, [TextChunk(2, "b" * runs.MAX_TEXT), TextChunk(1, "a")]) == ("b" * runs.MAX_TEXT, True)
    assert last_message(marks, [TextChunk(1, "b" * runs.MAX_TEXT)]) == ("b" * runs.MAX_TEXT, False)
    chunks = [TextChunk(n, "x") for n in range(runs.MAX_CHUNKS + 1, 0, -1)]
    assert last_message(marks, chunks) == ("x" * runs.MAX_CHUNKS, True)


def test_warnings_are_bounded() -> None:
    warnings = [e.RunWarning(warning=Warn(code=str(n), message="")) for n in range(runs.MAX_WARNINGS + 5)]
    codes = [warning.code for warning in row_of([*STARTED, *warnings]).warnings]
    assert codes == [str(n) for n in range(5, runs.MAX_WARNINGS + 5)]


def test_a_long_warning_is_shortened_and_says_so() -> None:
    warned = e.RunWarning(warning=Warn(code="c", message="m" * (runs.MAX_WARNING_TEXT + 1)))
    (warning,) = row_of([*STARTED, warned]).warnings
    assert warning.message == "m" * runs.MAX_WARNING_TEXT + "… (2,001 characters; the log has them all)"
