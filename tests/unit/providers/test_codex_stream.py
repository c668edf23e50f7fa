"""What Codex says and asks that no proof with the real one brings about."""

import json

import pytest

from domain.run import events as e
from infrastructure.executor.providers.codex.items import tool_call, tool_result
from infrastructure.executor.providers.codex.stream import CodexStream
from infrastructure.executor.providers.contract import ReplyNotDelivered
from infrastructure.executor.providers.line_framing import Line

FILES, COMMAND = "item/fileChange/requestApproval", "item/commandExecution/requestApproval"
ADDED = {"path": "/workspace/a.txt", "kind": {"type": "add"}, "diff": "a\n"}


@pytest.fixture
def stream():
    stream = CodexStream("codex-cli", ("OPENAI_API_KEY",), 1000, max_retries=2)
    stream.thread_id, stream.turn_id = "t", "turn"
    return stream


def heard(stream, *messages):
    return [event for each in messages for event in stream.events_of(Line(json.dumps(each).encode()))]


def note(method, **params):
    return {"method": method, "params": {"threadId": "t", "turnId": "turn", **params}}


def request(request_id, method, **params):
    return {"id": request_id, **note(method, itemId="i", **params)}


def tokens(thread, turn, total, last):
    def count(number):
        return {"inputTokens": number, "outputTokens": number, "cachedInputTokens": number}

    return note(
        "thread/tokenUsage/updated",
        threadId=thread,
        turnId=turn,
        tokenUsage={"total": count(total), "last": count(last)},
    )


@pytest.mark.parametrize(
    "line",
    [
        b"not json", b"[]", b"3", b"{}", b'{"method":"item/started"}', b'{"method":"item/started","params":[]}',
        b'{"method":"error","params":{"willRetry":true}}', b'{"method":"turn/completed","params":{"threadId":"t"}}',
        b'{"method":7}', b'{"id":1,"method":"item/tool/requestUserInput","params":{}}', b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_a_warning(stream, line):
    (warning,) = stream.events_of(Line(line))
    assert warning.warning.code == "not_understood"


def test_a_new_kind_of_notification_is_warned_of_once_and_a_known_family_never(stream):
    messages = [
        note("dance/begun"),
        note("dance/begun"),
        note("song"),
        note("thread/whatever"),
        note("account/x"),
        note("codex/event/task_started"),
    ]
    assert len(heard(stream, *messages)) == 2


def test_a_request_that_nobody_here_can_fulfil_is_refused_at_once(stream):
    (warning,) = heard(stream, request(0, "attestation/generate"))
    assert warning.warning.code == "not_understood"
    assert [(said["id"], said["error"]["code"]) for said in stream.outbox] == [(0, -32601)]


def test_a_message_that_was_not_streamed_is_told_whole(stream):
    item = {"type": "agentMessage", "id": "m", "text": "all at once"}
    events = heard(stream, note("item/started", item=item), note("item/completed", item=item))
    assert events == [e.MessageDelta(text="all at once"), e.MessageStopped()]


def test_words_of_an_agent_below_are_left_out_and_its_tools_are_told(stream):
    command = {"type": "commandExecution", "id": "c", "command": "ls", "cwd": "/workspace"}
    events = heard(
        stream,
        note("item/agentMessage/delta", threadId="below", itemId="m", delta="not for you"),
        note("item/started", threadId="below", item=command),
        note("turn/completed", threadId="below", turn={"id": "x", "status": "completed"}),
    )
    assert [type(event) for event in events] == [e.ToolStarted]
    assert stream.turn is None


def test_a_command_that_is_told_of_only_when_it_asks_and_ended_twice_is_one_call(stream):
    item = {"type": "commandExecution", "id": "i", "command": "ls", "status": "declined"}
    events = heard(
        stream,
        request(0, COMMAND, command="ls", cwd="/workspace"),
        note("item/started", item=item),
        note("item/completed", item=item),
        note("item/completed", item={**item, "status": "failed"}),
    )
    assert [type(event) for event in events] == [e.ToolStarted, e.HumanLoopRequested, e.ToolEnded]
    assert events[0].input == {"command": "ls", "cwd": "/workspace"}


def test_what_a_resumed_thread_has_used_before_may_be_told_before_the_thread_is_known():
    stream = CodexStream("codex-cli", ("OPENAI_API_KEY",), 1000, max_retries=2)
    heard(stream, tokens("t", "an earlier turn", 100, 100))
    stream.thread_id, stream.turn_id = "t", "turn"
    heard(stream, tokens("t", "turn", 110, 10))
    assert stream.usage().input_tokens == 10


def test_what_is_used_is_counted_from_this_run_on_with_the_agents_below(stream):
    heard(stream, tokens("t", "an earlier turn", 100, 100))
    heard(stream, tokens("t", "turn", 110, 10), tokens("t", "turn", 115, 5), tokens("t", "turn", 115, 5))
    heard(stream, tokens("below", "its own", 7, 7))
    usage = stream.usage()
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cost_usd) == (22, 22, 22, None)


def test_a_network_that_codex_would_wait_for_for_ever_is_given_up(stream):
    error = {"message": "Reconnecting... waiting for network", "additionalDetails": "error sending request",
             "codexErrorInfo": {"responseStreamDisconnected": {"httpStatusCode": None}}}  # fmt: skip
    events = heard(stream, *[note("error", error=error, willRetry=True)] * 3)
    assert [event.warning.code for event in events] == ["model_retry"] * 2
    assert [said["method"] for said in stream.outbox] == ["turn/interrupt"]
    assert stream.error().error_class == "network"


@pytest.mark.parametrize(
    ("info", "message", "error_class"),
    [
        ("contextWindowExceeded", "too much", "context_exceeded"),
        ("usageLimitExceeded", "come back later", "rate_limited"),
        ("serverOverloaded", "busy", "model_unavailable"),
        ("modelNotFound", "which one?", "model_refused"),
        ("unauthorized", "who?", "auth_missing"),
        ({"httpConnectionFailed": {"httpStatusCode": 404}}, "nothing there", "model_refused"),
        ({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}, "no", "rate_limited"),
        ("other", '{"error": {"message": "a parameter of yours"}}', "model_refused"),
        (None, "a sentence without a hint", "protocol"),
    ],
)
def test_a_failed_turn_has_a_class(stream, info, message, error_class):
    error = {"message": message, "codexErrorInfo": info}
    heard(stream, note("turn/completed", turn={"id": "turn", "status": "failed", "error": error}))
    assert stream.error().error_class == error_class


def test_a_second_approval_of_the_same_item_is_a_question_of_its_own(stream):
    _, *asked = heard(stream, request(0, COMMAND, command="ls"), request(1, COMMAND, command="ls", reason="no sandbox"))
    assert [question.question_id for question in asked] == ["i", "i/again-2"]
    assert asked[1].prompt == "Run: ls (no sandbox)"
    assert stream.questions.answer("i/again-2", "allow") == [{"id": 1, "result": {"decision": "accept"}}]


def test_a_denial_with_words_is_told_to_the_model(stream):
    heard(stream, request(0, COMMAND, command="rm x"))
    steer, response = stream.questions.answer("i", {"decision": "deny", "message": "keep x"})
    assert (steer["method"], steer["params"]["input"][0]["text"]) == ("turn/steer", "keep x")
    assert response == {"id": 0, "result": {"decision": "decline"}}


def test_files_that_were_allowed_for_the_session_are_not_asked_for_again(stream):
    (asked,) = heard(
        stream,
        note("item/started", item={"type": "fileChange", "id": "i", "changes": [ADDED], "status": "inProgress"}),
        request(0, FILES),
    )[1:]
    assert asked.prompt == "Change files: add /workspace/a.txt"
    stream.questions.answer("i", "allow for session")
    assert heard(stream, request(1, FILES)) == []
    assert stream.outbox == [{"id": 1, "result": {"decision": "accept"}}]


def test_a_question_that_is_withdrawn_is_closed_and_takes_no_answer(stream):
    heard(stream, request(5, COMMAND, command="ls"))
    (closed,) = heard(stream, note("serverRequest/resolved", requestId=5))
    assert closed.question_id == "i"
    with pytest.raises(ReplyNotDelivered):
        stream.questions.answer("i", "allow")


def test_questions_asked_together_are_answered_together(stream):
    questions = [
        {"id": "one", "question": "One?", "options": [{"label": "a", "description": ""}]},
        {"id": "two", "question": "Two?", "options": None},
    ]
    asked = heard(stream, request(0, "item/tool/requestUserInput", questions=questions))
    assert [question.question_id for question in asked] == ["i/1", "i/2"]
    assert stream.questions.answer("i/2", "x") == []
    (response,) = stream.questions.answer("i/1", "a")
    assert response == {"id": 0, "result": {"answers": {"one": {"answers": ["a"]}, "two": {"answers": ["x"]}}}}


def test_a_secret_is_never_asked_for(stream):
    question = {"id": "key", "question": "Your key?", "isSecret": True, "options": None}
    (warning,) = heard(stream, request(0, "item/tool/requestUserInput", questions=[question]))
    assert warning.warning.code == "secret_not_asked"
    assert stream.outbox == [{"id": 0, "result": {"answers": {}}}]


@pytest.mark.parametrize(
    ("answer", "granted"),
    [
        ("allow", {"permissions": {"network": {"enabled": True}}, "scope": "turn"}),
        ("allow for session", {"permissions": {"network": {"enabled": True}}, "scope": "session"}),
        ("no", {"permissions": {}, "scope": "turn"}),
    ],
)
def test_permissions_are_granted_as_they_were_asked_for_or_not_at_all(stream, answer, granted):
    wanted = {"network": {"enabled": True}}
    (asked,) = heard(stream, request(0, "item/permissions/requestApproval", permissions=wanted, reason="to fetch"))
    assert (asked.kind, "to fetch" in asked.prompt) == ("permission", True)
    assert stream.questions.answer("i", answer) == [{"id": 0, "result": granted}]


@pytest.mark.parametrize(
    ("schema", "kind", "answer", "action", "content"),
    [
        ({"type": "object", "properties": {}}, "permission", "allow", "accept", {}),
        ({"type": "object", "properties": {}}, "permission", "deny", "decline", None),
        ({"properties": {"name": {}}}, "question", {"name": "Ada"}, "accept", {"name": "Ada"}),
        ({"properties": {"name": {}}}, "question", "deny", "decline", None),
    ],
)
def test_a_server_of_tools_asks_too(stream, schema, kind, answer, action, content):
    asking = {"serverName": "crm", "mode": "form", "message": "who?", "requestedSchema": schema}
    (asked,) = heard(stream, request(0, "mcpServer/elicitation/request", **asking))
    assert asked.kind == kind
    (response,) = stream.questions.answer(asked.question_id, answer)
    assert (response["result"]["action"], response["result"]["content"]) == (action, content)


def test_a_huge_change_is_told_in_part_and_a_failed_command_with_its_code():
    changes = [{**ADDED, "diff": "x" * 200_000}, {**ADDED, "diff": "y"}]
    call = tool_call({"type": "fileChange", "id": "i", "changes": changes})
    assert len(json.dumps(call.input)) < 60_000
    command = {"type": "commandExecution", "id": "c", "command": "ls", "aggregatedOutput": "none\n", "exitCode": 2}
    result = tool_result({**command, "status": "failed", "durationMs": 12})
    assert (result.output, result.ok, result.duration_ms) == ("none\n\n[exit code 2]", False, 12)
