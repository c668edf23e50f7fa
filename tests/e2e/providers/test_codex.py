"""What only Codex has, from the real one."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.providers.agents import Agents
from tests.e2e.providers.dialects import SECRET, CodexDialect
from tests.support.agent_clis import installed_clis
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer
from tests.support.model_server import CutOff, ModelServer, Text, ToolCall, Turn

CODEX = CodexDialect()


@pytest.fixture
def codex(server_with_agents: FleetlogServer, models: ModelServer) -> Agents:
    return Agents(server=server_with_agents, models=models, dialect=CODEX)


@pytest.fixture
def unreachable_model(models: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    """A server whose models are at a port that refuses every connection."""
    installed_clis()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        settings = {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": SECRET}
        with FleetlogServer(
            tmp_path_factory.mktemp("unreachable") / "home", **on_shared_postgres(), **settings
        ) as server:
            yield Agents(server=server, models=models, dialect=CODEX)


def test_it_has_another_name_too(codex: Agents) -> None:
    assert codex.finished(Text("hello"), provider="codex-app-server").outcome == ("succeeded", "")


def test_a_command_that_was_allowed_for_the_session_is_asked_for_once(codex: Agents) -> None:
    call = CODEX.run_command("touch begun")
    run = codex.started(Turn(call), Turn(call), Text("done"), executionProfile="default")

    asked = run.until("human_loop.requested")
    assert asked["prompt"].startswith("Run: ")
    run.reply(asked["questionId"], "allow for session")

    ended = run.end()
    assert [payload["name"] for payload in ended.of("tool.end")] == ["shell", "shell"]
    assert len(ended.of("human_loop.requested")) == 1


def test_questions_asked_at_once_are_told_to_the_model_once_all_are_answered(codex: Agents) -> None:
    options = [{"label": label, "description": label} for label in ("one", "two")]
    questions = [{"id": name, "header": name, "question": f"{name}?", "options": options} for name in ("how", "why")]
    run = codex.started(Turn(ToolCall("request_user_input", {"questions": questions})), Text("I see"))
    first = run.until("human_loop.requested")["questionId"]

    run.reply(first, "one")
    run.reply(first.replace("/1", "/2"), "because")

    assert run.end().outcome == ("succeeded", "")
    answer = codex.models.requests(run.model)[-1].last_message
    assert "one" in answer
    assert "because" in answer


def test_in_plan_mode_its_plan_is_the_answer_and_the_next_run_is_out_of_it(codex: Agents) -> None:
    session_id, _ = codex.session_with_worker()
    plan = codex.finished(
        Text("<proposed_plan>\n# Paint it\n</proposed_plan>"), sessionId=session_id, executionProfile="plan"
    )
    assert plan.text.strip() == "# Paint it"
    assert "Plan Mode" in codex.models.requests(plan.model)[0].text

    again = codex.finished(
        Text("<proposed_plan>"), sessionId=session_id, resumeSessionId=plan.snapshot["providerSessionId"]
    )
    assert again.text == "<proposed_plan>"


def test_a_forked_conversation_leaves_the_first_one_as_it_was(codex: Agents) -> None:
    session_id, _ = codex.session_with_worker()
    first = codex.finished(Text("the word is zephyr"), sessionId=session_id)
    thread = first.snapshot["providerSessionId"]
    both: dict[str, Any] = {"sessionId": session_id, "resumeSessionId": thread}

    fork = codex.finished(Text("only here"), **both, providerOptions={"forkSession": True})
    later = codex.finished(Text("as before"), **both)

    assert fork.snapshot["providerSessionId"] not in {thread, ""}
    assert "zephyr" in codex.models.requests(fork.model)[0].text
    assert later.snapshot["providerSessionId"] == thread
    assert "only here" not in codex.models.requests(later.model)[0].text


def test_a_model_that_cannot_be_reached_is_given_up_within_its_retries(unreachable_model: Agents) -> None:
    run = unreachable_model.finished(retryPolicy="never", providerOptions={"maxRetries": 0})

    assert run.outcome == ("failed", "network")
    assert "base URL" in run.snapshot["error"]["message"]
    assert run.snapshot["providerSessionId"]


def test_an_answer_that_breaks_off_is_begun_again_as_a_message_of_its_own(codex: Agents) -> None:
    run = codex.finished(CutOff("half a"), Text("the whole answer"), retryPolicy="never")

    assert run.outcome == ("succeeded", "")
    assert run.text == "half athe whole answer"
    said = run.sequence("message.delta", "message.stop", "run.warning")
    assert said.count("message.stop") == 2
    assert "model_retry" in {payload["warning"]["code"] for payload in run.of("run.warning")}


def test_its_databases_stay_out_of_the_workspace(codex: Agents) -> None:
    session_id, _ = codex.session_with_worker()
    codex.finished(Text("kept"), sessionId=session_id)

    data = Path(codex.environment.folder(codex.server, session_id)) / ".agent_data/codex"
    assert len(list(data.glob("sessions/**/*.jsonl"))) == 1
    assert list(data.rglob("*.sqlite*")) == []
