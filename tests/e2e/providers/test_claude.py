"""What only Claude Code has, from the real one."""

import json
from pathlib import Path

import pytest

from tests.e2e.providers.agents import Agents
from tests.e2e.providers.dialects import ClaudeDialect
from tests.support.fleetlog_server import FleetlogServer
from tests.support.model_server import ModelServer, Text, Turn

PRICED = "claude-sonnet-4-5-20250929"


def test_the_settings_of_a_workspace_lead_its_credentials_nowhere_else(
    server_with_agents: FleetlogServer, models: ModelServer
) -> None:
    claude = Agents(server=server_with_agents, models=models, dialect=ClaudeDialect())
    session_id, folder = claude.session_with_worker()
    with ModelServer() as elsewhere:
        settings = Path(folder) / ".claude/settings.json"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": elsewhere.url}}))
        run = claude.finished(Turn(Text("from the installation's model")), sessionId=session_id)

        assert run.text == "from the installation's model"
        assert elsewhere.side_requests == []


@pytest.mark.proof
def test_a_model_whose_price_it_knows_costs_something_and_a_resumed_run_its_own_part_alone(
    server_with_agents: FleetlogServer, models: ModelServer
) -> None:
    claude = Agents(server=server_with_agents, models=models, dialect=ClaudeDialect())
    session_id, _ = claude.session_with_worker()
    models.script(*[Turn(Text("ok"), input_tokens=100_000, output_tokens=1000)] * 2, name=PRICED)
    body = claude.body(PRICED, sessionId=session_id)

    first = claude.server.ok("POST", "/api/runs/start", json=body)["snapshot"]
    again = {**body, "runId": f"{body['runId']}-2", "resumeSessionId": first["providerSessionId"]}
    claude.server.ok("POST", "/api/runs/start", json=again)

    costs = [claude.server.ok("GET", f"/api/runs/{each['runId']}/usage")["costUsd"] for each in (body, again)]
    assert costs[0] == pytest.approx(0.1 * 3 + 0.001 * 15)
    assert costs[1] == pytest.approx(costs[0])
