"""What somebody with access to the database could do to the log, by hand."""

import hashlib
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.support.hash_chain import chain_hash


def execute(dsn: str, statement: str, **parameters: Any) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement, parameters)


def swap_places(dsn: str, one: int, other: int) -> None:
    """Two events change places, each with all that it has."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for before, after in ((one, -1), (other, one), (-1, other)):
            connection.execute("UPDATE events SET position = %s WHERE position = %s", (after, before))


def rewrite_from(dsn: str, position: int, payload: bytes) -> None:
    """Another payload, and every hash from there on made anew: no chain tells, only a checkpoint does."""
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("UPDATE events SET payload = %s WHERE position = %s", (payload, position))
        heads: dict[tuple[str, str], bytes] = {}
        for event in connection.execute("SELECT * FROM events ORDER BY position").fetchall():
            stream = event["tenant"], event["stream"]
            event["payload_hash"] = hashlib.sha256(event["payload"]).digest()
            heads[stream] = chain_hash(heads.get(stream, b""), event)
            connection.execute(
                "UPDATE events SET payload_hash = %s, chain_hash = %s WHERE position = %s",
                (event["payload_hash"], heads[stream], event["position"]),
            )
