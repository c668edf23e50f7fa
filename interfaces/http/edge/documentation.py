"""`/openapi.json`, and `/docs`: a page that shows it and loads nothing from other hosts. `/` redirects to it."""

from importlib.resources import files

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.edge.openapi import openapi_document

_POLICY = (
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
)


async def docs_page(_request: Request) -> Response:
    page = (files(__package__) / "docs.html").read_text(encoding="utf-8")
    return HTMLResponse(page, headers={"content-security-policy": _POLICY})


async def home(_request: Request) -> Response:
    return RedirectResponse("/docs", status_code=307, headers={"cache-control": "no-store"})


def documentation_routes(endpoints: tuple[Endpoint, ...]) -> tuple[Route, ...]:
    """The routes that describe these endpoints."""

    async def openapi_json(_request: Request) -> Response:
        return Response(msgspec.json.encode(openapi_document(endpoints)), media_type="application/json")

    return (
        Route("/", home, methods=["GET"]),
        Route("/openapi.json", openapi_json, methods=["GET"]),
        Route("/docs", docs_page, methods=["GET"]),
    )
