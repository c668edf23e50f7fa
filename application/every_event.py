"""Importing this registers every event type of the log: for whoever reads events of any kind."""

from domain.operations import events as operations
from domain.operations import projection_events
from domain.run import events as runs
from domain.session import events as sessions

__all__ = ["operations", "projection_events", "runs", "sessions"]
