"""Questions of agents, and all that can become of them: answered once, expired by the clock, canceled, lost."""

import json
import os
import signal
from typing import Any

import msgspec
import pytest

from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.repair_lines import repaired

INTERACTIVE = {"interactive": True}


def asks(**question: Any) -> str:
    """A script that asks, then does what it is told, and says so."""
    line = json.dumps({"type": "question", "questionId": "q", "prompt": "go on?"} | question)
    return f'echo \'::fleetlog {line}\'; read -r answer; echo "got $answer"; echo "$answer" >> answers'


def waiting_run(server: FleetlogServer, script: str = "", **body: Any) -> str:
    """The id of a run that waits for the answer to its question `q`."""
    run_id = server.enqueued(script or asks(), providerOptions=INTERACTIVE, **body)
    server.until(run_id, "human_loop.requested")
    return run_id


def reply_body(run_id: str, answer: Any) -> dict[str, Any]:
    return {"runId": run_id, "questionId": "q", "answer": answer}


def reply(server: FleetlogServer, run_id: str, answer: Any) -> Any:
    return server.ok("POST", "/api/human-loop/reply", json=reply_body(run_id, answer))


def refused(server: FleetlogServer, run_id: str, answer: Any = "late") -> dict[str, Any]:
    return server.problem(409, "POST", "/api/human-loop/reply", json=reply_body(run_id, answer))


def question_of(server: FleetlogServer, run_id: str) -> Any:
    (question,) = server.ok("GET", "/api/human-loop/requests", params={"runId": run_id})["requests"]
    return question


def kinds(history: list[dict[str, Any]]) -> list[str]:
    return [frame["event"] for frame in history if frame["event"].startswith("human_loop.")]


def test_a_second_reply_is_a_duplicate_and_learns_which_answer_counts(shared_fleetlog: FleetlogServer) -> None:
    run_id = waiting_run(shared_fleetlog)

    first = reply(shared_fleetlog, run_id, "left")
    same = reply(shared_fleetlog, run_id, "left")
    other = reply(shared_fleetlog, run_id, {"choice": "right"})

    assert (first["ok"], first["duplicate"], first["status"], first["answer"]) == (True, False, "resolved", "left")
    for duplicate in (same, other):
        assert (duplicate["ok"], duplicate["duplicate"], duplicate["answer"]) == (True, True, "left")
    history = shared_fleetlog.history(run_id)
    assert kinds(history) == ["human_loop.requested", "human_loop.reply_accepted", "human_loop.resolved"]
    assert "got left\n" in [frame["data"].get("text") for frame in history]
    assert reply(shared_fleetlog, run_id, "after the end")["answer"] == "left"


def test_a_question_that_nobody_answers_in_time_fails_its_run(shared_fleetlog: FleetlogServer) -> None:
    run_id = waiting_run(shared_fleetlog, asks(timeoutMs=300) + "; sleep 600")

    history = shared_fleetlog.history(run_id)

    last = history[-1]["data"]
    assert (last["outcome"], last["error"]["errorClass"]) == ("failed", "human_loop_expired")
    assert "'q'" in last["error"]["message"]
    question = question_of(shared_fleetlog, run_id)
    assert (question["status"], question["reason"]) == ("expired", "timeout")
    assert kinds(history) == ["human_loop.requested", "human_loop.expired"]
    (line,) = repaired(shared_fleetlog, "expired_question", runId=run_id)
    assert (line["level"], line["questionId"]) == ("info", "q")
    problem = refused(shared_fleetlog, run_id)
    assert problem["reason"] == "question_expired"
    assert "timeout" in problem["detail"]


def test_a_default_answer_lets_the_agent_go_on_at_the_question_s_time(shared_fleetlog: FleetlogServer) -> None:
    run_id = waiting_run(shared_fleetlog, asks(timeoutMs=300, defaultAnswer="the usual"))

    history = shared_fleetlog.history(run_id)

    assert history[-1]["data"]["outcome"] == "succeeded"
    assert "got the usual\n" in [frame["data"].get("text") for frame in history]
    late = reply(shared_fleetlog, run_id, "late")
    assert (late["duplicate"], late["answer"]) == (True, "the usual")


def test_a_cancel_closes_the_open_question_and_the_reply_learns_so(shared_fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    run_id = waiting_run(shared_fleetlog, sessionId=session)

    shared_fleetlog.ok("POST", f"/api/runs/{run_id}/stop")

    problem = refused(shared_fleetlog, run_id)
    assert (problem["reason"], "run canceled" in problem["detail"]) == ("question_canceled", True)
    history = shared_fleetlog.history(run_id)
    assert history[-1]["data"]["outcome"] == "canceled"
    assert kinds(history) == ["human_loop.requested", "human_loop.canceled"]
    assert shared_fleetlog.ok("GET", "/api/human-loop/pending", params={"runId": run_id})["total"] == 0
    assert not (shared_fleetlog.worker_folder(session) / "workspace/answers").exists()


def test_a_reply_after_the_agent_went_on_by_itself_is_refused(shared_fleetlog: FleetlogServer) -> None:
    script = asks().split(";")[0] + "; echo done"
    run_id = shared_fleetlog.finished(script, providerOptions=INTERACTIVE)["runId"]

    problem = refused(shared_fleetlog, run_id)

    assert problem["reason"] == "question_canceled"
    assert "the agent has ended" in problem["detail"]
    assert shared_fleetlog.ok("GET", f"/api/runs/{run_id}")["state"] == "succeeded"


@pytest.mark.proof
def test_a_question_dies_with_its_executor_and_is_not_asked_again(shared_fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    run_id = waiting_run(shared_fleetlog, sessionId=session)
    endpoint = shared_fleetlog.worker_folder(session) / "state/endpoint.json"

    os.kill(msgspec.json.decode(endpoint.read_bytes())["pid"], signal.SIGKILL)

    history = shared_fleetlog.history(run_id)
    assert kinds(history) == ["human_loop.requested", "human_loop.expired"]
    assert (history[-1]["data"]["outcome"], history[-1]["data"]["error"]["errorClass"]) == ("failed", "executor_lost")
    assert refused(shared_fleetlog, run_id)["reason"] == "question_expired"


def test_a_reply_that_the_agent_can_not_take_is_refused_with_the_reason(shared_fleetlog: FleetlogServer) -> None:
    run_id = waiting_run(shared_fleetlog, asks().split(";")[0] + "; exec 0<&-; echo closed; sleep 600")
    shared_fleetlog.until(run_id, "message.delta")

    problem = refused(shared_fleetlog, run_id, "to nobody")

    assert problem["reason"] == "question_expired"
    assert "has closed its input" in problem["detail"]
    shared_fleetlog.ok("POST", f"/api/runs/{run_id}/stop")
    assert shared_fleetlog.history(run_id)[-1]["data"]["outcome"] == "canceled"


@pytest.mark.proof
def test_a_later_attempt_may_ask_the_same_question(shared_fleetlog: FleetlogServer) -> None:
    script = "echo x >> tries; " + asks().split(";")[0] + '; [ "$(wc -l < tries)" = 1 ] && exit 7; read -r a; echo "$a"'
    run_id = shared_fleetlog.enqueued(script, providerOptions=INTERACTIVE, retryPolicy="always")
    seen = 0
    for frame in shared_fleetlog.frames(run_id):
        seen += frame["event"] == "human_loop.requested"
        if seen == 2:
            break

    pending = shared_fleetlog.ok(
        "GET",
        "/api/human-loop/pending",
        params={"runId": run_id, "minPosition": frame["data"]["position"]},
    )

    assert [(one["questionId"], one["status"]) for one in pending["requests"]] == [("q", "open")]
    assert reply(shared_fleetlog, run_id, "second time")["status"] == "resolved"
    assert shared_fleetlog.history(run_id)[-1]["data"]["outcome"] == "succeeded"


def test_what_an_agent_asks_by_callback_is_answered_in_the_log(shared_fleetlog: FleetlogServer) -> None:
    run_id = shared_fleetlog.enqueued("echo up; sleep 600")
    shared_fleetlog.until(run_id, "message.delta")
    question = {"questionId": "q", "prompt": "may I?"}
    shared_fleetlog.ok(
        "POST",
        f"/api/runs/{run_id}/callbacks",
        json={"eventId": "1", "type": "human_loop.requested", "payload": question},
    )

    answered = reply(shared_fleetlog, run_id, "you may")

    assert (answered["status"], question_of(shared_fleetlog, run_id)["answer"]) == ("resolved", "you may")
    shared_fleetlog.ok("POST", f"/api/runs/{run_id}/stop")
    assert shared_fleetlog.history(run_id)[-1]["data"]["outcome"] == "canceled"


@pytest.mark.parametrize(
    "body", [{}, {"runId": "r", "questionId": "q"}, {"runId": "r/", "questionId": "q", "answer": 1}]
)
def test_a_reply_without_run_question_or_answer_is_a_400(shared_fleetlog: FleetlogServer, body: Any) -> None:
    problem = shared_fleetlog.problem(400, "POST", "/api/human-loop/reply", json=body)

    assert problem["errors"]
