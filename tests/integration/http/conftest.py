"""One API server for all tests of the API: each test has runs and sessions of its own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.api_server import ApiServer, running_api
from tests.support.servers import PostgresServer


@pytest.fixture(scope="session")
def api(postgres_server: PostgresServer) -> Iterator[ApiServer]:
    dsn = postgres_server.create_log()
    with running_api(dsn) as server:
        yield server
    postgres_server.drop_database(dsn)


@pytest.fixture(scope="session")
def client(api: ApiServer) -> Iterator[httpx.Client]:
    with api.client() as client:
        yield client


@pytest.fixture
def nothing_is_written(api: ApiServer) -> Iterator[None]:
    before = api.last_position()
    yield
    assert api.last_position() == before
