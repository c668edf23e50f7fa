"""Whose runs take turns with whose in the run queue."""

import msgspec

from domain.identifiers import DEFAULT_TENANT
from domain.run.values import PRIORITIES, Priority, RunSpec


class QueueShare(msgspec.Struct, frozen=True, kw_only=True):
    """Runs with the same share are claimed in the order of the log; the shares of a priority take turns."""

    priority: Priority = "normal"
    app_id: str = ""
    project_name: str = ""
    user_login_name: str = ""

    @property
    def key(self) -> str:
        """Unique; ids have no spaces."""
        return f"{DEFAULT_TENANT} {self.priority} {self.app_id} {self.project_name} {self.user_login_name}"

    @property
    def rank(self) -> int:
        """Of its priority; the lowest is claimed first."""
        return PRIORITIES.index(self.priority)


def share_of(spec: RunSpec) -> QueueShare:
    return QueueShare(
        priority=spec.priority,
        app_id=spec.app_id,
        project_name=spec.project_name,
        user_login_name=spec.user_login_name,
    )
