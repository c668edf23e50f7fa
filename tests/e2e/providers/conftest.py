"""Servers whose agents are the real CLIs, led to a scripted model."""

from collections.abc import Iterator

import pytest

from tests.e2e.providers.agents import Agents, settings_of_all
from tests.e2e.providers.dialects import DIALECTS, Dialect
from tests.support.agent_clis import installed_clis
from tests.support.fleetlog_server import FleetlogServer
from tests.support.model_server import ModelServer


@pytest.fixture(scope="session")
def models() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="session")
def server_with_agents(models: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    """One server for all tests that leave it alive."""
    installed_clis()
    with FleetlogServer(tmp_path_factory.mktemp("agents") / "home", **settings_of_all(models)) as server:
        yield server


SLOW = {"opencode"}
"""CLIs that take seconds to start: but for test_opencode.py their tests are proofs."""


@pytest.fixture(
    params=[
        pytest.param(each, id=each.name, marks=[pytest.mark.proof] if each.name in SLOW else []) for each in DIALECTS
    ]
)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture
def agents(server_with_agents: FleetlogServer, models: ModelServer, dialect: Dialect) -> Agents:
    """One provider, on the shared server."""
    return Agents(server=server_with_agents, models=models, dialect=dialect)


@pytest.fixture
def own_agents(models: ModelServer, dialect: Dialect, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    """One provider, on a server of this test's own, to be killed and started again."""
    installed_clis()
    with FleetlogServer(tmp_path_factory.mktemp("own-agents") / "home", **settings_of_all(models)) as server:
        yield Agents(server=server, models=models, dialect=dialect)
