"""The status of the process managers, as operators see it."""

from collections.abc import Sequence

from psycopg.rows import class_row

from application.ports.process_manager_records import CountedCommands, ProcessManagerStatus
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.retrying import rows_of


class PostgresProcessManagerRecords:
    """Implements ProcessManagerRecords."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def status(self) -> Sequence[ProcessManagerStatus]:
        return await rows_of(self._pool, "process_managers", {}, class_row(ProcessManagerStatus))

    async def pending(self) -> Sequence[CountedCommands]:
        return await rows_of(self._pool, "count_pending_commands", {}, class_row(CountedCommands))
