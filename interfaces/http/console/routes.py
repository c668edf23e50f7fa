"""Serves the console's static files. They hold no data and need no key, as /docs: the page reads everything from the
API, with the user's key. The content security policy allows no code and no data from other origins."""

import base64
import hashlib
import re
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from interfaces.http.edge.exchange import exchange_of
from interfaces.http_conventions.problems import problem_response, routing_problem

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOLDER = files(__package__) / "page"
FILE_NAMES = frozenset(entry.name for entry in _FOLDER.iterdir() if entry.name.rpartition(".")[2] in MEDIA_TYPES)


def _script_in_page() -> str:
    """The hash by which the policy allows the one script that stands in index.html itself."""
    page = (_FOLDER / "index.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


_POLICY = (
    f"default-src 'none'; script-src 'self' 'sha256-{_script_in_page()}'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    # The page builds elements from text only; with Trusted Types the browser refuses HTML from strings.
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {"cache-control": "no-cache", "content-security-policy": _POLICY, "referrer-policy": "no-referrer"}


async def console_page(request: Request) -> Response:
    return _answer(request, "index.html")


async def console_file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILE_NAMES:
        problem = routing_problem(HTTPException(404), request.url.path)
        return problem_response(problem, exchange_of(request.scope).trace_id)
    return _answer(request, name)


async def without_slash(_request: Request) -> Response:
    return RedirectResponse("/console", status_code=307, headers={"cache-control": "no-store"})


def _answer(request: Request, name: str) -> Response:
    content = (_FOLDER / name).read_bytes()
    headers = _HEADERS | {"etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if headers["etag"] in known:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers | {"content-type": MEDIA_TYPES[name.rpartition(".")[2]]})


CONSOLE_ROUTES = (
    Route("/console", console_page, methods=["GET"]),
    Route("/console/", without_slash, methods=["GET"]),
    Route("/console/{name}", console_file, methods=["GET"]),
)
