"""The only home of DDL: numbered migrations, functions, views and named queries, shipped as package data.

`migrations/NNNN_name.sql` run once, in the order of their numbers, and are never edited. `functions/*.sql` and
`views/*.sql` hold one CREATE OR REPLACE each and are applied again whenever their text changes. `queries/*.sql` hold
one statement each, with psycopg's placeholders.
"""

from functools import cache
from importlib.resources import files


@cache
def query(name: str) -> str:
    """The statement of `queries/{name}.sql`, without its comments. Raises FileNotFoundError for an unknown name."""
    text = (files(__name__) / "queries" / f"{name}.sql").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()


@cache
def page_of(name: str) -> str:
    """A query of the log that takes a %(limit)s, ended by %(max_bytes)s of payload as well (queries/read_page.sql)."""
    return query("read_page").format(rows=query(name))


def folder(name: str) -> dict[str, str]:
    """The SQL texts of `migrations`, `functions` or `views` by file name without suffix, in name order."""
    found = [entry for entry in (files(__name__) / name).iterdir() if entry.name.endswith(".sql")]
    return {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in sorted(found, key=lambda entry: entry.name)
    }
