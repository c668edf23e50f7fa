"""Bringing a database to the schema that the code needs."""

import asyncio
import multiprocessing
import subprocess
from typing import Any

import psycopg
import pytest

import sql
from infrastructure.postgres.migrations import ChangedMigration, NewerDatabase, known_migrations, migrate, pending
from tests.support.throwaway_postgres import BINARIES


@pytest.fixture
def empty(postgres_server: Any) -> str:
    return postgres_server.create_database()


def execute(dsn: str, statement: str) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_the_first_run_applies_everything_in_order_and_the_second_nothing(empty: str) -> None:
    applied = asyncio.run(migrate(empty))
    assert applied[:3] == ["0001_event_log", "0002_library_tables", "0003_heads_from_events"]
    assert "functions/append_events" in applied
    assert applied[-2:] == ["views/events_readable", "views/streams"]
    assert asyncio.run(migrate(empty)) == []
    assert asyncio.run(pending(empty)) == []


def test_what_is_pending_is_known_before_the_first_run(empty: str) -> None:
    assert asyncio.run(pending(empty)) == [f"{m.number:04}_{m.name}" for m in known_migrations()]


def test_two_processes_that_start_together_apply_each_migration_once(empty: str) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        applied = pool.map(migrate_in_process, [empty, empty])
    assert min(applied, key=len) == []
    assert len(execute(empty, "SELECT number FROM schema_migrations")) == len(known_migrations())


def migrate_in_process(dsn: str) -> list[str]:
    return asyncio.run(migrate(dsn))


def test_a_migration_that_was_changed_after_it_ran_is_refused_by_name(empty: str) -> None:
    asyncio.run(migrate(empty))
    execute(empty, "UPDATE schema_migrations SET checksum = 'other' WHERE number = 2")
    with pytest.raises(ChangedMigration, match=r"0002_library_tables\.sql is not what this database ran"):
        asyncio.run(migrate(empty))


def test_a_database_of_a_newer_version_is_refused(empty: str) -> None:
    asyncio.run(migrate(empty))
    execute(empty, "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'from_the_future', 'x')")
    with pytest.raises(NewerDatabase, match=r"9999_from_the_future.*newer version"):
        asyncio.run(migrate(empty))


def test_a_function_is_applied_again_when_its_text_has_changed(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(migrate(empty))
    original = sql.folder

    def changed(name: str) -> dict[str, str]:
        texts = original(name)
        if name == "functions":
            texts["text_or_null"] += "-- changed\n"
        return texts

    monkeypatch.setattr(sql, "folder", changed)
    assert asyncio.run(migrate(empty)) == ["functions/text_or_null"]
    assert asyncio.run(migrate(empty)) == []


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = sql.folder

    def broken(name: str) -> dict[str, str]:
        extra = {"9999_broken": "CREATE TABLE half (); SELECT 1/0"} if name == "migrations" else {}
        return {**original(name), **extra}

    monkeypatch.setattr(sql, "folder", broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        asyncio.run(migrate(empty))
    assert execute(empty, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


def test_migrating_step_by_step_ends_in_the_same_schema_as_at_once(postgres_server: Any, empty: str) -> None:
    stepwise = postgres_server.create_database()
    for migration in known_migrations():
        assert asyncio.run(migrate(stepwise, up_to=migration.number)) == [f"{migration.number:04}_{migration.name}"]
    asyncio.run(migrate(stepwise))
    asyncio.run(migrate(empty))
    assert schema(stepwise) == schema(empty)


def schema(dsn: str) -> str:
    arguments = [str(BINARIES / "pg_dump"), "--schema-only", "--restrict-key=none", dsn]
    return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60).stdout
