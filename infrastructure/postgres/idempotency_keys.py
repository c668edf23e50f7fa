"""Idempotency keys in a table of their own: a claim is one statement, so that of two requests at once one wins."""

import secrets
from datetime import timedelta
from typing import Any

import sql
from application.ports.idempotency_keys import Begun, InProgress, KeyState, OtherBody, StoredAnswer
from domain.identifiers import DEFAULT_TENANT
from infrastructure.postgres.connections import Pool

KEEP = timedelta(hours=24)


class PostgresIdempotencyKeys:
    """The IdempotencyKeys port. Keys are kept for `keep`, counted from their first use."""

    def __init__(self, pool: Pool, *, tenant: str = DEFAULT_TENANT, keep: timedelta = KEEP) -> None:
        self._pool, self._tenant, self._keep = pool, tenant, keep

    async def begin(self, actor: str, key: str, fingerprint: str, lease_s: float) -> KeyState:
        lease = secrets.token_hex(8)
        arguments = {
            "lease": lease,
            "fingerprint": fingerprint,
            "lease_s": lease_s,
            "keep_s": self._keep.total_seconds(),
        }
        # The key may be given back between the two halves of the statement: then nobody holds it, and we ask again.
        while True:
            rows = await self._execute("begin_idempotency_key", actor, key, arguments)
            if rows:
                break
        claimed, known_fingerprint, status, media_type, body = rows[0]
        if claimed:
            return Begun(lease=lease)
        if known_fingerprint != fingerprint:
            return OtherBody()
        if status is None:
            return InProgress()
        return StoredAnswer(status=status, media_type=media_type, body=body)

    async def renew(self, actor: str, key: str, lease: str, lease_s: float) -> None:
        await self._execute("renew_idempotency_key", actor, key, {"lease": lease, "lease_s": lease_s})

    async def complete(self, actor: str, key: str, lease: str, answer: StoredAnswer) -> None:
        arguments = {
            "lease": lease,
            "status": answer.status,
            "media_type": answer.media_type,
            "body": answer.body,
        }
        await self._execute("complete_idempotency_key", actor, key, arguments)

    async def abandon(self, actor: str, key: str, lease: str) -> None:
        await self._execute("abandon_idempotency_key", actor, key, {"lease": lease})

    async def _execute(self, query: str, actor: str, key: str, arguments: dict[str, Any]) -> list[Any]:
        named = {"tenant": self._tenant, "actor": actor, "key": key, **arguments}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(sql.query(query), named)
            return await cursor.fetchall() if cursor.description else []
