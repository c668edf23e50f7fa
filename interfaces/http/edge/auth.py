"""Authentication: API keys, and what is allowed without any.

With keys configured the caller sends `Authorization: Bearer <key>`. The key's name is the actor of its commands; with
`X-Actor: alice` the actor is `name/alice`. Without keys the server listens on loopback only, and the actor is `X-Actor`
or `anonymous`. A browser on this machine reaches loopback too, so requests whose Host is no loopback name (DNS
rebinding), whose Origin is another one, which a page of another site or port has caused (`Sec-Fetch-Site`), or which a
proxy has passed on (`Forwarded`, `X-Forwarded-*`) are refused: others than this machine's own user need keys.
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
from interfaces.http.edge.exchange import Exchange, exchange_of
from interfaces.http_conventions.problems import Problem, invalid, problem_response

ANONYMOUS = "anonymous"
OWN_SITES = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site: our own pages, and what the user has typed."""


@dataclass(frozen=True, kw_only=True)
class KeyHash:
    """A configured API key: its name, and the SHA-256 of the key in hex."""

    name: str
    sha256: str


class Authenticate:
    """Middleware: sets the exchange's actor. It refuses nobody; dispatch.py does, by the endpoint's `access`."""

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
    """Set the exchange's `actor`, or its `refusal`: a text for the caller. Raises Problem 400 for a bad X-Actor."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    exchange.token = token.strip() if scheme.lower() == "bearer" else ""
    on_behalf = headers.get("x-actor", "")
    if on_behalf:
        try:
            check_id("X-Actor", on_behalf)
        except InvalidInput as error:
            raise invalid(error.field, error.message) from error
    if not keys:
        exchange.refusal = _cross_origin_refusal(headers)
        exchange.actor = None if exchange.refusal else (on_behalf or ANONYMOUS)
        return
    name = _key_name(exchange.token, keys)
    if name is None:
        exchange.refusal = "the bearer key is not known" if exchange.token else "send Authorization: Bearer <API key>"
        return
    exchange.key_name = name
    exchange.actor = f"{name}/{on_behalf}" if on_behalf else name


def require_actor(exchange: Exchange) -> str:
    """The actor. Raises Problem 401 without a valid key, 403 for a foreign host or origin."""
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
    # All keys are compared, each in constant time, so that the time taken reveals nothing.
    for key in keys:
        if hmac.compare_digest(given, key.sha256.lower()):
            found = key.name
    return found


def _cross_origin_refusal(headers: Mapping[str, str]) -> str:
    """Why a request is refused when no keys are configured: its host or origin; empty if it is allowed."""
    host = headers.get("host", "")
    if not _is_loopback(host):
        return f"without API keys only requests to a loopback name are served, not to {host[:100]!r}"
    origin = headers.get("origin", "")
    if origin and urlsplit(origin).netloc.lower() != host.lower():
        return f"without API keys no requests from other origins are served: {origin[:100]!r}"
    site = headers.get("sec-fetch-site", "none")
    if site not in OWN_SITES:
        return f"without API keys no requests from other origins are served (Sec-Fetch-Site: {site[:20]!r})"
    passed_on = next((name for name in headers if name == "forwarded" or name.startswith("x-forwarded-")), "")
    if passed_on:
        return f"without API keys nothing that a proxy passes on is served: {passed_on[:100]!r}; set FLEETLOG_API_KEYS"
    return ""


def browser_refusal(headers: Mapping[str, str]) -> str:
    """Why a GET that costs much is refused where no keys are configured: any page could have an old browser send it,
    as a picture, and such a browser says nothing of the page. Empty if no browser or our own page sends it."""
    if "sec-fetch-site" in headers or not headers.get("user-agent", "").startswith("Mozilla/"):
        return ""
    return "without API keys this is not served to a browser that does not send Sec-Fetch-Site; use a newer one"


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
