"""A real `fleetlog up` in a folder of its own, with a database of the test run's Postgres."""

from collections.abc import Iterator

import pytest

from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer


@pytest.fixture(scope="session")
def shared_fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    """One server for all tests that leave it alive; they keep apart by their session and run ids."""
    with FleetlogServer(tmp_path_factory.mktemp("fleetlog") / "home", **on_shared_postgres()) as server:
        yield server


@pytest.fixture
def own_fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    """A server of this test's own, to be killed and started again."""
    with FleetlogServer(tmp_path_factory.mktemp("own") / "home", **on_shared_postgres()) as server:
        yield server
