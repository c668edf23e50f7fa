"""The API as an ASGI app. Its collaborators are arguments: only the composition root knows the real ones."""

from collections import defaultdict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interfaces.http.auth import Authenticate
from interfaces.http.console.routes import CONSOLE_ROUTES
from interfaces.http.dependencies import ApiDependencies
from interfaces.http.dispatch import PathApp
from interfaces.http.documentation import DOCUMENTATION_ROUTES
from interfaces.http.endpoint import Endpoint
from interfaces.http.exchange import exchange_of
from interfaces.http.middleware import AnswerErrors, CountRequests, TraceRequests
from interfaces.http.problems import Problem, problem_response
from interfaces.http.routes import ENDPOINTS


def create_app(deps: ApiDependencies) -> Starlette:
    """The app with every endpoint of the table, its OpenAPI document and page, and the console."""
    by_path: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    for endpoint in ENDPOINTS:
        by_path[endpoint.path][endpoint.method] = endpoint
    # A path with fewer parameters comes first, so that /api/runs/start is never taken for a run named "start".
    ordered = sorted(by_path.items(), key=lambda item: item[0].count("{"))
    app = Starlette(
        routes=[
            *(Route(path, PathApp(deps, endpoints)) for path, endpoints in ordered),
            *DOCUMENTATION_ROUTES,
            *CONSOLE_ROUTES,
        ],
        middleware=[
            Middleware(TraceRequests),
            Middleware(CountRequests, observe=deps.request_metrics.observe),
            Middleware(AnswerErrors, unavailable_errors=deps.unavailable_errors),
            Middleware(Authenticate, keys=deps.api_keys),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False
    return app


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown paths, and methods of pages."""
    assert isinstance(error, HTTPException)
    kinds = {404: ("not-found", "Not found"), 405: ("method-not-allowed", "Method not allowed")}
    kind, title = kinds.get(error.status_code, ("refused", "Refused"))
    detail = f"there is nothing at {request.url.path[:200]}" if error.status_code == 404 else error.detail
    problem = Problem(error.status_code, kind, title, detail, headers=dict(error.headers or {}))
    return problem_response(problem, exchange_of(request.scope).trace_id)
