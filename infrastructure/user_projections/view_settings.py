"""The settings of the `eventsourcing` library for a user's projection: where the log is, and where its view.

The library looks for a setting under the name of the application or projection first: the log's begin with FLEETLOG_,
those of the projection `RunsPerHour` with RUNSPERHOUR_. The view lies in the log's database, in a schema of the
users', unless the user's environment says where: by {NAME}_PERSISTENCE_MODULE, {NAME}_POSTGRES_DBNAME or
{NAME}_POSTGRES_HOST. Then the log's user and password are not sent there.
"""

import re
from collections.abc import Mapping

from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from application.ports.user_projections import SchemaRefused
from infrastructure.eventsourcing_library.dsn_settings import DSN_SETTINGS

LOG_PREFIX = "FLEETLOG_"
_ELSEWHERE = ("PERSISTENCE_MODULE", "POSTGRES_DBNAME", "POSTGRES_HOST")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_OURS = frozenset({"public", "read_models", "past", "information_schema"})


def check_schema(schema: str) -> str:
    """The name, if users' views may lie there. Raises SchemaRefused."""
    if not _SCHEMA.fullmatch(schema):
        raise SchemaRefused(
            f"a schema's name has lower-case letters, digits and _, 63 characters at most, unlike {schema[:80]!r}"
        )
    if schema in _OURS or schema.startswith("pg_"):
        raise SchemaRefused(f"the schema {schema!r} is not for users' views; give it another name")
    return schema


def log_settings(dsn: str) -> dict[str, str]:
    """Of the application that reads the log."""
    return {f"{LOG_PREFIX}DATABASE_URL": dsn}


def lies_elsewhere(name: str, environment: Mapping[str, str]) -> bool:
    """Whether the user's environment says where the view of the projection lies."""
    prefix = f"{name.upper()}_"
    return any(environment.get(prefix + key) for key in _ELSEWHERE)


def view_settings(name: str, dsn: str, schema: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Of the view of the projection."""
    prefix = f"{name.upper()}_"
    if lies_elsewhere(name, environment):
        return {f"{prefix}PERSISTENCE_MODULE": environment.get(f"{prefix}PERSISTENCE_MODULE", "eventsourcing.postgres")}
    parts = conninfo_to_dict(dsn)
    settings = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_SCHEMA": schema,
        "CREATE_TABLE": "yes",
        **{key: str(parts.get(part) or "") for part, key in DSN_SETTINGS.items()},
    }
    # A user's own setting for this projection, such as RUNSPERHOUR_POSTGRES_POOL_SIZE, stands.
    return {f"{prefix}{key}": environment.get(f"{prefix}{key}", value) for key, value in settings.items()}


def libpq_variables(dsn: str) -> dict[str, str]:
    """What the DSN says beyond those settings, such as `sslmode`, as libpq's environment variables."""
    parts = {key: value for key, value in conninfo_to_dict(dsn).items() if key not in DSN_SETTINGS}
    names = {option.keyword.decode(): option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    return {names[key]: str(value) for key, value in parts.items() if key in names and value is not None}
