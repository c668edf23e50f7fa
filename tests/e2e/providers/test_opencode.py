"""What only opencode has, from the real one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.providers.agents import Agents, FinishedRun
from tests.e2e.providers.dialects import OpencodeDialect
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.model_server import Gate, ModelServer, Reasoning, Reply, Text, ToolCall, Turn
from tests.support.severed_sockets import sever_connections

LISTENING = "0A"


@pytest.fixture
def opencode(server_with_agents: FleetlogServer, models: ModelServer) -> Agents:
    return Agents(server=server_with_agents, models=models, dialect=OpencodeDialect())


def of_provider(opencode: Agents, provider: str, *replies: Reply) -> FinishedRun:
    """A run of a model that is named with one of opencode's providers."""
    model = opencode.models.script(*replies)
    answer = opencode.server.ok("POST", "/api/runs/start", json=opencode.body(f"{provider}/{model}"))
    return FinishedRun(run_id=answer["runId"], model=model, events=answer["events"], snapshot=answer["snapshot"])


@pytest.mark.proof
def test_a_run_from_a_permission_over_a_todo_list_and_a_question_to_the_answer(opencode: Agents) -> None:
    session_id, folder = opencode.session_with_worker()
    dialect = opencode.dialect
    run = opencode.started(
        Turn(Reasoning("first a file"), dialect.write_file(folder, "made.txt", "made"), cached_tokens=5),
        Turn(dialect.todos(("one", "done"), ("two", "doing"))),
        Turn(dialect.question("Which?", ["red", "teal"])),
        Text("all done", pieces=2),
        sessionId=session_id,
        executionProfile="default",
        providerOptions={"modelConfig": {"cost": {"input": 1, "output": 2, "cache_read": 0.1}}},
        requireHumanLoop=True,
    )
    answers = {"permission": "allow", "question": "teal"}
    for frame in opencode.server.frames(run.run_id):
        if frame["event"] == "human_loop.requested":
            run.reply(frame["data"]["questionId"], answers[frame["data"].get("kind", "question")])

    ended = run.end()

    assert ended.outcome == ("succeeded", "")
    assert ended.text == "all done"
    assert [payload["name"] for payload in ended.of("tool.end")] == ["write", "todowrite", "question"]
    assert [len(payload["todos"]) for payload in ended.of("todo.snapshot")] == [2]
    assert opencode.read(session_id, "made.txt") == "made"
    assert "teal" in opencode.models.requests(run.model)[-1].last_message
    usage = opencode.server.ok("GET", f"/api/runs/{run.run_id}/usage")
    assert (usage["inputTokens"], usage["outputTokens"], usage["cachedInputTokens"]) == (44, 28, 5)
    assert usage["costUsd"] == pytest.approx((39 * 1 + 28 * 2 + 5 * 0.1) / 1e6)


@pytest.mark.proof
def test_its_server_is_on_loopback_behind_a_password_and_leaves_nothing_of_it(opencode: Agents) -> None:
    session_id = new_id("session")
    gate = Gate()
    run = opencode.started(Text("one two", pieces=2, gate=gate), sessionId=session_id)
    run.until("message.delta")
    (pid,) = opencode.environment.agents(opencode.server, session_id)

    ((address, port),) = listening(pid)
    refused = [httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False) for path in ("/session", "/event", "/doc")]
    gate.open()
    ended = run.end()

    assert (address, port != 4096) == ("127.0.0.1", True)
    assert [answer.status_code for answer in refused] == [401] * 3
    assert ended.outcome == ("succeeded", "")
    worker = opencode.server.worker_folder(session_id)
    assert list((worker / "home").glob("opencode-*")) == []
    state = worker / "workspace/.agent_data/opencode"
    assert [list(folder.iterdir()) for folder in state.rglob("node_modules")] == [[], []]
    assert sum(file.stat().st_size for file in state.rglob("*") if file.is_file()) < 5_000_000


@pytest.mark.proof
def test_what_was_said_while_its_event_stream_was_broken_is_made_up_for(opencode: Agents) -> None:
    session_id = new_id("session")
    words = [f"word{number} " for number in range(40)]
    gate = Gate()
    run = opencode.started(
        Turn(opencode.dialect.run_command("echo one")),
        Text("".join(words), pieces=40, pause_s=0.05, gate=gate),
        sessionId=session_id,
    )
    run.until("message.delta")
    (pid,) = opencode.environment.agents(opencode.server, session_id)

    assert sever_connections(pid)
    gate.open()

    ended = run.end()
    assert ended.outcome == ("succeeded", "")
    assert ended.text == "".join(words)
    assert len(ended.of("tool.end")) == 1
    usage = opencode.server.ok("GET", f"/api/runs/{run.run_id}/usage")
    assert (usage["inputTokens"], usage["outputTokens"]) == (22, 14)


@pytest.mark.proof
def test_the_settings_of_folders_above_the_workspace_are_not_its_own(opencode: Agents) -> None:
    session_id, folder = opencode.session_with_worker()
    above = opencode.server.home / "AGENTS.md"
    above.write_text("MARK-OF-THE-FOLDER-ABOVE")
    (Path(folder) / "AGENTS.md").write_text("MARK-OF-THE-WORKSPACE")
    try:
        run = opencode.finished(Text("ok"), sessionId=session_id)
    finally:
        above.unlink()

    (request,) = opencode.models.requests(run.model)
    assert "MARK-OF-THE-WORKSPACE" in request.text
    assert "MARK-OF-THE-FOLDER-ABOVE" not in request.text


@pytest.mark.proof
@pytest.mark.parametrize(
    ("provider", "path"), [("anthropic", "/v1/messages"), ("openai", "/v1/responses"), ("compatible", "")]
)
def test_a_model_is_asked_in_its_providers_own_protocol(opencode: Agents, provider: str, path: str) -> None:
    run = of_provider(opencode, provider, Text("hello"))

    assert run.outcome == ("succeeded", "")
    assert run.text == "hello"
    assert opencode.models.requests(run.model)[0].path == (path or "/v1/chat/completions")


@pytest.mark.proof
def test_a_model_of_a_provider_without_credentials_says_what_to_set(opencode: Agents) -> None:
    run = of_provider(opencode, "openrouter", Text("never said"))

    assert run.outcome == ("failed", "auth_missing")
    assert "OPENROUTER_API_KEY" in run.snapshot["error"]["message"]


@pytest.mark.proof
def test_what_a_sub_agent_does_is_seen_and_what_it_says_is_its_result(opencode: Agents) -> None:
    task = ToolCall("task", {"description": "look", "prompt": "look around", "subagent_type": "general"})
    run = opencode.finished(
        Turn(task), Turn(opencode.dialect.run_command("echo inner")), Text("I looked"), Text("it looked")
    )

    assert run.outcome == ("succeeded", "")
    assert run.text == "it looked"
    ends = {payload["name"]: payload["output"] for payload in run.of("tool.end")}
    assert ends["bash"].strip() == "inner"
    assert "I looked" in ends["task"]
    assert opencode.server.ok("GET", f"/api/runs/{run.run_id}/usage")["outputTokens"] == 4 * 7


@pytest.mark.proof
def test_a_run_may_name_its_tools(opencode: Agents) -> None:
    run = opencode.finished(Text("ok"), tools=["read", "bash"], providerOptions={"permission": {"grep": "allow"}})

    (request,) = opencode.models.requests(run.model)
    assert sorted(tool["function"]["name"] for tool in request.body["tools"]) == ["bash", "grep", "read"]


@pytest.mark.proof
def test_a_command_that_fails_is_not_ok(opencode: Agents) -> None:
    run = opencode.finished(Turn(opencode.dialect.run_command("exit 3")), Text("noted"))

    assert [payload["ok"] for payload in run.of("tool.end")] == [False]


@pytest.mark.proof
@pytest.mark.parametrize(
    ("options", "named"), [({"agent": "nobody"}, "providerOptions.agent"), ({"mcp": {"x": 7}}, "configuration")]
)
def test_what_opencode_itself_refuses_is_bad_input(opencode: Agents, options: dict[str, Any], named: str) -> None:
    run = opencode.finished(Text("never said"), providerOptions=options)

    assert run.outcome == ("failed", "bad_input")
    assert named in run.snapshot["error"]["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"providerOptions": {"permission": {"bash": "perhaps"}}}, "providerOptions.permission"),
        ({"providerOptions": {"maxSteps": 0}}, "providerOptions.maxSteps"),
        ({"resumeSessionId": "../../etc"}, "resumeSessionId"),
    ],
)
def test_options_that_can_not_be_are_refused_before_a_run_exists(
    opencode: Agents, body: dict[str, Any], field: str
) -> None:
    problem = opencode.server.problem(400, "POST", "/api/runs/queue/enqueue", json=opencode.body("m", **body))
    assert [error["field"] for error in problem["errors"]] == [field]


def listening(pid: int) -> Iterator[tuple[str, int]]:
    """The addresses at which a process listens (IPv4 and IPv6)."""
    sockets = {Path(f"/proc/{pid}/fd/{name.name}").readlink().name for name in Path(f"/proc/{pid}/fd").iterdir()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = fields = line.split()
            if state == LISTENING and f"socket:[{fields[9]}]" in sockets:
                address, _, port = local.partition(":")
                octets = bytes.fromhex(address)[::-1]
                yield ".".join(map(str, octets)) if table == "tcp" else address, int(port, 16)
