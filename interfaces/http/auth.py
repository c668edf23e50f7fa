"""Who is calling: API keys, and what is allowed without any.

With keys configured the caller sends `Authorization: Bearer <key>`; the key's name is the actor of everything that it
does, and `X-Actor: alice` beside it records `name/alice`. Without keys (the server then listens on loopback alone) the
actor is `X-Actor`, or `anonymous`; and requests that a web page of another origin could send are refused, by their Host
and Origin, because a browser on this machine reaches loopback too.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from domain.errors import InvalidInput
from domain.identifiers import check_id
from interfaces.http.exchange import Exchange, exchange_of
from interfaces.http.problems import Problem, invalid, problem_response

ANONYMOUS = "anonymous"


@dataclass(frozen=True, kw_only=True)
class KeyHash:
    """An API key: its name, and the SHA-256 of the key in hex."""

    name: str
    sha256: str


class Authenticate:
    """Finds out who is calling and writes it into the exchange; each endpoint decides who may (dispatch.py)."""

    def __init__(self, app: ASGIApp, keys: tuple[KeyHash, ...]) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            exchange = exchange_of(scope)
            try:
                identify(Headers(scope=scope), self._keys, exchange)
            except Problem as problem:
                await problem_response(problem, exchange.trace_id)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def identify(headers: Mapping[str, str], keys: tuple[KeyHash, ...], exchange: Exchange) -> None:
    """Set the exchange's actor, or `refusal` with what to tell the caller. Raises Problem 400 for a bad X-Actor."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    exchange.token = token.strip() if scheme.lower() == "bearer" else ""
    on_behalf = headers.get("x-actor", "")
    if on_behalf:
        try:
            check_id("X-Actor", on_behalf)
        except InvalidInput as error:
            raise invalid(error.field, error.message) from error
    if not keys:
        exchange.refusal = _foreign(headers)
        exchange.actor = None if exchange.refusal else (on_behalf or ANONYMOUS)
        return
    name = _key_name(exchange.token, keys)
    if name is None:
        exchange.refusal = "the bearer key is not known" if exchange.token else "send Authorization: Bearer <API key>"
        return
    exchange.actor = f"{name}/{on_behalf}" if on_behalf else name


def require_actor(exchange: Exchange) -> str:
    """The actor. Raises Problem 401, or 403 for a request from another origin."""
    if exchange.actor is not None:
        return exchange.actor
    if exchange.refusal.startswith("without API keys"):
        raise Problem(403, "forbidden", "Forbidden", exchange.refusal)
    raise Problem(
        401, "unauthorized", "Unauthorized", exchange.refusal, headers={"www-authenticate": 'Bearer realm="fleetlog"'}
    )


def _key_name(token: str, keys: tuple[KeyHash, ...]) -> str | None:
    given = hashlib.sha256(token.encode()).hexdigest()
    found = None
    # Every key is compared, each in constant time: the time taken tells nothing.
    for key in keys:
        if hmac.compare_digest(given, key.sha256.lower()):
            found = key.name
    return found


def _foreign(headers: Mapping[str, str]) -> str:
    """Why a request without keys is not from this machine's own user; empty when it is."""
    host = headers.get("host", "")
    if not _is_loopback(host):
        return f"without API keys only requests to a loopback name are served, not to {host[:100]!r}"
    origin = headers.get("origin", "")
    if origin and urlsplit(origin).netloc.lower() != host.lower():
        return f"without API keys no requests from other origins are served: {origin[:100]!r}"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
