"""Fixtures of all tests: real servers for the test run, a database and a bucket for one test."""

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.debian_postgres import required_debian_postgres
from tests.support.distribution import ByScope, in_order
from tests.support.samples import Samples, begin, chosen, commit
from tests.support.servers import (
    QUICK_SERVERS,
    ObjectStoreServer,
    PostgresServer,
    QuickDebianPostgres,
    QuickPostgres,
    shared_object_store,
    shared_postgres,
    stop_shared_servers,
)
from tests.support.shared_run import enter_run, one_at_a_time
from tests.support.worker_image import built_image


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("proofs")
    group.addoption("--sample-proofs", action="store_true", help="go through samples of the long proofs, not the whole")
    group.addoption("--proof-seed", help="chooses the samples; by default the hash of the commit")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_server" in metafunc.fixturenames and metafunc.definition.get_closest_marker("every_postgres"):
        servers = [pytest.param(kind, id=name) for kind, name in QUICK_SERVERS.items()]
        metafunc.parametrize("postgres_server", servers, indirect=True, scope="session")


def pytest_configure(config: pytest.Config) -> None:
    if not leads(config):
        config.option.proof_seed = config.workerinput["proof_seed"]  # type: ignore[attr-defined]
    elif config.option.proof_seed is None:
        config.option.proof_seed = commit()
    begin(Samples(seed=config.option.proof_seed, whole=not config.option.sample_proofs))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of the process that leads, about one that is going to be led."""
    node.workerinput["proof_seed"] = node.config.option.proof_seed


def pytest_report_header(config: pytest.Config) -> str:
    options = "--sample-proofs " if config.option.sample_proofs else ""
    return (
        f"what chance decides in the long proofs is decided again by {options}--proof-seed {config.option.proof_seed}"
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    base = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    enter_run((base if leads(session.config) else base.parent) / "shared")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = in_order(chosen(items))
    config.hook.pytest_deselected(items=[item for item in items if item not in {*kept}])
    items[:] = kept


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByScope:
    return ByScope(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    if leads(config):
        stop_shared_servers()


def leads(config: pytest.Config) -> bool:
    """Whether this process leads the run: no other one gives it tests."""
    return not hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """What a test printed or logged may hold text that is no Unicode, which can't be sent from process to process."""
    return sendable((yield))


def sendable(value: Any) -> Any:
    """The same JSON value, with lone surrogates escaped."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {name: sendable(each) for name, each in value.items()}
        case list() | tuple():
            return type(value)(map(sendable, value))
        case _:
            return value


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> PostgresServer:
    kind = getattr(request, "param", QuickPostgres)
    if kind is QuickDebianPostgres:
        required_debian_postgres()
    return shared_postgres(kind)


@pytest.fixture(scope="session")
def object_store_server() -> ObjectStoreServer:
    return shared_object_store()


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The DSN of an empty database of this test's own."""
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    """The DSN of a database of this test's own, with Fleetlog's schema and an empty log."""
    dsn = postgres_server.create_log()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture
def bucket(object_store_server: ObjectStoreServer) -> ObjectStoreAccess:
    """An empty bucket of this test's own, with its endpoint and keys."""
    return object_store_server.create_bucket_access()


@pytest.fixture(scope="session")
def worker_image() -> str:
    """The name of the workers' image; a test that needs it takes long the first time: give it a timeout of its own."""
    with one_at_a_time("image"):
        return built_image()
