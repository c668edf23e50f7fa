"""`/metrics` of a process without the API, and nothing else: what a `fleetlog worker` has counted itself, and what it
alone knows."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from application.ports.operations import MetricsSource
from application.ports.telemetry import NO_SPANS
from interfaces.http.edge.auth import Authenticate, KeyHash, require_actor
from interfaces.http.edge.exchange import exchange_of
from interfaces.http.edge.metrics import RequestMetrics
from interfaces.http.edge.middleware import AnswerErrors, TraceRequests
from interfaces.http_conventions.problems import problem_response, routing_problem


def create_metrics_app(counted: RequestMetrics, source: MetricsSource, keys: tuple[KeyHash, ...]) -> Starlette:
    """The same keys as for the API."""

    async def metrics(request: Request) -> Response:
        require_actor(exchange_of(request.scope))
        body, content_type = await counted.render(source, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})

    return Starlette(
        routes=[Route("/metrics", metrics, methods=["GET"])],
        middleware=[
            Middleware(TraceRequests, spans=NO_SPANS),
            Middleware(AnswerErrors, adapter_errors={}),
            Middleware(Authenticate, keys=keys),
        ],
        exception_handlers={HTTPException: _not_here},
    )


async def _not_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(routing_problem(error, request.url.path), exchange_of(request.scope).trace_id)
