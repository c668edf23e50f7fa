"""CORS: pages of the origins that `FLEETLOG_ALLOWED_ORIGINS` names may call the API from a browser, with an API key.

Credentials are off: no cookie is ever sent or used. Of other origins' requests the answers say nothing, so that a
browser withholds them from the page. Follows https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.trace_context import TRACE_ID_HEADER, TRACEPARENT_HEADER

METHODS = "GET, HEAD, POST, PUT"
SENT_HEADERS = (
    "accept, authorization, cache-control, content-type, idempotency-key, last-event-id, traceparent, tracestate, "
    "x-actor, x-request-id, x-requested-with, x-trace-id"
)
READ_HEADERS = (
    "allow, content-disposition, idempotent-replay, retry-after, www-authenticate, x-as-of-position, "
    f"{TRACE_ID_HEADER}, {TRACEPARENT_HEADER}"
)
"""What a page may read of an answer besides what browsers let it read anyway."""
PREFLIGHT_S = 600
"""How long a browser may remember what it was allowed."""


class AllowOrigins:
    """Middleware: answers preflights, and lets pages of these origins read all answers, errors too."""

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        allowed = origin in self._origins
        if allowed and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(origin)(scope, receive, send)
            return

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.add_vary_header("Origin")
                if allowed:
                    answer["access-control-allow-origin"] = origin
                    answer["access-control-expose-headers"] = READ_HEADERS
            await send(message)

        await self._app(scope, receive, send_allowed)


def _preflight(origin: str) -> Response:
    return Response(
        status_code=204,
        headers={
            "access-control-allow-origin": origin,
            "access-control-allow-methods": METHODS,
            "access-control-allow-headers": SENT_HEADERS,
            "access-control-max-age": str(PREFLIGHT_S),
            "vary": "Origin",
        },
    )
