"""The hash chain of the log, verified from its rows alone, by the description in sql/migrations/0001_event_log.sql."""

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
TEXT, BIGINT, INTEGER, BYTEA, TIMESTAMPTZ = 25, 20, 23, 17, 1184


def broken_links(dsn: str) -> list[int]:
    """The positions of the events whose hashes are not what they must be, or whose place in the log, in its stream or
    in time doesn't follow from the one before."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        events = connection.execute("SELECT * FROM events ORDER BY position").fetchall()
    return broken(events)


def broken(events: list[dict[str, Any]]) -> list[int]:
    found = []
    ends: dict[tuple[str, str], dict[str, Any]] = {}
    recorded_at = POSTGRES_EPOCH
    for position, event in enumerate(events, 1):
        stream = event["tenant"], event["stream"]
        previous = ends.get(stream, {"seq": 0, "chain_hash": b""})
        follows = event["position"] == position and event["seq"] == previous["seq"] + 1
        if (
            not follows
            or event["recorded_at"] < recorded_at
            or event["payload_hash"] != hashlib.sha256(event["payload"]).digest()
            or event["chain_hash"] != chain_hash(previous["chain_hash"], event)
        ):
            found.append(event["position"])
        ends[stream] = event
        recorded_at = event["recorded_at"]
    return found


def chain_hash(previous: bytes, event: dict[str, Any]) -> bytes:
    fields = [
        (BYTEA, previous),
        (BIGINT, struct.pack(">q", event["position"])),
        (TEXT, event["tenant"].encode()),
        (TEXT, event["stream"].encode()),
        (BIGINT, struct.pack(">q", event["seq"])),
        (TEXT, event["type"].encode()),
        (INTEGER, struct.pack(">i", event["schema_version"])),
        (TEXT, event["event_id"].encode()),
        (TIMESTAMPTZ, microseconds(event["occurred_at"])),
        (TIMESTAMPTZ, microseconds(event["recorded_at"])),
        (TEXT, event["metadata"].encode()),
        (BYTEA, event["payload_hash"]),
    ]
    hashed = struct.pack(">i", len(fields))
    for oid, value in fields:
        hashed += struct.pack(">ii", oid, len(value)) + value
    return hashlib.sha256(hashed).digest()


def microseconds(moment: datetime) -> bytes:
    return struct.pack(">q", (moment - POSTGRES_EPOCH) // timedelta(microseconds=1))
