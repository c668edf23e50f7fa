"""Servers whose agents are the real CLIs, led to a scripted model: in processes of this machine, and in containers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.providers.agent_environments import AgentEnvironment, InContainers, OnThisMachine
from tests.e2e.providers.agents import Agents, settings_of_all
from tests.e2e.providers.dialects import DIALECTS, Dialect
from tests.support.agent_clis import installed_clis
from tests.support.docker_containers import LABEL, docker, remove_everything
from tests.support.fleetlog_server import FleetlogServer
from tests.support.model_server import ModelServer
from tests.support.samples import in_turn, samples

RUNTIMES = (
    "process",
    pytest.param("docker", marks=[pytest.mark.proof, pytest.mark.timeout(400)]),
)
SHARED = {"process": "server_with_agents", "docker": "docker_server"}
ENVIRONMENTS: dict[str, AgentEnvironment] = {"process": OnThisMachine(), "docker": InContainers()}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A sample holds each test for one CLI and runtime of those that are quick, and for one of the others; they take
    turns."""
    if samples().whole:
        return
    left_out: set[pytest.Item] = set()
    for proofs in (True, False):
        groups: dict[str, list[pytest.Function]] = {}
        for item in items:
            is_proof = item.get_closest_marker("proof") is not None
            if isinstance(item, pytest.Function) and "runtime" in parameters(item) and is_proof is proofs:
                groups.setdefault(without_cli_and_runtime(item), []).append(item)
        kept = {*in_turn([groups[name] for name in sorted(groups)], samples().seed, cli_and_runtime)}
        left_out |= {item for group in groups.values() for item in group if item not in kept}
    config.hook.pytest_deselected(items=[*left_out])
    items[:] = [item for item in items if item not in left_out]


def parameters(item: pytest.Function) -> dict[str, object]:
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}


def without_cli_and_runtime(item: pytest.Function) -> str:
    """Its id, the same in all processes of the run."""
    test, _, values = item.nodeid.partition("[")
    for value in (getattr(parameters(item).get("dialect"), "name", ""), str(parameters(item)["runtime"])):
        values = values.replace(value, "") if value else values
    return test + values


def cli_and_runtime(item: pytest.Function) -> str:
    dialect = parameters(item).get("dialect")
    return f"{getattr(dialect, 'name', item.path.stem)} {parameters(item)['runtime']}"


@contextmanager
def serving_agents(runtime: str, models: ModelServer, home: Path, image: str = "") -> Iterator[FleetlogServer]:
    """A server of this runtime, and none of its containers at the end."""
    if runtime == "process":
        installed_clis()
        with FleetlogServer(home, MAX_WORKERS="1000", **settings_of_all(models.url)) as server:
            yield server
        return
    settings = {"MAX_WORKERS": "1000", **settings_of_all(f"http://host.docker.internal:{models.port}")}
    with FleetlogServer(home, WORKER_RUNTIME="docker", WORKER_IMAGE=image, **settings) as server:
        server.activate("first")
        first = str(server.ok("GET", "/api/session-workers/first")["containerId"])
        installation = docker("inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', first)
        try:
            yield server
        finally:
            remove_everything(installation)


@pytest.fixture(scope="session")
def models() -> Iterator[ModelServer]:
    """Containers reach it, too."""
    with ModelServer(host="0.0.0.0") as server:
        yield server


@pytest.fixture(scope="session")
def server_with_agents(models: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    """One server for all tests that leave it alive."""
    with serving_agents("process", models, tmp_path_factory.mktemp("agents") / "home") as server:
        yield server


@pytest.fixture(scope="session")
def docker_server(
    models: ModelServer, worker_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FleetlogServer]:
    """The same with containers."""
    with serving_agents("docker", models, tmp_path_factory.mktemp("agents") / "home", worker_image) as server:
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


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def agents(request: pytest.FixtureRequest, models: ModelServer, dialect: Dialect, runtime: str) -> Agents:
    """One provider, on the shared server of a runtime."""
    server: FleetlogServer = request.getfixturevalue(SHARED[runtime])
    return Agents(server=server, models=models, dialect=dialect, environment=ENVIRONMENTS[runtime])


@pytest.fixture
def own_agents(
    request: pytest.FixtureRequest,
    models: ModelServer,
    dialect: Dialect,
    runtime: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Agents]:
    """One provider, on a server of this test's own, to be killed and started again."""
    image = request.getfixturevalue("worker_image") if runtime == "docker" else ""
    with serving_agents(runtime, models, tmp_path_factory.mktemp("own-agents") / "home", image) as server:
        yield Agents(server=server, models=models, dialect=dialect, environment=ENVIRONMENTS[runtime])
