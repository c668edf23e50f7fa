"""Migrations are numbered in the order of history and never edited; functions keep their signatures."""

import pytest
from msgspec.structs import replace

import sql
from tests.unit.schema import golden

KNOWN = golden.Schema(
    migrations={"0721_a": "1", "0722_b": "2"}, functions={"f": "(a text) RETURNS text"}, retired=("g",)
)
TEXTS = {"0721_a": "", "0722_b": ""}


def test_what_databases_have_run_and_processes_call_is_as_it_was() -> None:
    known = golden.load()
    found = golden.present(known)

    refused = golden.refusals(known, found, sql.folder("migrations"))

    assert not refused, "\n".join(refused)
    assert found == known, f"something new is not in the golden file: run\n    {golden.COMMAND}"
    assert list(known.migrations) == sorted(known.migrations)


def test_a_new_migration_comes_after_all_others() -> None:
    late = replace(KNOWN, migrations={**KNOWN.migrations, "0723_c": "3"})
    early = replace(KNOWN, migrations={**KNOWN.migrations, "0722_c": "3"})

    assert golden.refusals(KNOWN, late, {**TEXTS, "0723_c": "CREATE TABLE c ()"}) == []
    assert golden.refusals(KNOWN, early, TEXTS) == [
        "sql/migrations/0722_c.sql must have a number after 0722: the next free one"
    ]


@pytest.mark.parametrize(
    ("migrations", "refused"),
    [
        ({"0721_a": "1", "0722_b": "other"}, "0722_b.sql was edited: restore it"),
        ({"0721_a": "1"}, "0722_b.sql is gone"),
        ({"0721_a": "1", "0723_b": "2"}, "0722_b.sql is gone"),
    ],
)
def test_an_edited_a_removed_and_a_renumbered_migration_are_refused(migrations: dict[str, str], refused: str) -> None:
    (problem,) = golden.refusals(KNOWN, replace(KNOWN, migrations=migrations), {})
    assert refused in problem


@pytest.mark.parametrize("text", ["ALTER TABLE x DROP COLUMN y", "drop table x", "ALTER TABLE x RENAME TO y"])
def test_what_takes_something_away_says_since_when_nobody_needs_it(text: str) -> None:
    new = replace(KNOWN, migrations={**KNOWN.migrations, "0723_c": "3"})

    (problem,) = golden.refusals(KNOWN, new, {**TEXTS, "0723_c": text})

    assert "0723_c.sql takes something away" in problem
    assert golden.refusals(KNOWN, new, {**TEXTS, "0723_c": f"-- contract: unused since 1.2\n{text}"}) == []
    assert golden.refusals(KNOWN, new, {**TEXTS, "0723_c": f"SELECT 1 -- {text}"}) == []


def test_a_function_keeps_its_signature_until_a_migration_drops_it() -> None:
    changed = replace(KNOWN, functions={"f": "(a text, b text) RETURNS text"})
    renamed = replace(KNOWN, functions={"f2": "(a text, b text) RETURNS text"})

    assert "give it a new name" in golden.refusals(KNOWN, changed, TEXTS)[0]
    assert golden.refusals(KNOWN, renamed, TEXTS) == ["function f is gone, but no migration drops it"]
    assert golden.refusals(KNOWN, renamed, {**TEXTS, "0722_b": "DROP FUNCTION f(text);"}) == []
    again = replace(KNOWN, functions={**KNOWN.functions, "g": "() RETURNS text"})
    assert golden.refusals(KNOWN, again, TEXTS) == ["function g: this name was another function's; take a new one"]


def test_a_signature_is_read_off_the_file_that_makes_the_function() -> None:
    text = (
        "-- About f.\nCREATE OR REPLACE FUNCTION f(a text, -- what\n  b integer\n) RETURNS TABLE (c text) LANGUAGE sql"
    )
    assert golden.signature(text) == ("f", "(a text, b integer) RETURNS TABLE (c text)")
