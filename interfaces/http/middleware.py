"""The layers around every request, outermost first: TraceRequests, CountRequests, AnswerErrors, Authenticate (auth.py).

Pure ASGI: nothing here holds a response back, so that live streams pass through untouched.
"""

import logging
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.work_context import work_context
from interfaces.http.exchange import SCOPE_KEY, Exchange, exchange_of
from interfaces.http.problems import internal_error, problem_of, problem_response
from interfaces.http.tracing import incoming_trace_id, new_trace_id, outgoing_traceparent

log = logging.getLogger(__name__)
Observe = Callable[[str, str, int, float], None]


class TraceRequests:
    """Gives each request its Exchange and its trace id, and sends the id back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        incoming = incoming_trace_id(Headers(scope=scope))
        exchange = Exchange(trace_id=incoming or new_trace_id(), incoming_trace_id=incoming)
        scope[SCOPE_KEY] = exchange

        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-trace-id"] = exchange.trace_id
                headers["traceparent"] = outgoing_traceparent(exchange.trace_id)
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        with work_context(trace_id=exchange.trace_id):
            await self._app(scope, receive, send_traced)


class CountRequests:
    """Reports method, route, status and seconds of each request to `observe`, and logs those that change something."""

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
            self._observe(method, exchange.route, exchange.status, seconds)
            log.log(
                logging.DEBUG if method in {"GET", "HEAD"} else logging.INFO,
                "%s %s",
                method,
                exchange.route,
                extra={"status": exchange.status, "milliseconds": round(seconds * 1000, 1), "actor": exchange.actor},
            )


class AnswerErrors:
    """The last resort: every error that reaches it becomes a problem document, and nobody is told what it was."""

    def __init__(self, app: ASGIApp, unavailable_errors: tuple[type[Exception], ...]) -> None:
        self._app, self._unavailable = app, unavailable_errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            log.info("the client went away")
        except Exception as error:
            if exchange.status:
                # The answer has begun: the connection is cut, so that nobody takes the part for the whole.
                raise
            problem = problem_of(error, self._unavailable)
            if problem is None:
                log.exception("unhandled error")
                problem = internal_error()
            elif problem.status >= 500:
                log.warning("%s: %s", type(error).__name__, error)
            await problem_response(problem, exchange.trace_id)(scope, receive, send)
