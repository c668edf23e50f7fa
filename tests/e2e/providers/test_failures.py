"""What goes wrong at the model, in the CLI and around it: each run ends with its reason, and no other one for it."""

import pytest

from tests.e2e.providers.agents import Agents
from tests.e2e.providers.dialects import SECRET
from tests.support.fleetlog_server import new_id
from tests.support.model_server import (
    CutOff,
    Garbage,
    HttpError,
    Reply,
    Text,
    Turn,
    context_exceeded,
    rate_limited,
    refused_key,
    server_error,
    slow_text,
)

pytestmark = pytest.mark.proof
ENOUGH = 12
"""More failures than any CLI repeats a request."""


@pytest.mark.parametrize(
    ("reply", "error_class", "advice"),
    [
        (refused_key(), "auth_missing", "mend "),
        (HttpError(404, "not_found_error", "model: this one does not exist"), "model_refused", "run's model"),
        (rate_limited(), "rate_limited", "rate limit"),
        (server_error(), "model_unavailable", "try"),
        (CutOff(), "network", "broke off"),
        (Garbage(), "protocol", "base URL"),
        (context_exceeded(), "context_exceeded", "resumeSessionId"),
    ],
    ids=["401", "404", "429", "500", "cut-off", "garbage", "context"],
)
def test_a_model_that_fails_for_good_fails_the_run_with_its_class_and_advice(
    agents: Agents, reply: Reply, error_class: str, advice: str
) -> None:
    run = agents.finished(*[reply] * ENOUGH, retryPolicy="never")

    assert run.outcome == ("failed", error_class)
    assert advice in run.snapshot["error"]["message"]
    assert SECRET not in str(run.events)
    assert run.snapshot["exported"]


@pytest.mark.parametrize("reply", [rate_limited(), server_error()], ids=["429", "500"])
def test_a_failure_that_passes_is_survived_by_the_clis_own_repetition(agents: Agents, reply: Reply) -> None:
    run = agents.finished(reply, Text("fine now"), retryPolicy="never")

    assert run.outcome == ("succeeded", "")
    assert run.text == "fine now"
    assert run.snapshot["attempt"] == 1


def test_a_rate_limit_that_lasts_longer_is_survived_by_another_attempt(agents: Agents) -> None:
    run = agents.finished(
        *[rate_limited()] * agents.dialect.tries_of_one_attempt, Text("fine now"), **agents.dialect.few_retries()
    )

    assert run.outcome == ("succeeded", "")
    assert run.snapshot["attempt"] == 2
    assert [payload["error"]["errorClass"] for payload in run.of("run.retry_scheduled")] == ["rate_limited"]


def test_a_cancel_in_mid_stream_ends_the_agent_and_keeps_what_it_said(agents: Agents) -> None:
    session_id = new_id("session")
    run = agents.started(slow_text(), sessionId=session_id)
    run.until("message.delta")

    run.cancel()

    ended = run.end()
    assert ended.outcome == ("canceled", "")
    assert ended.text.startswith("slowly ")
    assert agents.environment.agents(agents.server, session_id) == []


def test_a_cancel_during_a_tool_ends_the_tool_too(agents: Agents) -> None:
    session_id, folder = agents.session_with_worker()
    waiting = agents.dialect.run_command(f"touch {folder}/begun; tail -f {folder}/begun")
    run = agents.started(Turn(waiting), sessionId=session_id, executionProfile=agents.dialect.asking_profile)
    run.reply(run.until("human_loop.requested")["questionId"], "allow")
    agents.until_written(session_id, "begun")

    run.cancel()

    ended = run.end()
    assert ended.outcome == ("canceled", "")
    assert [payload["ok"] for payload in ended.of("tool.end")] == [False]
    assert agents.environment.agents(agents.server, session_id) == []


def test_a_cli_that_is_killed_fails_its_run_and_the_session_goes_on(agents: Agents) -> None:
    session_id = new_id("session")
    run = agents.started(slow_text(), sessionId=session_id)
    run.until("message.delta")

    agents.environment.kill_agents(agents.server, session_id)

    ended = run.end()
    assert ended.outcome == ("failed", "cli_crashed")
    assert "signal 9" in ended.snapshot["error"]["message"]
    assert ended.snapshot["exported"]
    assert agents.finished(Text("alive"), sessionId=session_id).text == "alive"


def test_a_broken_run_does_not_touch_another_one_of_the_same_provider(agents: Agents) -> None:
    sound = agents.started(Text("all is well " * 20, pieces=20, pause_s=0.1))
    sound.until("message.delta")

    broken = agents.finished(*[Garbage()] * ENOUGH, retryPolicy="never")

    assert broken.outcome[0] == "failed"
    ended = sound.end()
    assert ended.outcome == ("succeeded", "")
    assert ended.text == "all is well " * 20


def test_the_control_plane_is_killed_in_mid_run_and_the_run_goes_on(own_agents: Agents) -> None:
    words = [f"word{number} " for number in range(60)]
    run = own_agents.started(Text("".join(words), pieces=60, pause_s=0.1))
    run.until("message.delta")

    own_agents.server.kill()
    own_agents.server.start()

    ended = run.end()
    assert ended.outcome == ("succeeded", "")
    assert ended.text == "".join(words)
    assert ended.snapshot["attempt"] == 1
    assert len(own_agents.models.requests(run.model)) == 1
