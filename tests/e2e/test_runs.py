"""Runs over HTTP: start, stream, attach, cancel, todos, questions, usage."""

import json
import threading

import pytest

from tests.support.agent_processes import assert_none_left
from tests.support.fleetlog_server import FleetlogServer, new_id

LIFE_OF_A_RUN = [
    "run.queued",
    "run.claimed",
    "run.phase",
    "run.phase",
    "run.phase",
    "run.started",
    "message.delta",
    "message.stop",
    "run.agent_finished",
    "run.syncing",
    "run.exported",
    "run.finished",
]


def fleetlog_line(**event: object) -> str:
    """A shell command that prints a `::fleetlog` line."""
    return f"echo '::fleetlog {json.dumps(event)}'"


def test_a_run_started_with_json_is_answered_at_its_end(shared_fleetlog: FleetlogServer) -> None:
    answer = shared_fleetlog.finished("echo hello")

    assert answer["accepted"]
    assert [event["type"] for event in answer["events"]] == LIFE_OF_A_RUN
    assert (answer["snapshot"]["state"], answer["snapshot"]["exported"]) == ("succeeded", True)
    assert answer["snapshot"]["sessionId"] == f"run-{answer['runId']}"


def test_a_run_started_with_sse_is_streamed_live(shared_fleetlog: FleetlogServer) -> None:
    run_id = new_id("run")
    with shared_fleetlog.client.stream(
        "POST",
        "/api/runs/start",
        json=shared_fleetlog.run_body("echo hello", runId=run_id),
        headers={"Accept": "text/event-stream"},
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("event: ") for line in response.iter_lines() if line.startswith("event: ")]

    assert [event for event in events if event in LIFE_OF_A_RUN] == LIFE_OF_A_RUN
    assert events[-1] == "run.closed"


def test_the_same_body_attaches_to_a_known_run_and_another_is_refused(shared_fleetlog: FleetlogServer) -> None:
    run_id = new_id("run")
    first = shared_fleetlog.finished("echo once >> log; cat log", runId=run_id)
    again = shared_fleetlog.finished("echo once >> log; cat log", runId=run_id)

    problem = shared_fleetlog.problem(
        409, "POST", "/api/runs/start", json=shared_fleetlog.run_body("echo other", runId=run_id)
    )

    assert again["events"] == first["events"]
    assert problem["reason"] == "identity_conflict"


def test_a_failing_script_is_a_failed_run_with_its_reason(shared_fleetlog: FleetlogServer) -> None:
    snapshot = shared_fleetlog.finished("echo oops >&2; exit 3")["snapshot"]

    assert snapshot["state"] == "failed"
    assert snapshot["error"]["errorClass"] == "script_failed"
    assert "3" in snapshot["error"]["message"]
    assert snapshot["attempt"] == 1


@pytest.mark.proof
def test_runs_of_one_session_go_one_after_the_other(shared_fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    runs = [
        shared_fleetlog.enqueued(f"echo start {n} >> order; sleep 0.2; echo end {n} >> order", sessionId=session)
        for n in range(4)
    ]
    for run_id in runs:
        assert shared_fleetlog.history(run_id)[-1]["data"]["outcome"] == "succeeded"

    order = (shared_fleetlog.worker_folder(session) / "workspace/order").read_text().splitlines()
    assert order == [f"{what} {n}" for n in range(4) for what in ("start", "end")]


def test_a_queued_and_a_running_run_can_be_canceled(shared_fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    running = shared_fleetlog.enqueued("echo up; sleep 300 & sleep 300", sessionId=session)
    queued = shared_fleetlog.enqueued("echo never > never", sessionId=session)
    shared_fleetlog.until(running, "message.delta")

    shared_fleetlog.ok("POST", f"/api/runs/{queued}/stop")
    shared_fleetlog.ok("POST", f"/api/runs/{running}/stop")

    for run_id in (queued, running):
        assert shared_fleetlog.history(run_id)[-1]["data"]["outcome"] == "canceled"
        shared_fleetlog.ok("POST", f"/api/runs/{run_id}/stop")
    assert not (shared_fleetlog.worker_folder(session) / "workspace/never").exists()


@pytest.mark.proof
def test_a_callback_that_ends_a_run_ends_its_agent_too(shared_fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    run_id = shared_fleetlog.enqueued("echo up; sleep 600", sessionId=session)
    shared_fleetlog.until(run_id, "message.delta")

    end = {"eventId": "end", "type": "run.finished", "payload": {"outcome": "succeeded"}}
    shared_fleetlog.ok("POST", f"/api/runs/{run_id}/callbacks", json=end)

    last = shared_fleetlog.history(run_id)[-1]["data"]
    assert (last["type"], last["outcome"], last["exported"]) == ("run.finished", "succeeded", True)
    assert_none_left(run_id)
    assert shared_fleetlog.finished("echo next", sessionId=session)["snapshot"]["state"] == "succeeded"


def test_a_missing_capability_blocks_the_run_with_advice(shared_fleetlog: FleetlogServer) -> None:
    problem = shared_fleetlog.problem(
        409, "POST", "/api/runs/start", json=shared_fleetlog.run_body("echo x", requireHumanLoop=True)
    )

    assert "interactive" in problem["detail"]


def test_what_a_provider_can_not_do_is_a_warning(shared_fleetlog: FleetlogServer) -> None:
    answer = shared_fleetlog.finished("echo x", resumeSessionId="old", executionProfile="plan")

    assert [warning["code"] for warning in answer["warnings"]] == ["resume_unsupported", "unknown_execution_profile"]


def test_todos_keep_their_order_and_their_history(shared_fleetlog: FleetlogServer) -> None:
    def update(todo_id: str, status: str, order: int) -> str:
        return fleetlog_line(
            type="todo.update", todo={"todoId": todo_id, "content": todo_id, "status": status, "order": order}
        )

    script = "; ".join([update("b", "todo", 2), update("a", "todo", 1), update("b", "done", 2)])
    run_id = shared_fleetlog.finished(script)["runId"]

    todos = shared_fleetlog.ok("GET", f"/api/runs/{run_id}/todos")
    events = shared_fleetlog.ok("GET", f"/api/runs/{run_id}/todos/events")

    assert [(item["todoId"], item["status"]) for item in todos["items"]] == [("a", "todo"), ("b", "done")]
    assert (todos["total"], events["total"]) == (2, 3)


def question_script(question_id: str = "q1") -> str:
    question = fleetlog_line(type="question", questionId=question_id, prompt="Which?", options=[{"label": "left"}])
    return f'{question}; read -r answer; echo "answer: $answer"'


def test_a_question_is_answered_into_the_running_agent(shared_fleetlog: FleetlogServer) -> None:
    run_id = shared_fleetlog.enqueued(question_script(), providerOptions={"interactive": True})
    asked = shared_fleetlog.until(run_id, "human_loop.requested")[-1]
    pending = shared_fleetlog.ok(
        "GET", "/api/human-loop/pending", params={"runId": run_id, "minPosition": asked["data"]["position"]}
    )
    waiting = shared_fleetlog.ok("GET", f"/api/runs/{run_id}", params={"minPosition": asked["data"]["position"]})

    reply = {"runId": run_id, "questionId": "q1", "answer": "left"}
    first = shared_fleetlog.ok("POST", "/api/human-loop/reply", json=reply)
    second = shared_fleetlog.ok("POST", "/api/human-loop/reply", json=reply | {"answer": "right"})

    assert (pending["total"], waiting["state"]) == (1, "waiting_human")
    assert (first["ok"], first["duplicate"], first["status"]) == (True, False, "resolved")
    assert (second["ok"], second["duplicate"]) == (True, True)
    history = shared_fleetlog.history(run_id)
    assert "answer: left\n" in [frame["data"].get("text") for frame in history]
    assert history[-1]["data"]["outcome"] == "succeeded"


def test_exactly_one_of_racing_replies_wins(shared_fleetlog: FleetlogServer) -> None:
    run_id = shared_fleetlog.enqueued(question_script(), providerOptions={"interactive": True})
    shared_fleetlog.until(run_id, "human_loop.requested")
    answers: list[dict[str, object]] = []

    def reply(answer: str) -> None:
        body = {"runId": run_id, "questionId": "q1", "answer": answer}
        answers.append(shared_fleetlog.ok("POST", "/api/human-loop/reply", json=body) | {"sent": answer})

    threads = [threading.Thread(target=reply, args=(f"answer-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    (winner,) = [answer for answer in answers if not answer["duplicate"]]
    assert [answer["answer"] for answer in answers] == [winner["sent"]] * 6
    texts = [frame["data"].get("text") for frame in shared_fleetlog.history(run_id)]
    assert f"answer: {winner['sent']}\n" in texts


def test_a_question_that_nobody_asked_is_a_404(shared_fleetlog: FleetlogServer) -> None:
    run_id = shared_fleetlog.finished("echo x")["runId"]

    shared_fleetlog.problem(
        404, "POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": "q9", "answer": "x"}
    )


def test_usage_is_settled_at_the_end_and_summed(shared_fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    usage = fleetlog_line(type="usage", inputTokens=10, outputTokens=5)
    run_id = shared_fleetlog.finished(f"{usage}; echo x", sessionId=session)["runId"]

    own = shared_fleetlog.ok("GET", f"/api/runs/{run_id}/usage")

    assert (own["inputTokens"], own["outputTokens"]) == (10, 5)


def test_a_run_is_read_as_it_was(shared_fleetlog: FleetlogServer) -> None:
    run_id = shared_fleetlog.finished("echo x")["runId"]
    started = next(frame for frame in shared_fleetlog.history(run_id) if frame["event"] == "run.started")

    then = shared_fleetlog.ok("GET", f"/api/runs/{run_id}", params={"atSeq": started["id"]})

    assert (then["state"], then["seq"]) == ("running", int(started["id"]))


def test_a_reconnect_at_the_end_of_a_finished_run_is_a_204(shared_fleetlog: FleetlogServer) -> None:
    run_id = shared_fleetlog.finished("echo x")["runId"]
    last = shared_fleetlog.history(run_id)[-1]["id"]

    at_the_end = shared_fleetlog.client.get(f"/api/runs/{run_id}/stream", headers={"Last-Event-ID": last})

    assert at_the_end.status_code == 204
    shared_fleetlog.problem(400, "GET", f"/api/runs/{run_id}/stream", params={"cursor": int(last) + 1})
    shared_fleetlog.problem(404, "GET", "/api/runs/nobody-knows-it/stream")


@pytest.mark.proof
@pytest.mark.parametrize("harm", ["rm -r ../state", "rm ../state/runs/*/*/journal.ndjson"])
def test_a_run_whose_journal_is_lost_ends_with_the_reason_and_never_starts_again(
    shared_fleetlog: FleetlogServer, harm: str
) -> None:
    session = new_id("session")
    answer = shared_fleetlog.finished(f"echo x >> ran; {harm}; echo late; sleep 600", sessionId=session)

    snapshot = answer["snapshot"]
    assert (snapshot["state"], snapshot["attempt"], snapshot["error"]["errorClass"]) == ("failed", 1, "executor_lost")
    assert "run.tail_lost" in [event["type"] for event in answer["events"]]
    assert (shared_fleetlog.worker_folder(session) / "workspace/ran").read_text() == "x\n"
