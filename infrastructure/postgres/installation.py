"""What is true of an installation as a whole: its id, its server's version, and the leases of its work."""

import sql
from infrastructure.postgres.connections import Pool, connect


async def installation_id(dsn: str) -> str:
    """The id that all processes on this database share; made by its first migration."""
    async with await connect(dsn) as connection:
        row = await (await connection.execute(sql.query("installation_id"))).fetchone()
    return str(row[0]) if row else ""


async def server_version(pool: Pool) -> str:
    """The version of the Postgres server, such as `17.4`."""
    async with pool.connection() as connection:
        row = await (await connection.execute(sql.query("server_version"))).fetchone()
    return str(row[0]) if row else ""


async def expire_leases(dsn: str) -> None:
    """Let every lease of runs, effects and idempotency keys run out, so that they are taken over at once. Only while
    nobody else works on this database."""
    async with await connect(dsn) as connection:
        await connection.execute(sql.query("expire_leases"))
