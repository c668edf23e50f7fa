"""The middleware, outermost first: BeginInTurns (request_turns.py), TraceRequests, CountRequests, AllowOrigins
(cross_origin.py), AnswerErrors, Authenticate (auth.py), LimitRates (rates.py).

Pure ASGI: no response is buffered, so that live streams pass through.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.diagnostic_context import diagnostic_context
from application.observation import conventions as c
from application.observation.span import Span, Value, in_order
from application.ports.telemetry import Spans
from application.trace_context import incoming_span_id, incoming_trace_id, new_trace_id, w3c_trace_id
from interfaces.http.edge.exchange import SCOPE_KEY, Exchange, exchange_of
from interfaces.http.edge.problems import problem_of
from interfaces.http_conventions.answer_headers import send_with_trace
from interfaces.http_conventions.problems import StatusAndReason, internal_error, problem_response

log = logging.getLogger(__name__)
Observe = Callable[[str, str, int, float, str], None]


class TraceRequests:
    """Gives each request an Exchange with a trace id, and sends that id in the response's headers. Its span is that
    of the request, below the caller's."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app, self._spans = app, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        incoming = incoming_trace_id(headers)
        exchange = Exchange(
            trace_id=incoming or new_trace_id(), span_id=self._spans.new_id(), incoming_trace_id=incoming
        )
        scope[SCOPE_KEY] = exchange

        async def send_recording_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)

        began = datetime.now(UTC)
        with diagnostic_context(trace_id=exchange.trace_id, span_id=exchange.span_id):
            try:
                await self._app(
                    scope, receive, send_with_trace(send_recording_status, exchange.trace_id, exchange.span_id)
                )
            finally:
                if exchange.span_id:
                    parent_id = incoming_span_id(headers, exchange.trace_id)
                    self._spans.take(_request_span(scope["method"], exchange, parent_id, began))


def _request_span(method: str, exchange: Exchange, parent_id: str, began: datetime) -> Span:
    about: dict[str, Value] = {c.HTTP_REQUEST_METHOD: method}
    if exchange.route:
        about[c.HTTP_ROUTE] = exchange.route
    if exchange.status:
        about[c.HTTP_RESPONSE_STATUS_CODE] = exchange.status
    start, end = in_order(began, datetime.now(UTC))
    return Span(
        trace_id=w3c_trace_id(exchange.trace_id),
        span_id=exchange.span_id,
        parent_id=parent_id,
        name=f"{method} {exchange.route}".rstrip(),
        kind="server",
        start=start,
        end=end,
        attributes=about,
        error=str(exchange.status) if exchange.status >= 500 else "" if exchange.status else "no_response",
    )


class CountRequests:
    """Reports method, route, status, seconds and trace of each request to `observe`; logs it, GET and HEAD at level
    DEBUG."""

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app, self._observe = app, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = exchange_of(scope)
        try:
            await self._app(scope, receive, send)
        finally:
            seconds = time.perf_counter() - started
            method = scope["method"]
            self._observe(method, exchange.route, exchange.status, seconds, exchange.trace_id)
            log.log(
                logging.DEBUG if method in {"GET", "HEAD"} else logging.INFO,
                "%s %s",
                method,
                exchange.route,
                extra={"status": exchange.status, "milliseconds": round(seconds * 1000, 1), "actor": exchange.actor},
            )


class AnswerErrors:
    """Turns every exception into a problem document. One that is not expected is logged, and answered by a 500 without
    details."""

    def __init__(self, app: ASGIApp, adapter_errors: StatusAndReason) -> None:
        self._app, self._adapter_errors = app, adapter_errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)
        try:
            await self._app(scope, receive, send)
            return
        except ClientDisconnect:
            log.info("the client went away")
            return
        except Exception as error:
            if exchange.status:
                # The response has begun: cut the connection, so that the client notices that it is incomplete.
                raise
            problem = problem_of(error, self._adapter_errors)
            if problem is None:
                log.exception("unhandled error")
                problem = internal_error()
            elif problem.status >= 500:
                log.warning("%s: %s", type(error).__name__, error)
            response = problem_response(problem, exchange.trace_id)
            # A problem's traceback holds this frame, and all that handled the request, its body included: as a variable
            # of this frame it would keep them until the garbage collector comes.
            del problem
        await response(scope, receive, send)
