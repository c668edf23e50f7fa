"""The log as JSON Lines: one event a line, with everything that its hashes are made of."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec

import sql
from infrastructure.postgres.connections import Pool

PAGE_EVENTS = 1000
PAGE_BYTES = 8 * 1024 * 1024
_encode = msgspec.json.Encoder().encode


class ExportedEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Times are microseconds since 2000-01-01T00:00:00Z, hashes in hex. `metadata` and `payload` are texts, exactly as
    stored; a payload that is no UTF-8 comes as `payload_base64`."""

    position: int
    tenant: str
    stream: str
    seq: int
    type: str
    schema_version: int
    event_id: str
    occurred_at: int
    recorded_at: int
    metadata: str
    payload: str | None = None
    payload_base64: str | None = None
    payload_hash: str
    chain_hash: str


async def exported(pool: Pool, *, after: int, up_to: int) -> AsyncIterator[bytes]:
    """The lines of the events in (after, up_to], some at a time."""
    while after < up_to:
        arguments = {"after": after, "up_to": up_to, "limit": PAGE_EVENTS, "max_bytes": PAGE_BYTES}
        async with pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(sql.query("audit/export_page"), arguments)
            rows = await cursor.fetchall()
        if not rows:
            return
        yield b"".join([_encode(_event(row)) + b"\n" for row in rows])
        after = rows[-1][0]


def _event(row: tuple[Any, ...]) -> ExportedEvent:
    position, tenant, stream, seq, wire_name, version, event_id, occurred, recorded, metadata, payload, *hashes = row
    try:
        text, base64_text = payload.decode("utf-8"), None
    except UnicodeDecodeError:
        text, base64_text = None, base64.b64encode(payload).decode()
    return ExportedEvent(
        position=position,
        tenant=tenant,
        stream=stream,
        seq=seq,
        type=wire_name,
        schema_version=version,
        event_id=event_id,
        occurred_at=occurred,
        recorded_at=recorded,
        metadata=metadata,
        payload=text,
        payload_base64=base64_text,
        payload_hash=hashes[0].hex(),
        chain_hash=hashes[1].hex(),
    )
