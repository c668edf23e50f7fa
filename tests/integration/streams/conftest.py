import pytest

from infrastructure.postgres.migrations import migrate
from tests.support.async_run import run


@pytest.fixture
def log(database: str) -> str:
    """The DSN of an empty, migrated database."""
    run(migrate(database))
    return database
