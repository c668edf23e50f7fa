"""Requests of a running server's API."""

import argparse
import json
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from interfaces.errors import StartRefused
from interfaces.settings import Settings

TIMEOUT_S = 660
UNAUTHORIZED = (401, 403)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="URL of the server; by default that of FLEETLOG_HOST and FLEETLOG_PORT")
    parser.add_argument("--key-file", type=argparse.FileType(), help="file with an API key, if the server needs one")
    parser.add_argument("--json", action="store_true", help="JSON for machines")


def path_part(text: str) -> str:
    """An id, quoted for use as a part of a URL's path."""
    return urllib.parse.quote(text, safe=":@")


async def request_json(
    arguments: argparse.Namespace, settings: Settings, method: str, path: str, **options: Any
) -> dict[str, Any]:
    """The JSON of a successful response. Raises StartRefused with the server's error for any other."""
    response = await request(arguments, settings, method, path, **options)
    try:
        answer: dict[str, Any] = response.json()
    except ValueError as error:
        raise StartRefused(f"{response.url} answered, but with no JSON: is that a Fleetlog server?") from error
    return answer


async def request(
    arguments: argparse.Namespace, settings: Settings, method: str, path: str, **options: Any
) -> httpx.Response:
    """A successful response. Raises StartRefused as `request_json` does."""
    async with _client(arguments, settings) as client:
        response = await client.request(method, path, **options)
        _check(response)
        return response


async def stream_frames(
    arguments: argparse.Namespace, settings: Settings, path: str, **query: Any
) -> AsyncIterator[dict[str, Any]]:
    """The JSON data of a stream's server-sent events, to its end. Raises StartRefused as `request_json` does."""
    headers = {"accept": "text/event-stream"}
    async with (
        _client(arguments, settings) as client,
        client.stream("GET", path, params=query, headers=headers) as response,
    ):
        if response.is_error:
            await response.aread()
        _check(response)
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


@asynccontextmanager
async def _client(arguments: argparse.Namespace, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    url = arguments.url or f"http://{settings.host}:{settings.port}"
    headers = {"authorization": f"Bearer {arguments.key_file.read().strip()}"} if arguments.key_file else {}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
            yield client
    except httpx.TimeoutException as error:
        raise StartRefused(f"{url} has not answered within {TIMEOUT_S} s; `fleetlog doctor` checks it") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StartRefused(
            f"no server can be reached at {url} ({error}). Start one with `fleetlog up`, or name another one by --url "
            "or by FLEETLOG_HOST and FLEETLOG_PORT"
        ) from error


def _check(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        problem = response.json()
        detail, errors = str(problem["detail"]), problem.get("errors") or []
    except (ValueError, KeyError, TypeError, AttributeError):
        detail, errors = f"{response.url} answered: {response.text[:500]}", []
    fields = [f"{each.get('field')}: {each.get('message')}" for each in errors]
    lines = [f"{detail} (HTTP {response.status_code})", *(f"  {line}" for line in fields if line not in detail)]
    if response.status_code in UNAUTHORIZED:
        lines.append("  give an API key with --key-file FILE")
    raise StartRefused("\n".join(lines))
