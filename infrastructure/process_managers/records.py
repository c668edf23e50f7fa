"""Where the process managers stand, as people read it."""

from collections.abc import Sequence

from psycopg.rows import class_row

from application.process_manager_control import ProcessManagerStatus
from infrastructure.postgres.work_table import Pool, rows_of


class PostgresProcessManagerRecords:
    """Implements ProcessManagerRecords."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def status(self) -> Sequence[ProcessManagerStatus]:
        return await rows_of(self._pool, "process_managers", {}, class_row(ProcessManagerStatus))
