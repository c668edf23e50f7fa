"""What Claude Code says that no proof with the real one brings about."""

import json

import pytest

from domain.run import events as e
from infrastructure.executor.providers.claude_code.stream import ClaudeStream
from infrastructure.executor.providers.contract import ReplyNotDelivered
from infrastructure.executor.providers.line_framing import Line


@pytest.fixture
def stream():
    return ClaudeStream("claude-code", ("ANTHROPIC_API_KEY",), 1000)


def heard(stream, *lines):
    return [event for line in lines for event in stream.events_of(Line(json.dumps(line).encode()))]


@pytest.mark.parametrize(
    "line",
    [
        b"not json", b"[]", b"3", b'{"type":"assistant"}', b'{"type":"stream_event"}', b'{"type":"user","message":7}',
        b'{"type":"control_request"}', b'{"type":"result","is_error":"yes"}', b"\xff\xfe", b'{"type":["a"]}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_a_warning(stream, line):
    (warning,) = stream.events_of(Line(line))
    assert warning.warning.code == "not_understood"


def test_a_new_kind_of_line_is_warned_of_once(stream):
    assert len(heard(stream, {"type": "dance"}, {"type": "dance"}, {"type": "song"})) == 2


def test_endless_garbage_is_not_told_endlessly(stream):
    assert len([event for _ in range(1000) for event in stream.events_of(Line(b"x"))]) == 20


def test_a_message_that_was_not_streamed_is_told_whole(stream):
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "all at once"}]
    events = heard(stream, {"type": "assistant", "message": {"id": "m1", "content": content}})
    assert events == [e.ReasoningDelta(text="hm"), e.MessageDelta(text="all at once"), e.MessageStopped()]


def test_a_question_that_is_withdrawn_is_closed_and_takes_no_answer(stream):
    request = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "ls"}, "tool_use_id": "t"}
    (asked,) = heard(stream, {"type": "control_request", "request_id": "r", "request": request})
    (closed,) = heard(stream, {"type": "control_cancel_request", "request_id": "r"})
    assert closed.question_id == asked.question_id == "t"
    with pytest.raises(ReplyNotDelivered):
        stream.answer("t", "allow")


def test_questions_asked_together_are_answered_together(stream):
    questions = [{"question": "One?", "options": [{"label": "a"}]}, {"question": "Two?", "options": []}]
    request = {
        "subtype": "can_use_tool", "tool_name": "AskUserQuestion", "tool_use_id": "t",
        "input": {"questions": questions},
    }  # fmt: skip
    asked = heard(stream, {"type": "control_request", "request_id": "r", "request": request})
    assert [question.question_id for question in asked] == ["t/1", "t/2"]
    assert stream.answer("t/2", ["x", "y"]) is None
    response = stream.answer("t/1", "a")["response"]["response"]
    assert response["updatedInput"]["answers"] == {"One?": "a", "Two?": "x, y"}


def test_a_limit_of_the_caller_is_told_as_such(stream):
    heard(stream, {"type": "result", "subtype": "error_max_turns", "is_error": True, "session_id": "s"})
    assert stream.error().error_class == "bad_input"
    assert "maxTurns" in stream.error().message


def test_usage_of_a_run_that_was_killed_is_what_its_messages_told(stream):
    start = {
        "type": "message_start",
        "message": {"id": "m", "usage": {"input_tokens": 5, "cache_read_input_tokens": 3}},
    }
    heard(
        stream,
        {"type": "stream_event", "event": start},
        {"type": "stream_event", "event": {"type": "message_delta", "usage": {"output_tokens": 2}}},
    )
    assert (stream.usage().input_tokens, stream.usage().cached_input_tokens, stream.usage().output_tokens) == (8, 3, 2)
