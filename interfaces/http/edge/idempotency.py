"""`Idempotency-Key` on commands: the same key with the same request gets the first answer again.

The command's id, and the ids of its events, derive from the key. So if the first answer was lost in a crash, handling
the command again appends no event twice.

Whoever handles a command leases its key for LEASE_S seconds at a time: after a crash the key is free again when the
lease has run out, and when the caller goes away, at once.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from application.ports.idempotency_keys import Begun, IdempotencyKeys, InProgress, KeyState, OtherBody, StoredAnswer
from application.task_cancellation import cancel_and_wait
from interfaces.http.edge.dependencies import ApiDependencies
from interfaces.http.edge.exchange import Exchange
from interfaces.http.edge.problems import problem_of
from interfaces.http_conventions.problems import Problem, invalid, problem_response

HEADER = "Idempotency-Key"
MAX_KEPT_BYTES = 256 * 1024
LEASE_S = 5.0
PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Before a key in use is asked for again: its first caller may just have gone away, which takes a moment to notice."""
log = logging.getLogger(__name__)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, kw_only=True)
class KeyedCommand:
    """A command with an idempotency key. `fingerprint`: SHA-256 over method, path, query and body."""

    actor: str
    key: str
    fingerprint: str
    trace_id: str

    @property
    def command_id(self) -> str:
        """The command's id: the same for the same actor and key."""
        return "key-" + hashlib.sha256(f"{self.actor}\0{self.key}".encode()).hexdigest()[:40]

    async def answered_once(self, deps: ApiDependencies, handle: Callable[[], Awaitable[Response]]) -> Response:
        """The stored answer, or that of `handle` if there is none. Raises Problem 409 if the key was used with another
        request, or while the first request is being handled.

        Nothing but `handle` may be cancelled because the caller went away: the key would stay leased."""
        match await self._begun(deps.idempotency_keys):
            case OtherBody():
                raise _conflict("idempotency_key_reused", f"this {HEADER} was used with another request")
            case InProgress():
                raise _conflict(
                    "idempotency_in_progress", f"the first request with this {HEADER} is still being handled", retry="1"
                )
            case StoredAnswer(body=None):
                return await handle()
            case StoredAnswer(status=status, media_type=media_type, body=body):
                return Response(body, status, media_type=media_type, headers={"idempotent-replay": "true"})
            case Begun(lease=lease):
                return await self._first(deps, lease, handle)

    async def _begun(self, keys: IdempotencyKeys) -> KeyState:
        for pause_s in PAUSES_S:
            state = await keys.begin(self.actor, self.key, self.fingerprint, LEASE_S)
            if not isinstance(state, InProgress):
                return state
            await asyncio.sleep(pause_s)
        return await keys.begin(self.actor, self.key, self.fingerprint, LEASE_S)

    @contextlib.asynccontextmanager
    async def _leased(self, keys: IdempotencyKeys, lease: str) -> AsyncIterator[None]:
        """Renews the lease while inside. Where that fails, another request may handle the command, too: no harm."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_S / 3)
                try:
                    await keys.renew(self.actor, self.key, lease, LEASE_S)
                except Exception:  # whatever the adapter raises, the command goes on
                    log.warning("the lease of an idempotency key could not be renewed", exc_info=True)

        renewing = asyncio.create_task(renew(), name="idempotency key")
        try:
            yield
        finally:
            await cancel_and_wait([renewing])

    async def _first(self, deps: ApiDependencies, lease: str, handle: Callable[[], Awaitable[Response]]) -> Response:
        try:
            async with self._leased(deps.idempotency_keys, lease):
                response = await handle()
        except Exception as error:
            problem = problem_of(error, deps.adapter_errors)
            if problem is None or problem.status >= 500:
                await deps.idempotency_keys.abandon(self.actor, self.key, lease)
                raise
            response = problem_response(problem, self.trace_id)
            del problem  # as in AnswerErrors (middleware.py)
        except BaseException:
            await deps.idempotency_keys.abandon(self.actor, self.key, lease)
            raise
        await deps.idempotency_keys.complete(self.actor, self.key, lease, _kept(response))
        return response


def keyed_command(request: Request, exchange: Exchange, raw: bytearray) -> KeyedCommand | None:
    """The command with its key; None without a key. Raises Problem 400 for a malformed key."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise invalid(HEADER, "must be 1 to 255 printable ASCII characters without spaces")
    fingerprint = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\0".encode())
    fingerprint.update(raw)
    return KeyedCommand(
        actor=exchange.actor or "",
        key=key,
        fingerprint=fingerprint.hexdigest(),
        trace_id=exchange.trace_id,
    )


def _kept(response: Response) -> StoredAnswer:
    media_type = response.headers.get("content-type", "application/json")
    body = None if media_type.startswith("text/event-stream") else bytes(response.body)
    if body is not None and len(body) > MAX_KEPT_BYTES:
        body = None
    return StoredAnswer(status=response.status_code, media_type=media_type, body=body)


def _conflict(reason: str, detail: str, retry: str = "") -> Problem:
    headers = {"retry-after": retry} if retry else {}
    return Problem(409, "conflict", "Idempotency conflict", detail, extra={"reason": reason}, headers=headers)
