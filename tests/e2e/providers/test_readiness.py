"""`GET /api/providers`: what each real CLI can do in its version, and whether it could run, before anything starts."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from application.runs.provider_catalog import ProviderCatalog
from infrastructure.executor.providers.descriptions import DESCRIPTIONS
from infrastructure.runtimes.docker_engine import DockerEngine
from infrastructure.runtimes.installations import ImageLabels
from tests.e2e.providers.agents import Agents
from tests.e2e.providers.dialects import DIALECTS
from tests.support.agent_clis import ROOT, installed_clis
from tests.support.async_run import run
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
            ended = server.finished("go", provider=dialect.name, model="m", retryPolicy="never")
            error = ended["snapshot"]["error"]
            assert error["errorClass"] == "auth_missing"
            assert error["message"] == provider["reason"]
            assert "where the control plane runs" in provider["reason"]
        assert found["scripted"]["readiness"] == "ready"


def test_without_its_docker_daemon_the_runtime_is_unhealthy() -> None:
    engine = DockerEngine({"DOCKER_HOST": "tcp://127.0.0.1:9"}, installation="", connections=1)
    labels = ImageLabels("an-image", lambda: engine.image_labels("an-image"))
    configured = {name: "a value" for dialect in DIALECTS for name in dialect.variables("http://model")}

    found = {state.name: state for state in run(ProviderCatalog(DESCRIPTIONS, labels, configured).all())}

    for dialect in DIALECTS:
        assert found[dialect.name].readiness == "runtime_unhealthy"
        assert "see that the Docker daemon runs" in found[dialect.name].reason
        assert found[dialect.name].capabilities.resume
    assert found["scripted"].readiness == "ready"
