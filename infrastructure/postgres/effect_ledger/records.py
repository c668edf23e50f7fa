"""The effect ledger as the API and the command line show it."""

from collections.abc import Sequence

from psycopg.rows import class_row

from application.ports.effect_records import EffectRecord, EffectTry
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.retrying import rows_of


class PostgresEffectRecords:
    """Implements EffectRecords."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(self, *, states: Sequence[str], kind: str, before: int, limit: int) -> Sequence[EffectRecord]:
        arguments = {"states": [*states], "kind": kind, "before": before, "limit": limit}
        return await rows_of(self._pool, "list_effects", arguments, class_row(EffectRecord))

    async def get(self, key: str) -> EffectRecord | None:
        rows = await rows_of(self._pool, "one_effect", {"key": key}, class_row(EffectRecord))
        return rows[0] if rows else None

    async def tries(self, effect_id: str) -> Sequence[EffectTry]:
        return await rows_of(self._pool, "effect_tries", {"effect_id": effect_id}, class_row(EffectTry))
