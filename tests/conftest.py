"""Fixtures of all tests: real servers for the session, a database and a bucket for one test."""

from collections.abc import Iterator

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.servers import ObjectStoreServer, PostgresServer, running_object_store, running_postgres
from tests.support.worker_image import built_image


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with running_postgres(tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture(scope="session")
def object_store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    with running_object_store(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    """The DSN of an empty database of this test's own."""
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture
def bucket(object_store_server: ObjectStoreServer) -> ObjectStoreAccess:
    """An empty bucket of this test's own, with its endpoint and keys."""
    return object_store_server.create_bucket_access()


@pytest.fixture(scope="session")
def worker_image() -> str:
    """The name of the workers' image; a test that needs it takes long the first time: give it a timeout of its own."""
    return built_image()
