"""Restarts an embedded server that crashed or was killed, at its previous address."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from application.repairs.kinds import EMBEDDED_SERVER
from application.repairs.said import UNCOUNTED, Found, Repairs
from application.task_cancellation import cancel_and_wait
from infrastructure.embedded.errors import EmbeddedServerError

log = logging.getLogger(__name__)
CHECK_INTERVAL_S = 1.0
TRIES_WITHOUT_BACKOFF = 8
LONGEST_PAUSE_S = 30.0
CLEAR_UP_S = 30.0
"""How long a start that is broken off may take to end what it has started."""


class EmbeddedServer(Protocol):
    """Implemented by both embedded servers."""

    @property
    def title(self) -> str: ...

    def has_ended(self) -> bool:
        """Whether the process that was started or adopted has ended."""
        ...

    async def start_again(self) -> None:
        """Start it at its previous address. Raises EmbeddedServerError."""
        ...


@asynccontextmanager
async def restart_on_exit(server: EmbeddedServer, repairs: Repairs = UNCOUNTED) -> AsyncIterator[None]:
    """Inside, the server is restarted whenever it has ended. Leave before stopping it."""
    watching = asyncio.create_task(_restart_whenever_ended(server, repairs), name=f"restart {server.title}")
    try:
        yield
    finally:
        await cancel_and_wait([watching], again_after_s=CLEAR_UP_S)


async def _restart_whenever_ended(server: EmbeddedServer, repairs: Repairs) -> None:
    failures = 0
    while True:
        await asyncio.sleep(_pause(failures))
        try:
            if not server.has_ended():
                failures = 0
                continue
            log.error("the embedded %s has ended; it is started again", server.title)
            await server.start_again()
        except (EmbeddedServerError, OSError) as error:
            failures += 1
            next_s = _pause(failures)
            log.error("the embedded %s could not be started again, next try in %g s: %s", server.title, next_s, error)  # noqa: TRY400  its text is written for people, without a traceback
        except Exception:
            failures += 1
            log.exception(
                "the embedded %s could not be started again, next try in %g s", server.title, _pause(failures)
            )
        else:
            repairs.made(EMBEDDED_SERVER, Found(about={"server": server.title}))


def _pause(failures: int) -> float:
    """Seconds until the next check. Short at first: what a killed server left behind (children, memory) goes soon."""
    doublings = min(max(failures - TRIES_WITHOUT_BACKOFF, 0), 10)
    return min(CHECK_INTERVAL_S * float(2**doublings), LONGEST_PAUSE_S)
