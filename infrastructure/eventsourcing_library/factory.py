"""The `eventsourcing` library's persistence module on Fleetlog's tables.

Its PERSISTENCE_MODULE is `infrastructure.eventsourcing_library.factory`. Settings, as the library names them:
POSTGRES_DBNAME, POSTGRES_HOST, POSTGRES_PORT, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_POOL_SIZE, or DATABASE_URL
in place of the first five; ORIGINATOR_ID_TYPE (`uuid`, or `text`). The tables come from the migrations: CREATE_TABLE
must be `no`, or absent.

Each application has a tenant of its own, named after it; `{NAME}_FLEETLOG_TENANT` names another one. The application
`fleetlog` is the product: it reads the product's tenant (FLEETLOG_TENANT, `default`), whose ids are text, and so does a
factory for no application. docs/decisions/library-applications.md has the reasons.
"""

from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    Mapper,
    ProcessRecorder,
    TrackingRecorder,
    Transcoder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool
from psycopg.conninfo import make_conninfo

from domain.errors import InvalidInput
from domain.identifiers import DEFAULT_TENANT, check_id
from infrastructure.eventsourcing_library.dsn_settings import DSN_SETTINGS
from infrastructure.eventsourcing_library.log_connections import LogConnections
from infrastructure.eventsourcing_library.mapper import FleetlogMapper
from infrastructure.eventsourcing_library.recorder import (
    LogAggregateRecorder,
    LogProcessRecorder,
    LogRecorder,
    LogTrackingRecorder,
    SnapshotRecorder,
)

PRODUCT = "fleetlog"
"""The name of the application whose events are the product's."""

_TENANT = "FLEETLOG_TENANT"
_ID_TYPE = "ORIGINATOR_ID_TYPE"
_ID_TYPES: dict[str, type[UUID] | type[str]] = {"uuid": UUID, "text": str}


class FleetlogFactory(InfrastructureFactory[TrackingRecorder]):
    """All recorders of one factory share its connections."""

    def __init__(self, env: Environment | EnvType | None) -> None:
        """Raises OSError for settings that are missing or make no sense here."""
        super().__init__(env)
        if strtobool(self.env.get("CREATE_TABLE") or "no"):
            raise OSError("CREATE_TABLE must be 'no': Fleetlog's tables come from its migrations")
        dsn = self.env.get("DATABASE_URL") or make_conninfo(
            **{name: self.env.get(key, "") for name, key in DSN_SETTINGS.items()}
        )
        if not dsn:
            raise OSError("Neither DATABASE_URL nor POSTGRES_DBNAME is set")
        self.log = LogConnections(
            dsn,
            tenant=_tenant(self.env),
            pool_size=int(self.env.get("POSTGRES_POOL_SIZE") or 5),
            id_type=_id_type(self.env),
        )

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        if mapper_class is None and not self.env.get(self.MAPPER_TOPIC):
            mapper_class = FleetlogMapper
        return super().mapper(transcoder=transcoder, mapper_class=mapper_class)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        return SnapshotRecorder(self.log) if purpose == "snapshots" else LogAggregateRecorder(self.log)

    def application_recorder(self) -> ApplicationRecorder:
        recorder: ApplicationRecorder = self._recorder(self.APPLICATION_RECORDER_TOPIC, LogRecorder)
        return recorder

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> TrackingRecorder:
        if tracking_recorder_class is not None:
            return tracking_recorder_class(self.log)  # type: ignore[call-arg]  # the library's base takes no arguments
        recorder: TrackingRecorder = self._recorder(self.TRACKING_RECORDER_TOPIC, LogTrackingRecorder)
        return recorder

    def process_recorder(self) -> ProcessRecorder:
        recorder: ProcessRecorder = self._recorder(self.PROCESS_RECORDER_TOPIC, LogProcessRecorder)
        return recorder

    def close(self) -> None:
        self.log.close()

    def __exit__(self, *args: object) -> None:
        super().__exit__(None, None, None)
        self.close()

    def _recorder(self, topic_setting: str, default: Any) -> Any:
        topic = self.env.get(topic_setting)
        return (resolve_topic(topic) if topic else default)(self.log)


def _is_product(env: Environment) -> bool:
    return env.name.lower() in ("", PRODUCT)


def _tenant(env: Environment) -> str:
    """FLEETLOG_TENANT alone, without an application's name before it, names the product's tenant to all applications of
    an environment. Were it theirs, a projection over the product's events would read what it writes, without end."""
    product = dict.get(env, _TENANT) or DEFAULT_TENANT
    named_setting = f"{env.name.upper()}_{_TENANT}"
    named = dict.get(env, named_setting) if env.name else None
    try:
        tenant = check_id("tenant", named or (product if _is_product(env) else env.name))
    except InvalidInput as error:
        raise OSError(f"{error}. Set {named_setting} to a tenant for application {env.name!r}") from error
    if tenant == product and not named and not _is_product(env):
        raise OSError(f"Application {env.name!r} has the name of the product's tenant. Set {named_setting}")
    return tenant


def _id_type(env: Environment) -> type[UUID] | type[str]:
    if env.name.lower() == PRODUCT:
        return str
    setting = env.get(_ID_TYPE) or "uuid"
    if setting.lower() not in _ID_TYPES:
        raise OSError(f"Invalid {_ID_TYPE} {setting!r}, must be 'uuid' or 'text'")
    return _ID_TYPES[setting.lower()]
