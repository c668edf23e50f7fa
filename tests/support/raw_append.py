"""Appends payloads that no present event type would write: of older and newer schema versions, empty, erased."""

import uuid
from datetime import datetime

from infrastructure.postgres.event_store.append_request import append_request, encoded_event
from infrastructure.postgres.event_store.store import GroupCommitEventStore


async def append_raw(
    store: GroupCommitEventStore, stream: str, seq: int, payloads: list[tuple[str, int, bytes, datetime]]
) -> int:
    """Append (wire name, schema version, payload, occurred at) behind `seq`; the stream's last seq."""
    events = [
        encoded_event(
            event_id=uuid.uuid4().hex,
            wire_name=wire_name,
            schema_version=version,
            occurred_at=occurred_at,
            metadata=b'{"actor":"tester","correlationId":"c"}',
            payload=payload,
        )
        for wire_name, version, payload, occurred_at in payloads
    ]
    result = await store._commits.append(append_request(stream, seq, events))
    return result.last_seq
