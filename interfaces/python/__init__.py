"""The log for notebooks and scripts, as an application of the `eventsourcing` library; users' projections on it."""

from interfaces.python.exported_log import ExportedLog
from interfaces.python.fleetlog_application import FleetlogApplication
from interfaces.python.read_only_log import LogIsReadOnly

__all__ = ["ExportedLog", "FleetlogApplication", "LogIsReadOnly"]
