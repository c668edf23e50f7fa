"""The `eventsourcing` library's persistence module on Fleetlog's tables.

Its PERSISTENCE_MODULE is `infrastructure.eventstore.factory`. Settings, as the library names them: POSTGRES_DBNAME,
POSTGRES_HOST, POSTGRES_PORT, POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_POOL_SIZE, or DATABASE_URL in place of the
first five; FLEETLOG_TENANT (`default`). The tables come from the migrations: CREATE_TABLE must be `no`, or absent.
"""

from typing import Any

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

from domain.identifiers import DEFAULT_TENANT
from infrastructure.eventstore.log_connections import LogConnections
from infrastructure.eventstore.mapper import FleetlogMapper
from infrastructure.eventstore.recorder import LogProcessRecorder, LogRecorder, LogTrackingRecorder, SnapshotRecorder

_DSN_SETTINGS = {
    "dbname": "POSTGRES_DBNAME",
    "host": "POSTGRES_HOST",
    "port": "POSTGRES_PORT",
    "user": "POSTGRES_USER",
    "password": "POSTGRES_PASSWORD",
}


class FleetlogFactory(InfrastructureFactory[TrackingRecorder]):
    """All recorders of one factory share its connections."""

    def __init__(self, env: Environment | EnvType | None) -> None:
        """Raises OSError for settings that are missing or make no sense here."""
        super().__init__(env)
        if strtobool(self.env.get("CREATE_TABLE") or "no"):
            raise OSError("CREATE_TABLE must be 'no': Fleetlog's tables come from its migrations")
        dsn = self.env.get("DATABASE_URL") or make_conninfo(
            **{name: self.env.get(key, "") for name, key in _DSN_SETTINGS.items()}
        )
        if not dsn:
            raise OSError("Neither DATABASE_URL nor POSTGRES_DBNAME is set")
        self.log = LogConnections(
            dsn,
            tenant=self.env.get("FLEETLOG_TENANT") or DEFAULT_TENANT,
            pool_size=int(self.env.get("POSTGRES_POOL_SIZE") or 5),
        )

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        if mapper_class is None and not self.env.get(self.MAPPER_TOPIC):
            mapper_class = FleetlogMapper
        return super().mapper(transcoder=transcoder, mapper_class=mapper_class)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        return SnapshotRecorder(self.log) if purpose == "snapshots" else LogRecorder(self.log)

    def application_recorder(self) -> ApplicationRecorder:
        recorder: ApplicationRecorder = self._recorder(self.APPLICATION_RECORDER_TOPIC, LogRecorder)
        return recorder

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> TrackingRecorder:
        recorder: TrackingRecorder = self._recorder(
            self.TRACKING_RECORDER_TOPIC, tracking_recorder_class or LogTrackingRecorder
        )
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
