"""What a database may have run, and what a process of the version before may still call: migrations by name and hash,
functions by name and signature. Neither changes once it is here; new ones are added."""

import re
from pathlib import Path

import msgspec

import sql
from infrastructure.postgres.migrations import LAST_BY_TOPIC, Migration, known_migrations

GOLDEN = Path(__file__).with_name("golden_schema.json")
COMMAND = "python -m tests.unit.schema.regenerate_golden"
_FUNCTION = re.compile(r"CREATE OR REPLACE FUNCTION\s+(\w+)\s*(\(.*?\)\s*RETURNS\s.*?)\s*(?:LANGUAGE|AS)\b", re.DOTALL)
_CONTRACTS = re.compile(r"\b(DROP\s+(TABLE|COLUMN|FUNCTION|VIEW|SCHEMA)|RENAME)\b", re.IGNORECASE)
_CONTRACT = re.compile(r"^-- contract: \S", re.MULTILINE)


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """`migrations`: the sha256 of each, by `NNNN_name`, in order. `functions`: signatures by name. `retired`: functions
    that a migration has dropped; their names are not taken again."""

    migrations: dict[str, str]
    functions: dict[str, str]
    retired: tuple[str, ...] = ()


def load() -> Schema:
    return msgspec.json.decode(GOLDEN.read_bytes(), type=Schema)


def present(golden: Schema) -> Schema:
    """Of this code; `golden` tells which functions there were."""
    functions = dict(signature(text) for text in sql.folder("functions").values())
    gone = golden.functions.keys() - functions.keys()
    return Schema(
        migrations={name_of(each): each.checksum for each in known_migrations()},
        functions=functions,
        retired=tuple(sorted({*golden.retired, *gone})),
    )


def name_of(migration: Migration) -> str:
    return f"{migration.number:04}_{migration.name}"


def signature(text: str) -> tuple[str, str]:
    """The name of the function that an SQL text makes, and its arguments and result on one line."""
    found = _FUNCTION.search(re.sub(r"--[^\n]*", "", text))
    assert found is not None, text
    return found[1], " ".join(found[2].split()).replace("( ", "(").replace(" )", ")")


def refusals(golden: Schema, found: Schema, texts: dict[str, str]) -> list[str]:
    """What must not be as it is; `texts` of the migrations by name."""
    return [*_of_migrations(golden, found), *_of_contracts(golden, texts), *_of_functions(golden, found, texts)]


def _of_migrations(golden: Schema, found: Schema) -> list[str]:
    last = max(golden.migrations, default="")
    changed = [name for name in golden.migrations if found.migrations.get(name) not in {None, golden.migrations[name]}]
    gone = golden.migrations.keys() - found.migrations.keys()
    early = [name for name in found.migrations.keys() - golden.migrations.keys() if name[:4] <= last[:4]]
    return [
        *(f"sql/migrations/{name}.sql was edited: restore it, and put the change into a new one" for name in changed),
        *(f"sql/migrations/{name}.sql is gone: databases have run it; restore it" for name in sorted(gone)),
        *(
            f"sql/migrations/{name}.sql must have a number after {last[:4]}: the next free one"
            for name in sorted(early)
        ),
    ]


def _of_contracts(golden: Schema, texts: dict[str, str]) -> list[str]:
    return [
        f"sql/migrations/{name}.sql takes something away: it may when no running process needs it any more, a version "
        "after the code stopped using it. Say so in a line `-- contract: unused since VERSION`"
        for name, text in texts.items()
        if int(name[:4]) > LAST_BY_TOPIC and name not in golden.migrations
        and _CONTRACTS.search(re.sub(r"--[^\n]*", "", text)) and not _CONTRACT.search(text)
    ]  # fmt: skip


def _of_functions(golden: Schema, found: Schema, texts: dict[str, str]) -> list[str]:
    changed = [name for name, known in golden.functions.items() if found.functions.get(name) not in {None, known}]
    dropped = " ".join(texts.values())
    kept = [
        name
        for name in golden.functions.keys() - found.functions.keys()
        if not re.search(rf"DROP FUNCTION (IF EXISTS )?{name}\b", dropped)
    ]
    again = set(golden.retired) & found.functions.keys()
    return [
        *(f"function {name} has another signature: give it a new name, and keep the old one for a version: processes "
          "of the version before call it" for name in changed),
        *(f"function {name} is gone, but no migration drops it" for name in sorted(kept)),
        *(f"function {name}: this name was another function's; take a new one" for name in sorted(again)),
    ]  # fmt: skip
