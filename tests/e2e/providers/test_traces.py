"""The trace of a run of a real CLI, over a control plane that is killed in its middle, down to the model's turns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.providers.agents import Agents, settings_of_all
from tests.e2e.providers.dialects import Dialect
from tests.support.agent_clis import installed_clis
from tests.support.fleetlog_server import FleetlogServer
from tests.support.model_server import ModelServer, Text, Turn
from tests.support.otlp_collector import OtlpCollector

pytestmark = pytest.mark.proof
CALLER_TRACE, CALLER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WORDS = "".join(f"word{number} " for number in range(40))


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as collector:
        yield collector


@pytest.fixture
def traced_agents(models: ModelServer, dialect: Dialect, collector: OtlpCollector, tmp_path: Path) -> Iterator[Agents]:
    installed_clis()
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        **settings_of_all(models.url),
    }
    with FleetlogServer(tmp_path / "home", **settings) as server:
        yield Agents(server=server, models=models, dialect=dialect)


def test_one_trace_leads_from_the_request_to_the_model_s_turns_and_tools(
    traced_agents: Agents, collector: OtlpCollector
) -> None:
    agents, server = traced_agents, traced_agents.server
    session_id, folder = agents.session_with_worker()
    writes = Turn(agents.dialect.write_file(folder, "note", "n"))
    model = agents.models.script(writes, Text(WORDS, pieces=40, pause_s=0.1))
    headers = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"}
    answer = server.client.post(
        "/api/runs/queue/enqueue", json=agents.body(model, sessionId=session_id), headers=headers
    )
    run_id = answer.json()["runId"]
    server.until(run_id, "message.delta")
    collector.until(lambda got: any(span["name"] == "executor run.start" for span in got.spans))

    server.kill()
    server.start()

    assert server.history(run_id)[-1]["data"]["outcome"] == "succeeded"
    collector.until_traced(CALLER_TRACE, "run.finished", "effect workspace.sync")
    trace = collector.of_trace(CALLER_TRACE)
    known = {span["span_id"] for span in trace} | {CALLER_SPAN}
    assert [span["name"] for span in trace if span["parent_id"] not in known] == []
    way = ["run.execute", "run.queued", "command run.queued", "POST /api/runs/queue/enqueue"]
    (agent,) = (span for span in trace if span["name"] == f"invoke_agent {agents.dialect.name}")
    assert ancestors(trace, agent) == way
    turns = [span for span in trace if span["name"] == f"chat {model}"]
    assert len(turns) == 2
    assert {turn["attributes"]["gen_ai.request.model"] for turn in turns} == {model}
    tools = [span for span in trace if span["name"].startswith("execute_tool ")]
    assert len(tools) == 1
    for below in (*turns, *tools):
        assert ancestors(trace, below) == [agent["name"], *way]
    calls = {span["name"] for span in trace if span["name"].startswith("executor ")}
    assert {"executor run.start", "executor run.follow", "executor workspace.sync"} <= calls
    executed = sorted((span for span in trace if span["name"] == "run.execute"), key=lambda span: span["start"])
    assert [span["error"] for span in executed] == ["lease_taken_over", ""]


def ancestors(trace: list[dict[str, Any]], span: dict[str, Any]) -> list[str]:
    by_id = {each["span_id"]: each for each in trace}
    names: list[str] = []
    while (span := by_id.get(span["parent_id"], {})) and len(names) < 100:
        names.append(span["name"])
    return names
