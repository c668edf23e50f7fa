"""`GET /api/providers`: what each real CLI can do in its version, and whether it could run, before anything starts."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.providers.agents import Agents
from tests.e2e.providers.dialects import DIALECTS
from tests.support.agent_clis import ROOT, installed_clis
from tests.support.fleetlog_server import FleetlogServer

CLAUDE = "claude-code"


def pinned_versions() -> dict[str, str]:
    told = subprocess.run([ROOT / "script/agent-clis", "--versions"], capture_output=True, text=True, check=True)
    words = {"claude-code": CLAUDE, "codex": "codex-cli", "opencode": "opencode"}
    return {words[name]: version for name, version in (line.split() for line in told.stdout.splitlines())}


def providers_of(server: FleetlogServer) -> dict[str, dict[str, Any]]:
    return {each["provider"]: each for each in server.ok("GET", "/api/providers")["providers"]}


def test_a_cli_is_ready_in_its_pinned_version_with_all_that_it_can(agents: Agents) -> None:
    found = providers_of(agents.server)[agents.dialect.name]

    assert (found["readiness"], found["reason"]) == ("ready", "")
    assert found["version"] == pinned_versions()[agents.dialect.name]
    can = (found["resume"], found["humanLoop"], found["todoStream"], found["buildPlanMode"])
    assert can == (True, True, True, True)
    assert {"default", "build", "plan"} <= set(found["executionProfiles"])


@pytest.mark.proof
def test_without_credentials_the_environment_is_not_ready_and_a_run_says_the_same(tmp_path: Path) -> None:
    installed_clis()
    with FleetlogServer(tmp_path / "home") as server:
        found = providers_of(server)
        for dialect in DIALECTS:
            provider = found[dialect.name]
            assert provider["readiness"] == "environment_not_ready"
            run = server.finished("go", provider=dialect.name, model="m", retryPolicy="never")
            error = run["snapshot"]["error"]
            assert error["errorClass"] == "auth_missing"
            assert error["message"] == provider["reason"]
            assert "where the control plane runs" in provider["reason"]
        assert found["scripted"]["readiness"] == "ready"


@pytest.mark.proof
def test_without_its_docker_daemon_the_runtime_is_unhealthy(tmp_path: Path) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/no-daemon.sock", "ANTHROPIC_API_KEY": "sk-0123456789"}
    with FleetlogServer(tmp_path / "home", WORKER_RUNTIME="docker", **nowhere) as server:
        found = providers_of(server)
        for dialect in DIALECTS:
            assert found[dialect.name]["readiness"] == "runtime_unhealthy"
            assert "Docker" in found[dialect.name]["reason"]
            assert found[dialect.name]["resume"]
