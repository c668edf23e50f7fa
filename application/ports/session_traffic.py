"""How much the runs of a session record in an hour."""

from typing import Protocol

import msgspec


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """`bytes`: of the events' payloads."""

    events: int
    bytes: int


class SessionTraffic(Protocol):
    async def add(self, session_id: str, added: Traffic) -> Traffic:
        """Count more; the session's traffic of the present hour over all processes, as far as this one knows: what
        others have counted it learns about once a second."""
        ...
