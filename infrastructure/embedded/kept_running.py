"""Keeps an embedded server running: one that crashed or was killed is started again where it was."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from infrastructure.embedded.errors import EmbeddedServerError

log = logging.getLogger(__name__)
LOOK_AROUND_S = 0.5
SHORT_PAUSES = 8
LONGEST_PAUSE_S = 30.0


class EmbeddedServer(Protocol):
    """What both embedded servers have."""

    @property
    def title(self) -> str: ...

    def has_ended(self) -> bool:
        """Whether the process that was started, or adopted, is not there any more."""
        ...

    async def start_again(self) -> None:
        """Start it at the address that its clients know. Raises EmbeddedServerError."""
        ...


@asynccontextmanager
async def kept_running(server: EmbeddedServer) -> AsyncIterator[None]:
    """Inside, the server is started again whenever it has ended; leave before it is stopped."""
    keeping = asyncio.create_task(_keep(server), name=f"keep {server.title}")
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep(server: EmbeddedServer) -> None:
    failures = 0
    while True:
        await asyncio.sleep(_pause(failures))
        if not server.has_ended():
            failures = 0
            continue
        log.error("the embedded %s has ended; it is started again", server.title)
        try:
            await server.start_again()
        except (EmbeddedServerError, OSError) as error:
            failures += 1
            next_s = _pause(failures)
            log.error("the embedded %s could not be started again, next try in %g s: %s", server.title, next_s, error)  # noqa: TRY400  its text is made for people
        except Exception:
            failures += 1
            log.exception(
                "the embedded %s could not be started again, next try in %g s", server.title, _pause(failures)
            )
        else:
            log.warning("the embedded %s runs again", server.title)


def _pause(failures: int) -> float:
    """In seconds. Short for the first tries: what a killed one has left behind (its children, memory) goes soon."""
    doublings = min(max(failures - SHORT_PAUSES, 0), 10)
    return min(LOOK_AROUND_S * float(2**doublings), LONGEST_PAUSE_S)
