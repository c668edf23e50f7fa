"""The API's description: `/openapi.json`, and `/docs`, a page that shows it and needs nothing from elsewhere; `/` leads
there."""

from importlib.resources import files

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from interfaces.http.openapi import openapi_document
from interfaces.http.routes import ENDPOINTS

_POLICY = (
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
)


async def openapi_json(_request: Request) -> Response:
    return Response(msgspec.json.encode(openapi_document(ENDPOINTS)), media_type="application/json")


async def docs_page(_request: Request) -> Response:
    page = (files(__package__) / "docs.html").read_text(encoding="utf-8")
    return HTMLResponse(page, headers={"content-security-policy": _POLICY})


async def home(_request: Request) -> Response:
    return RedirectResponse("/docs", status_code=307, headers={"cache-control": "no-store"})


DOCUMENTATION_ROUTES = (
    Route("/", home, methods=["GET"]),
    Route("/openapi.json", openapi_json, methods=["GET"]),
    Route("/docs", docs_page, methods=["GET"]),
)
