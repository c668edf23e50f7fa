"""What Postgres compiles (JIT) of the statements that every request waits for: nothing. Before version 18 a scan that
is switched off counts as so expensive that each new connection compiled the functions for a third of a second each."""

import asyncio
from pathlib import Path

import psycopg
import pytest

from infrastructure.postgres.connections import connect

pytestmark = pytest.mark.every_postgres

APPEND = """
    SELECT append_event('t', 'a stream', %s, 'a.type', 1, %s, now(), '{}', '{}', sha256('{}')),
           append_events('t', ARRAY['another'], ARRAY[1], ARRAY[%s::bigint], ARRAY[1], ARRAY['a.type'], ARRAY[1],
                         ARRAY[%s], ARRAY[now()], ARRAY['{}'], ARRAY['{}'::bytea], ARRAY[sha256('{}')])
"""


def test_appends_are_not_compiled_even_in_a_session_that_compiles(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET jit = on")
        for seq in range(3):
            connection.execute(APPEND, (seq, f"one/{seq}", seq, f"two/{seq}"))
        assert "llvmjit" not in Path(f"/proc/{connection.info.backend_pid}/maps").read_text()


def test_no_function_makes_scans_expensive_without_forbidding_to_compile_it(database: str) -> None:
    with psycopg.connect(database) as connection:
        configured = connection.execute(
            "SELECT proname, proconfig FROM pg_proc WHERE 'enable_seqscan=off' = ANY (proconfig)"
        ).fetchall()
    assert {"append_event", "append_events", "claim_runs", "claim_effects"} <= {name for name, _ in configured}
    assert [name for name, settings in configured if "jit=off" not in settings] == []


def test_our_connections_never_compile(database: str) -> None:
    async def setting() -> object:
        async with await connect(database) as connection:
            return await (await connection.execute("SHOW jit")).fetchone()

    assert asyncio.run(setting()) == ("off",)
