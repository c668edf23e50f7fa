"""Permissions and questions: asked by the real CLI, answered over the API, heard by the model."""

import pytest

from tests.e2e.providers.agents import Agents
from tests.support.model_server import Text, Turn


def test_a_granted_permission_lets_the_tool_run(agents: Agents) -> None:
    session_id, folder = agents.session_with_worker()
    call = agents.dialect.write_file(folder, "asked.txt", "allowed")
    run = agents.started(Turn(call), Text("done"), sessionId=session_id, executionProfile=agents.dialect.asking_profile)

    asked = run.until("human_loop.requested")
    assert asked["kind"] == "permission"
    assert "asked.txt" in asked["prompt"]
    assert [option["label"] for option in asked["options"]] == ["allow", "allow for session", "deny"]
    assert agents.read(session_id, "asked.txt") is None
    assert run.reply(asked["questionId"], "allow")["ok"]

    assert run.end().outcome == ("succeeded", "")
    assert (agents.read(session_id, "asked.txt") or "").strip() == "allowed"


@pytest.mark.proof
def test_a_denied_permission_keeps_the_tool_from_running_and_the_model_is_told_why(agents: Agents) -> None:
    session_id, folder = agents.session_with_worker()
    call = agents.dialect.write_file(folder, "asked.txt", "denied")
    run = agents.started(
        Turn(call), Text("as you wish"), sessionId=session_id, executionProfile=agents.dialect.asking_profile
    )

    asked = run.until("human_loop.requested")
    run.reply(asked["questionId"], {"decision": "deny", "message": "not in this folder"})

    ended = run.end()
    assert ended.outcome == ("succeeded", "")
    assert agents.read(session_id, "asked.txt") is None
    assert [payload["ok"] for payload in ended.of("tool.end")] == [False]
    assert "not in this folder" in agents.models.requests(run.model)[-1].last_message


@pytest.mark.proof
def test_a_permission_for_the_session_is_asked_for_once(agents: Agents) -> None:
    session_id, folder = agents.session_with_worker()
    calls = [agents.dialect.write_file(folder, name, "x") for name in ("one", "two")]
    run = agents.started(
        *(Turn(call) for call in calls),
        Text("done"),
        sessionId=session_id,
        executionProfile=agents.dialect.asking_profile,
    )

    asked = run.until("human_loop.requested")
    run.reply(asked["questionId"], "allow for session")

    assert len(run.end().of("human_loop.requested")) == 1
    assert agents.read(session_id, "two") is not None


def test_the_answer_to_a_question_is_in_the_models_next_request(agents: Agents) -> None:
    run = agents.started(Turn(agents.dialect.question("Which colour?", ["red", "teal"])), Text("so be it"))

    asked = run.until("human_loop.requested")
    assert (asked.get("kind", "question"), asked["prompt"]) == ("question", "Which colour?")
    assert [option["label"] for option in asked["options"]][:2] == ["red", "teal"]
    first = run.reply(asked["questionId"], "teal")
    second = run.reply(asked["questionId"], "red")

    ended = run.end()
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert ended.outcome == ("succeeded", "")
    assert [payload["answer"] for payload in ended.of("human_loop.resolved")] == ["teal"]
    answer = agents.models.requests(run.model)[-1].last_message
    assert "teal" in answer
    assert '"red"' not in answer


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["permission", "question"])
def test_a_cancel_closes_what_was_asked(agents: Agents, kind: str) -> None:
    session_id, folder = agents.session_with_worker()
    dialect = agents.dialect
    call = dialect.question("Go on?", ["yes", "no"]) if kind == "question" else dialect.write_file(folder, "x", "x")
    run = agents.started(Turn(call), sessionId=session_id, executionProfile=dialect.asking_profile)
    asked = run.until("human_loop.requested")

    run.cancel()

    ended = run.end()
    assert ended.outcome == ("canceled", "")
    assert [payload["questionId"] for payload in ended.of("human_loop.canceled")] == [asked["questionId"]]
    refused = agents.server.client.post(
        "/api/human-loop/reply", json={"runId": run.run_id, "questionId": asked["questionId"], "answer": "allow"}
    )
    assert refused.status_code == 409
