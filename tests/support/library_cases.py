"""The `eventsourcing` library's own test cases on Fleetlog's persistence module: what they all need."""

import sys
from collections.abc import Iterator
from uuid import UUID

import eventsourcing.cryptography
import pytest
from eventsourcing.utils import Environment

# The library's test cases import its cipher of pycryptodome; that of the cryptography package does the same.
sys.modules.setdefault("eventsourcing.cipher", eventsourcing.cryptography)

from infrastructure.eventsourcing_library.factory import FleetlogFactory  # noqa: E402


class OnTheLog:
    """A database, a factory and an environment of its own for each test. Originator ids are UUIDs, as the library has
    them without a setting."""

    id_type = "uuid"
    factory: FleetlogFactory

    @pytest.fixture(autouse=True)
    def _log(self, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        settings = {
            "PERSISTENCE_MODULE": FleetlogFactory.__module__,
            "DATABASE_URL": database,
            "ORIGINATOR_ID_TYPE": self.id_type,
        }
        for name, value in settings.items():  # the cases for applications read the process's environment
            monkeypatch.setenv(name, value)
        environment = Environment("Cases", settings)
        monkeypatch.setattr(self, "env", environment, raising=False)
        with FleetlogFactory(environment) as self.factory:
            yield


class WithTextIds(OnTheLog):
    id_type = "text"

    def new_originator_id(self) -> UUID | str:
        return str(super().new_originator_id())  # type: ignore[misc]  # the library's own test case has it
