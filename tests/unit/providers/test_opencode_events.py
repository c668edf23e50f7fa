"""What opencode says that no proof with the real one brings about."""

import json

import pytest

from domain.run import events as e
from infrastructure.executor.providers.contract import ReplyNotDelivered
from infrastructure.executor.providers.opencode.events import OpencodeEvents

OWN, OTHER = "ses_own", "ses_other"


@pytest.fixture
def said():
    said = OpencodeEvents("opencode", ("OPENAI_COMPATIBLE_API_KEY",), 1000, 2)
    said.session_id = OWN
    return said


def heard(said, *events):
    return [event for each in events for event in said.events_of(json.dumps(each).encode())]


def message(message_id="msg_1", session=OWN, **info):
    info = {"id": message_id, "sessionID": session, "role": "assistant", **info}
    return {"type": "message.updated", "properties": {"sessionID": session, "info": info}}


def part(kind, part_id="prt_1", message_id="msg_1", session=OWN, **fields):
    body = {"id": part_id, "messageID": message_id, "sessionID": session, "type": kind, **fields}
    return {"type": "message.part.updated", "properties": {"sessionID": session, "part": body}}


def delta(text, part_id="prt_1"):
    told = {"sessionID": OWN, "messageID": "msg_1", "partID": part_id, "field": "text", "delta": text}
    return {"type": "message.part.delta", "properties": told}


def status(kind, session=OWN, **fields):
    return {"type": "session.status", "properties": {"sessionID": session, "status": {"type": kind, **fields}}}


def failed(name, session=OWN, **data):
    return {"type": "session.error", "properties": {"sessionID": session, "error": {"name": name, "data": data}}}


def step(reason, number=1, message_id="msg_1", session=OWN, cost=0.5):
    tokens = {"input": 10, "output": 4, "reasoning": 2, "cache": {"read": 3, "write": 1}}
    return part("step-finish", f"prt_step{number}", message_id, session, reason=reason, tokens=tokens, cost=cost)


def tool(state, part_id="prt_t", session=OWN, name="bash", **fields):
    return part("tool", part_id, session=session, tool=name, callID="c", state={"status": state, "input": {}, **fields})


@pytest.mark.parametrize(
    "event",
    [
        b"not json", b"[]", b"3", b'{"type":7}', b'{"type":"message.updated"}', b"\xff\xfe", b"[" * 100_000,
        b'{"type":"message.part.updated","properties":{"part":{}}}', b'{"type":"permission.asked","properties":{}}',
        b'{"type":"question.asked","properties":{"id":"q","questions":7}}',
    ],
)  # fmt: skip
def test_an_event_that_makes_no_sense_is_a_warning(said, event):
    (warning,) = said.events_of(event)
    assert warning.warning.code == "not_understood"


def test_a_new_kind_of_event_or_part_is_warned_of_once(said):
    new = {"type": "moon.risen", "properties": {}}
    assert len(heard(said, message(), new, new, part("hologram"), part("hologram"))) == 2


def test_what_is_told_twice_is_said_once(said):
    events = [
        message(), part("text", text=""), delta("hel"), part("text", text="hello"), delta("x", "prt_unknown"),
        tool("running"), tool("completed", output="ok"), step("stop"),
    ]  # fmt: skip
    first = heard(said, *events)
    again = heard(said, message(), part("text", text="hello"), tool("completed", output="ok"), step("stop"))

    assert "".join(event.text for event in first if isinstance(event, e.MessageDelta)) == "hello"
    assert [type(event) for event in first][2:] == [e.ToolStarted, e.ToolEnded, e.MessageStopped]
    assert again == []
    usage = said.usage()
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cost_usd) == (14, 6, 3, 0.5)


def test_a_text_with_a_gap_is_completed_at_its_end(said):
    before = heard(said, message(), part("text", text=""), delta("one "))
    said.mark_gaps()
    after = heard(said, delta("four"), part("text", text="one two three four"))

    assert [event.text for event in before + after] == ["one ", "two three four"]


def test_the_users_own_words_are_no_answer(said):
    mine = message("msg_0", role="user")
    assert heard(said, mine, part("text", message_id="msg_0", text="my prompt")) == []


def test_of_a_sub_agent_tools_and_cost_count_but_not_its_words_or_its_end(said):
    events = heard(
        said, status("busy"), message("msg_c", OTHER), part("text", "prt_c", "msg_c", OTHER, text="inner"),
        part("tool", "prt_ct", "msg_c", OTHER, tool="bash", state={"status": "completed", "input": {}, "output": ""}),
        step("stop", 1, "msg_c", OTHER), status("idle", OTHER), failed("APIError", OTHER, message="inner"),
    )  # fmt: skip
    assert [type(event) for event in events] == [e.ToolStarted, e.ToolEnded]
    assert said.usage().output_tokens == 6
    assert (said.turn_over, said.error) == (False, None)


def test_a_command_that_fails_is_not_ok(said):
    *_, end = heard(said, message(), tool("completed", output="no", metadata={"exit": 3}))
    assert (end.ok, end.output) == (False, "no")


def test_a_model_without_a_price_costs_nothing_known(said):
    heard(said, message(), step("stop", cost=0))
    assert said.usage().cost_usd is None


def test_an_idle_that_is_not_of_this_turn_ends_nothing(said):
    heard(said, status("idle"))
    assert not said.turn_over
    heard(said, status("busy"), status("idle"))
    assert said.turn_over


def test_an_error_before_the_turn_begins_ends_it(said):
    heard(said, failed("UnknownError", message='Agent not found: "nope". Available agents: build'))
    assert said.turn_over
    assert said.error.error_class == "bad_input"
    assert "providerOptions.agent" in said.error.message


def test_an_error_that_the_next_step_makes_good_is_forgotten(said):
    heard(said, status("busy"), message(), failed("APIError", message="hm", statusCode=500), step("stop"))
    assert said.error is None


def test_answers_without_an_end_are_hopeless_the_second_time(said):
    heard(said, message(), step("unknown"))
    assert not said.fatal_error
    heard(said, message("msg_2"), step("unknown", 2, "msg_2"))
    assert said.fatal_error.error_class == "protocol"


def test_tools_that_were_called_in_an_answer_without_an_end_are_progress(said):
    for number in range(5):
        heard(said, message(f"msg_{number}"))
        heard(said, part("tool", f"prt_{number}", f"msg_{number}", tool="bash", state={"status": "pending"}))
        heard(said, step("unknown", number, f"msg_{number}"))
    assert not said.fatal_error


def test_a_conversation_that_stays_too_long_after_it_was_summarised_is_hopeless(said):
    summary = message("msg_s", agent="compaction")
    heard(said, status("busy"), failed("ContextOverflowError", message="too long"), summary, step("stop", 1, "msg_s"))
    assert not said.fatal_error
    heard(said, failed("ContextOverflowError", message="too long"), failed("MessageAbortedError", message="Aborted"))
    assert said.fatal_error.error_class == "context_exceeded"


@pytest.mark.parametrize(
    ("text", "error_class"),
    [("Too Many Requests", "rate_limited"), ("Cannot connect to API: closed", "network"), ("?", "model_unavailable")],
)
def test_a_request_is_repeated_so_often_and_no_more(said, text, error_class):
    warnings = heard(said, status("retry", attempt=1, message=text), status("retry", attempt=2, message=text))
    assert [event.warning.code for event in warnings] == ["model_retry"] * 2
    assert not said.fatal_error
    heard(said, status("retry", attempt=3, message=text))
    assert said.fatal_error.error_class == error_class


def test_several_questions_are_answered_at_once(said):
    questions = [{"question": "Which?", "options": [{"label": "a"}]}, {"question": "How?", "multiple": True}]
    asked = {"type": "question.asked", "properties": {"id": "que_1", "sessionID": OTHER, "questions": questions}}

    one, two = heard(said, asked, asked)
    assert (one.prompt, two.prompt) == ("Which?", "How? (several may be chosen)")
    assert said.questions.answer(two.question_id, ["x", "y"]) is None
    reply = said.questions.answer(one.question_id, "a")
    assert (reply.path, reply.body) == ("/question/que_1/reply", {"answers": [["a"], ["x", "y"]]})
    with pytest.raises(ReplyNotDelivered):
        said.questions.answer(one.question_id, "a")


def test_a_permission_that_another_answer_settled_is_closed(said):
    body = {"sessionID": OWN, "permission": "edit", "patterns": ["a.txt"], "metadata": {}}
    asked = [{"type": "permission.asked", "properties": {**body, "id": name}} for name in ("per_1", "per_2")]
    replied = [{"type": "permission.replied", "properties": {"requestID": name}} for name in ("per_1", "per_2")]

    requested = heard(said, *asked)
    reply = said.questions.answer("per_1", "allow for session")
    closed = heard(said, *replied)

    assert [event.prompt for event in requested] == ["edit: a.txt"] * 2
    assert reply.body == {"reply": "always"}
    assert [(type(event), event.question_id) for event in closed] == [(e.HumanLoopCanceled, "per_2")]


def test_a_denial_always_says_something(said):
    body = {"id": "per_1", "sessionID": OWN, "permission": "bash", "metadata": {"command": "rm"}}
    heard(said, {"type": "permission.asked", "properties": body})
    assert said.questions.answer("per_1", "deny").body == {
        "reply": "reject",
        "message": "The user does not allow this.",
    }
