"""An exported file, as the same application as the log that it was exported from."""

from collections.abc import Iterator
from pathlib import Path

from domain.record import RecordedEvent
from interfaces.python.read_only_log import ReadOnlyLog


class ExportedLog(ReadOnlyLog):
    """What `fleetlog export` has written; no database is needed. `close` it when done, or use it as a context manager.
    A subscription ends after the file's last event. Hashes are verified by `script/verify-log`, not here.

    Raises infrastructure.audit.exported_file.NotAnExport, an OSError, for a file that is missing or something else.
    """

    name = "fleetlog"
    defaults = {"IS_SNAPSHOTTING_ENABLED": "no"}  # noqa: RUF012

    def __init__(self, path: str | Path, *, tenant: str = "default") -> None:
        prefix = self.name.upper()
        settings = {
            # Not a default: a setting of the environment for the same name would open a database.
            "PERSISTENCE_MODULE": "infrastructure.audit.exported_file",
            "EXPORT_FILE": str(path),
            "FLEETLOG_TENANT": tenant,
        }
        super().__init__(env={f"{prefix}_{key}": value for key, value in settings.items()})

    def __iter__(self) -> Iterator[RecordedEvent]:
        """All events, in order."""
        return self.recorded_events()
