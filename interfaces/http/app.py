"""The API as an ASGI app, made from its dependencies."""

from collections import defaultdict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interfaces.http.console.routes import CONSOLE_ROUTES
from interfaces.http.edge.auth import Authenticate
from interfaces.http.edge.cross_origin import AllowOrigins
from interfaces.http.edge.dependencies import ApiDependencies
from interfaces.http.edge.dispatch import PathApp
from interfaces.http.edge.documentation import documentation_routes
from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.edge.exchange import exchange_of
from interfaces.http.edge.middleware import AnswerErrors, CountRequests, TraceRequests
from interfaces.http.edge.rates import LimitRates
from interfaces.http.edge.request_turns import BeginInTurns
from interfaces.http.routes import ENDPOINTS
from interfaces.http_conventions.problems import problem_response, routing_problem


def create_app(deps: ApiDependencies) -> Starlette:
    """The app: all endpoints of the table, the OpenAPI document and its page, and the console."""
    by_path: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    for endpoint in ENDPOINTS:
        by_path[endpoint.path][endpoint.method] = endpoint
    # Paths with fewer parameters match first, so that /api/runs/start is not read as the run "start".
    ordered = sorted(by_path.items(), key=lambda item: item[0].count("{"))
    app = Starlette(
        routes=[
            *(Route(path, PathApp(deps, endpoints)) for path, endpoints in ordered),
            *documentation_routes(ENDPOINTS),
            *CONSOLE_ROUTES,
        ],
        middleware=[
            Middleware(BeginInTurns),
            Middleware(TraceRequests, spans=deps.spans),
            Middleware(CountRequests, observe=deps.request_metrics.observe),
            Middleware(AllowOrigins, origins=deps.allowed_origins),
            Middleware(AnswerErrors, adapter_errors=deps.adapter_errors),
            Middleware(Authenticate, keys=deps.api_keys),
            Middleware(LimitRates, rates=deps.rates),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False
    return app


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors: unknown paths, and methods that a page does not have."""
    assert isinstance(error, HTTPException)
    return problem_response(routing_problem(error, request.url.path), exchange_of(request.scope).trace_id)
