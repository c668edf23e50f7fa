"""What an agent says and does, as unified events: the same of every provider, from the real CLI."""

import pytest

from tests.e2e.providers.agents import Agents
from tests.support.model_server import Gate, Reasoning, Text, Turn


@pytest.mark.proof
def test_a_plain_answer_is_streamed_in_several_deltas(agents: Agents) -> None:
    gate = Gate()
    answer = Text("one two three four five six", pieces=6, pause_s=0.1, gate=gate)
    begun = agents.started(Turn(answer, input_tokens=21, output_tokens=9))
    first = begun.until("message.delta")["text"]
    gate.open()
    run = begun.end()

    assert run.outcome == ("succeeded", "")
    assert run.text == "one two three four five six"
    assert run.text.startswith(first)
    assert first != run.text
    assert len(run.of("message.delta")) >= 2
    assert "message.stop" in [event["type"] for event in run.events]
    assert run.snapshot["providerSessionId"]
    usage = agents.server.ok("GET", f"/api/runs/{run.run_id}/usage")
    assert (usage["inputTokens"], usage["outputTokens"]) == (21, 9)


def test_reasoning_is_told_apart_from_the_answer(agents: Agents) -> None:
    run = agents.finished(Turn(Reasoning("let me think"), Text("the answer")))

    assert "".join(payload["text"] for payload in run.of("reasoning.delta")) == "let me think"
    assert run.text == "the answer"


def test_a_tool_call_that_changes_a_file_is_seen_in_the_workspace_and_in_the_log(agents: Agents) -> None:
    session_id, folder = agents.session_with_worker()

    run = agents.finished(
        Turn(agents.dialect.write_file(folder, "made.txt", "by the agent\n")), Text("done"), sessionId=session_id
    )

    assert run.outcome == ("succeeded", "")
    assert (agents.read(session_id, "made.txt") or "").strip() == "by the agent"
    (start,), (end,) = run.of("tool.start"), run.of("tool.end")
    assert "made.txt" in str(start["input"])
    assert (end["toolId"], end["name"], end.get("ok", True)) == (start["toolId"], start["name"], True)
    assert end["output"]
    assert end["durationMs"] >= 0
    assert run.sequence("tool.start", "tool.end", "message.delta")[:3] == ["tool.start", "tool.end", "message.delta"]


def test_a_tool_that_fails_says_so(agents: Agents) -> None:
    call = agents.dialect.run_command("echo broken; exit 3")

    run = agents.started(Turn(call), Text("noted"), executionProfile=agents.dialect.asking_profile)
    asked = run.until("human_loop.requested")
    run.reply(asked["questionId"], "allow")
    ended = run.end()

    assert ended.outcome == ("succeeded", "")
    (end,) = ended.of("tool.end")
    assert "broken" in str(end["output"])
    assert "broken" in agents.models.requests(run.model)[-1].last_message


def test_changes_of_the_todo_list_are_told(agents: Agents) -> None:
    run = agents.finished(
        Turn(agents.dialect.todos(("read", "doing"), ("write", "todo"))),
        Turn(agents.dialect.todos(("read", "done"), ("write", "doing"))),
        Text("done"),
    )

    lists = [payload["todos"] for payload in run.of("todo.snapshot")]
    assert [[(todo["content"], todo.get("status", "todo")) for todo in todos] for todos in lists] == [
        [("read", "doing"), ("write", "todo")],
        [("read", "done"), ("write", "doing")],
    ]
    items = agents.server.ok("GET", f"/api/runs/{run.run_id}/todos")["items"]
    assert [(item["content"], item["status"]) for item in items] == [("read", "done"), ("write", "doing")]


def test_system_messages_and_the_users_reach_the_model(agents: Agents) -> None:
    messages = [
        {"role": "system", "content": "Speak like a pirate."},
        {"role": "user", "content": "Where to, captain?"},
    ]

    run = agents.finished(Text("arr"), messages=messages)

    (request,) = agents.models.requests(run.model)
    assert "Speak like a pirate." in request.text
    assert "Where to, captain?" in request.text


def test_an_unknown_option_and_an_unknown_profile_are_warnings(agents: Agents) -> None:
    run = agents.finished(Text("ok"), providerOptions={"frobnicate": 1}, executionProfile="yolo")

    assert run.outcome == ("succeeded", "")
    codes = {payload["warning"]["code"] for payload in run.of("run.warning")}
    assert codes >= {"unknown_option", "unknown_execution_profile"}
