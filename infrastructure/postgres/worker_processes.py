"""The WorkerProcesses port: a row for each process, as old as its last sign of life."""

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.retrying import rows_of

ALIVE_WITHIN_S = 30.0
LONGEST_WHY = 500


class PostgresWorkerProcesses:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def seen(self, owner: str, down: Mapping[str, str]) -> None:
        told = {name: why[:LONGEST_WHY].replace("\0", "\N{REPLACEMENT CHARACTER}") for name, why in down.items()}
        await rows_of(self._pool, "worker_process_seen", {"owner": owner, "down": Jsonb(told)})

    async def ended(self, owner: str) -> None:
        await rows_of(self._pool, "worker_process_ended", {"owner": owner})

    async def alive(self) -> Sequence[Mapping[str, str]]:
        rows = await rows_of(self._pool, "worker_processes_alive", {"within_s": ALIVE_WITHIN_S})
        return [down for (down,) in rows]
