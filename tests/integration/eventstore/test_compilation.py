"""What Postgres compiles (JIT) of the statements that every request waits for: nothing. Before version 18 a scan that
is switched off counts as so expensive that each new connection compiled the functions for a third of a second each."""

import asyncio
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from infrastructure.postgres.connections import connect, open_pool
from infrastructure.postgres.effect_ledger.ledger import EFFECTS_CHANNEL, PostgresEffectLedger
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.parked_runs import PARKED_RUNS_CHANNEL
from infrastructure.postgres.run_queue import RUN_QUEUE_CHANNEL, PostgresRunQueue

pytestmark = pytest.mark.every_postgres

APPEND = """
    SELECT append_event('t', 'a stream', %s, 'a.type', 1, %s, now(), '{}', '{}', sha256('{}')),
           append_events('t', ARRAY['another'], ARRAY[1], ARRAY[%s::bigint], ARRAY[1], ARRAY['a.type'], ARRAY[1],
                         ARRAY[%s], ARRAY[now()], ARRAY['{}'], ARRAY['{}'::bytea], ARRAY[sha256('{}')])
"""


def has_compiled(backend_pid: int) -> bool:
    """Postgres loads the compiler when it compiles for the first time."""
    return "llvmjit" in Path(f"/proc/{backend_pid}/maps").read_text()


def test_claims_and_appends_are_not_compiled_even_in_a_session_that_compiles(database: str) -> None:
    async def scenario() -> None:
        pool = await open_pool(database, size=1, jit="on")
        async with PostgresListener(database) as listener:
            with (
                listener.subscribe(EFFECTS_CHANNEL) as effects,
                listener.subscribe(RUN_QUEUE_CHANNEL) as runs,
                listener.subscribe(PARKED_RUNS_CHANNEL) as endings,
            ):
                ledger = PostgresEffectLedger(pool, effects, max_workers=100, max_starting=8)
                queue = PostgresRunQueue(pool, runs, endings, max_running=1000)
                assert await ledger.claim(owner="w", free={"short": 10, "long": 10}, lease=timedelta(seconds=30)) == []
                assert await queue.claim(owner="w", limit=10, lease=timedelta(seconds=30)) == []
            async with pool.connection() as connection:
                for seq in range(3):
                    await connection.execute(APPEND, (seq, f"one/{seq}", seq, f"two/{seq}"))
                assert not has_compiled(connection.info.backend_pid)
        await pool.close()

    asyncio.run(scenario())


def test_no_function_makes_scans_expensive_without_forbidding_to_compile_it(database: str) -> None:
    with psycopg.connect(database) as connection:
        configured = connection.execute(
            "SELECT proname, proconfig FROM pg_proc WHERE 'enable_seqscan=off' = ANY (proconfig)"
        ).fetchall()
    assert {"append_event", "append_events", "claim_runs_2", "claim_effects_2"} <= {name for name, _ in configured}
    assert [name for name, settings in configured if "jit=off" not in settings] == []


def test_our_connections_never_compile(database: str) -> None:
    async def setting() -> object:
        async with await connect(database) as connection:
            return await (await connection.execute("SHOW jit")).fetchone()

    assert asyncio.run(setting()) == ("off",)
