"""The migrations runner: brings a database to the schema that this code needs.

Numbered migrations run once each, in order, all in one transaction under an advisory lock, so that any number of
processes may start at once. What ran is recorded in `schema_migrations` with its checksum; functions and views are
applied again whenever their text, or any table under them, changes. docs/how-to/add-a-migration.md has the rules.

MigrationRefused
├── ChangedMigration    a migration's text is not what this database ran
├── LateMigration       a migration has a lower number than one that this database ran without it
├── NewerDatabase       the database has migrations that this code doesn't know
└── ServerTooOld        the Postgres server is older than what Fleetlog needs
"""

import hashlib
import re

import msgspec
import psycopg

import sql
from infrastructure.postgres.connections import connect

_LOCK = 5067271820452198
_LOCK_TIMEOUT = "120s"
LAST_BY_TOPIC = 721
"""Up to here a number stood for a topic, and a database may have run later ones before it. From here on each migration
has the next free number, whatever it is about."""
OLDEST_SERVER = 15
"""Major version of Postgres; the tests use this one and the embedded one."""
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)")
_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS schema_objects (
    name       text        NOT NULL PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""


class MigrationRefused(Exception):
    """The database was left as it is; the message says why and what to do."""


class ChangedMigration(MigrationRefused):
    """A migration's text is not what this database ran. Restore the file and put the change into a new migration."""


class LateMigration(MigrationRefused):
    """A migration has a lower number than one that this database ran without it. Give it the next free number."""


class NewerDatabase(MigrationRefused):
    """The database has migrations that this code doesn't know. Run a newer version of Fleetlog."""


class ServerTooOld(MigrationRefused):
    """The Postgres server is older than OLDEST_SERVER. Upgrade it."""


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return checksum(self.text)


def checksum(text: str) -> str:
    """The sha256 of an SQL text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def known_migrations() -> list[Migration]:
    """The migrations of this code in order. Raises ValueError for a file not named NNNN_name.sql, or a number twice."""
    migrations: dict[int, Migration] = {}
    for file_name, text in sql.folder("migrations").items():
        match = _NAME.fullmatch(file_name)
        if match is None:
            raise ValueError(f"sql/migrations/{file_name}.sql must be named NNNN_name.sql")
        number = int(match[1])
        if number in migrations:
            raise ValueError(f"two migrations have the number {number:04}: {migrations[number].name} and {match[2]}")
        migrations[number] = Migration(number=number, name=match[2], text=text)
    return [migrations[number] for number in sorted(migrations)]


async def migrate(dsn: str, *, up_to: int | None = None) -> list[str]:
    """Apply what is missing and return its names, such as `0001_event_log` and `functions/append_events`.

    `up_to` leaves out later migrations, and the functions and views with them. Raises MigrationRefused, or
    psycopg.Error when a migration fails or the server can't be reached: then nothing has been applied.
    """
    migrations = [m for m in known_migrations() if up_to is None or m.number <= up_to]
    settings = {"lock_timeout": _LOCK_TIMEOUT, "statement_timeout": "0"}
    async with await connect(dsn, **settings) as connection, connection.transaction():
        refuse_old_server(connection.info.server_version)
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute("SET LOCAL client_min_messages = warning")
        await connection.execute(_BOOKKEEPING)
        applied = await _apply_migrations(connection, migrations)
        if up_to is None:
            applied += await _apply_objects(connection, again=bool(applied))
    return applied


def refuse_old_server(version: int) -> None:
    """`version` as libpq has it: 150018 is 15.18. Raises ServerTooOld."""
    if version < OLDEST_SERVER * 10_000:
        raise ServerTooOld(
            f"the database is on Postgres {version // 10_000}.{version % 10_000}, and Fleetlog needs {OLDEST_SERVER} "
            "or newer: upgrade the server, or name another one with DATABASE_URL"
        )


async def pending(dsn: str) -> list[str]:
    """The names of the migrations that `migrate` would run; raises as it does."""
    async with await connect(dsn) as connection:
        ran = await _ran(connection)
    _refuse_surprises(known_migrations(), ran)
    return [f"{m.number:04}_{m.name}" for m in known_migrations() if m.number not in ran]


async def _ran(connection: psycopg.AsyncConnection) -> dict[int, tuple[str, str]]:
    exists = await (await connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")).fetchone()
    if exists == (False,):
        return {}
    rows = await (await connection.execute("SELECT number, name, checksum FROM schema_migrations")).fetchall()
    return {number: (name, digest) for number, name, digest in rows}


def _refuse_surprises(migrations: list[Migration], ran: dict[int, tuple[str, str]]) -> None:
    known = {m.number: m for m in migrations}
    for number, (name, digest) in sorted(ran.items()):
        if number not in known:
            raise NewerDatabase(
                f"the database has migration {number:04}_{name}, which this version of Fleetlog doesn't know: "
                "it was migrated by a newer version; run that one"
            )
        if known[number].checksum != digest:
            raise ChangedMigration(
                f"sql/migrations/{number:04}_{name}.sql is not what this database ran: restore the file and put the "
                "change into a new migration"
            )
    newest = max(ran, default=0)
    for number, migration in sorted(known.items()):
        if LAST_BY_TOPIC < number < newest and number not in ran:
            raise LateMigration(
                f"sql/migrations/{number:04}_{migration.name}.sql was added behind {newest:04}_{ran[newest][0]}, which "
                "this database ran without it: give it the next free number"
            )


async def _apply_migrations(connection: psycopg.AsyncConnection, migrations: list[Migration]) -> list[str]:
    ran = await _ran(connection)
    _refuse_surprises(known_migrations(), ran)
    missing = [m for m in migrations if m.number not in ran]
    for migration in missing:
        await connection.execute(migration.text.encode())
        await connection.execute(
            "INSERT INTO schema_migrations (number, name, checksum) VALUES (%s, %s, %s)",
            (migration.number, migration.name, migration.checksum),
        )
    return [f"{m.number:04}_{m.name}" for m in missing]


async def _apply_objects(connection: psycopg.AsyncConnection, *, again: bool) -> list[str]:
    rows = await (await connection.execute("SELECT name, checksum FROM schema_objects")).fetchall()
    present: dict[str, str] = dict(rows)
    applied = []
    for kind in ("functions", "views"):
        for file_name, text in sql.folder(kind).items():
            name = f"{kind}/{file_name}"
            if not again and present.get(name) == checksum(text):
                continue
            await connection.execute(text.encode())
            await connection.execute(
                "INSERT INTO schema_objects (name, checksum) VALUES (%s, %s) "
                "ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = clock_timestamp()",
                (name, checksum(text)),
            )
            applied.append(name)
    return applied
