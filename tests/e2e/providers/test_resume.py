"""A conversation goes on: in a new run, and on a fresh worker after its session was removed."""

import pytest

from tests.e2e.providers.agents import Agents
from tests.support.model_server import Text, Turn, slow_text

pytestmark = pytest.mark.proof


def test_a_new_run_goes_on_with_the_conversation(agents: Agents) -> None:
    session_id, folder = agents.session_with_worker()
    first = agents.finished(
        Turn(agents.dialect.write_file(folder, "note", "n")),
        Text("my favourite word is zephyr"),
        sessionId=session_id,
    )

    second = agents.finished(
        Text("it was zephyr"),
        prompt="which word was it?",
        sessionId=session_id,
        resumeSessionId=first.snapshot["providerSessionId"],
    )

    assert second.outcome == ("succeeded", "")
    (request,) = agents.models.requests(second.model)
    assert "my favourite word is zephyr" in request.text
    assert "which word was it?" in request.text
    usage = agents.server.ok("GET", f"/api/runs/{second.run_id}/usage")
    assert (usage["inputTokens"], usage["outputTokens"]) == (11, 7)


def test_it_goes_on_after_stop_remove_and_restore_on_a_fresh_worker(agents: Agents) -> None:
    session_id, _ = agents.session_with_worker()
    first = agents.finished(Text("remember the zephyr"), sessionId=session_id)

    agents.server.ok("POST", f"/api/session-workers/{session_id}/stop")
    assert agents.server.ok("GET", f"/api/session-workers/{session_id}")["state"] == "stopped"
    agents.server.ok("POST", "/api/session-workers/cleanup/stopped", json={"removeAfterMs": 0, "limit": 100})
    assert not agents.environment.is_there(agents.server, session_id)
    second = agents.finished(
        Text("still there"), sessionId=session_id, resumeSessionId=first.snapshot["providerSessionId"]
    )

    assert second.outcome == ("succeeded", ""), second.snapshot
    (request,) = agents.models.requests(second.model)
    assert "remember the zephyr" in request.text


def test_a_canceled_conversation_can_be_resumed(agents: Agents) -> None:
    session_id, _ = agents.session_with_worker()
    run = agents.started(slow_text("begun "), prompt="tell me of whales", sessionId=session_id)
    run.until("message.delta")
    run.cancel()
    canceled = run.end()

    again = agents.finished(
        Text("on we go"), sessionId=session_id, resumeSessionId=canceled.snapshot["providerSessionId"]
    )

    assert again.outcome == ("succeeded", "")
    assert "tell me of whales" in agents.models.requests(again.model)[-1].text


def test_a_conversation_that_is_not_there_says_what_to_do(agents: Agents) -> None:
    first = agents.finished(Text("elsewhere"))

    run = agents.finished(Text("never said"), resumeSessionId=first.snapshot["providerSessionId"])

    assert run.outcome == ("failed", "bad_input")
    assert "resumeSessionId" in run.snapshot["error"]["message"]
