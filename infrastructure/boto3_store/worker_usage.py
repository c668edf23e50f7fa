"""How much one session worker may use the store at once and within an hour: one that was taken over must not fill the
store, nor take it from the others."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from infrastructure.boto3_store.worker_requests import Refused

AT_ONCE = 16
"""Requests of one session worker under way; an executor makes eight and a few more."""
OWN = 2
"""Of these, so many have a place whatever the other sessions do."""
WAITING = 64
"""Further ones of it that wait for these."""
WAIT_S = 20.0
HOUR_S = 3600.0
BYTES_AN_HOUR = 256 * 1024**3
"""Written, by one session: more than a workspace can hold, several times over."""
REQUESTS_AN_HOUR = 1_000_000
_REMEMBERED = 10_000


class _Session:
    def __init__(self, now: float) -> None:
        self.slots = asyncio.Semaphore(AT_ONCE)
        self.users = 0
        self.own = 0
        self.since = now
        self.requests = 0
        self.written = 0


class WorkerUsage:
    """`clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    @asynccontextmanager
    async def slot(self, session_id: str, length: int) -> AsyncIterator[bool]:
        """One of the session's, for a request with a body of `length` bytes; whether it is one of its OWN. Raises
        Refused (SlowDown) when none gets free, or the session has had enough in this hour."""
        found = self._found(session_id)
        found.requests += 1
        found.written += length
        if found.requests > REQUESTS_AN_HOUR or found.written > BYTES_AN_HOUR:
            found.written -= length
            raise Refused(
                503,
                "SlowDown",
                f"session {session_id} has made {found.requests} requests and written {found.written} bytes in this "
                f"hour; {REQUESTS_AN_HOUR} and {BYTES_AN_HOUR} are allowed",
            )
        if found.users >= AT_ONCE + WAITING:
            raise _busy()
        found.users += 1
        try:
            try:
                async with asyncio.timeout(WAIT_S):
                    await found.slots.acquire()
            except TimeoutError:
                raise _busy() from None
            own = found.own < OWN
            found.own += own
            try:
                yield own
            finally:
                found.own -= own
                found.slots.release()
        finally:
            found.users -= 1

    def _found(self, session_id: str) -> _Session:
        now = self._clock()
        found = self._sessions.get(session_id)
        if found is None:
            found = self._sessions[session_id] = _Session(now)
            self._forget_some()
        elif now - found.since >= HOUR_S:
            found.since, found.requests, found.written = now, 0, 0
        self._sessions.move_to_end(session_id)
        return found

    def _forget_some(self) -> None:
        if len(self._sessions) > _REMEMBERED:
            oldest = next((name for name, each in self._sessions.items() if not each.users), None)
            if oldest is not None:
                del self._sessions[oldest]


def _busy() -> Refused:
    return Refused(503, "SlowDown", f"{AT_ONCE} requests of this session are under way")
