"""Secrets of runs in a real Postgres: sealed, until their run has ended."""

import hmac

import pytest

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.run_secrets import PostgresRunSecrets
from tests.integration.effects.test_run_queue import dequeue, enqueue, run_queue
from tests.support.async_run import run

pytestmark = pytest.mark.every_postgres

SECRET = b"secret of the installation"
VALUES = ("key-0123456789abcdef", "another pässword")


async def _stored(pool: Pool) -> str:
    async with pool.connection() as connection:
        return str(await (await connection.execute("SELECT * FROM run_secrets")).fetchall())


async def _aged(pool: Pool) -> None:
    async with pool.connection() as connection:
        await connection.execute("UPDATE run_secrets SET kept_at = kept_at - interval '2 days'")


def test_they_come_back_by_their_placeholders_until_the_run_has_ended(database: str) -> None:
    async def scene() -> None:
        async with run_queue(database) as (_, pool):
            secrets = PostgresRunSecrets(pool, SECRET)
            await secrets.keep("r1", VALUES)
            await secrets.keep("r1", VALUES)
            await secrets.keep("r2", VALUES[:1])
            await enqueue(pool, ("r1", "s1"), ("r2", "s2"))

            assert await secrets.of("r1") == {secrets.placeholder(value): value for value in VALUES}
            await dequeue(pool, "r1")
            assert await secrets.of("r1") == {}
            assert await secrets.of("r2") != {}

    run(scene())


def test_they_are_stored_sealed_and_opened_with_the_installation_s_secret_for_their_run_alone(database: str) -> None:
    async def scene() -> None:
        async with run_queue(database) as (_, pool):
            await PostgresRunSecrets(pool, SECRET).keep("r1", VALUES)
            stored = await _stored(pool)
            for value in VALUES:
                assert value not in stored
                assert value.encode().hex() not in stored
                assert hmac.digest(SECRET, value.encode(), "sha256").hex()[:24] not in stored
            assert await PostgresRunSecrets(pool, b"another").of("r1") == {}
            async with pool.connection() as connection:
                await connection.execute("UPDATE run_secrets SET run_id = 'r9'")
            assert await PostgresRunSecrets(pool, SECRET).of("r9") == {}

    run(scene())


def test_those_of_runs_that_were_never_queued_are_deleted_after_a_day(database: str) -> None:
    async def scene() -> None:
        async with run_queue(database) as (_, pool):
            secrets = PostgresRunSecrets(pool, SECRET)
            await secrets.keep("refused", VALUES)
            await secrets.keep("waiting", VALUES)
            await enqueue(pool, ("waiting", "s1"))
            await _aged(pool)
            await secrets.keep("new", VALUES)
            assert await secrets.of("refused") == {}
            assert len(await secrets.of("waiting")) == len(await secrets.of("new")) == 2

    run(scene())
