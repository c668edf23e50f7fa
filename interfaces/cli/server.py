"""Calls of a running server, for commands that ask its API."""

import argparse
from typing import Any

import httpx

from interfaces.errors import StartRefused
from interfaces.settings import Settings

TIMEOUT_S = 660


def add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="the server; by default the one that FLEETLOG_HOST and _PORT name")
    parser.add_argument("--key-file", type=argparse.FileType(), help="file with an API key, where one is needed")
    parser.add_argument("--json", action="store_true", help="JSON for machines")


async def answer_of(
    arguments: argparse.Namespace, settings: Settings, method: str, path: str, **options: Any
) -> dict[str, Any]:
    """The JSON of a successful answer. Raises StartRefused with what the server said of any other."""
    url = arguments.url or f"http://{settings.host}:{settings.port}"
    headers = {"authorization": f"Bearer {arguments.key_file.read().strip()}"} if arguments.key_file else {}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
            response = await client.request(method, path, **options)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StartRefused(f"{url} can't be called ({error}); is the server running?") from error
    if response.is_error:
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = response.text[:500]
        raise StartRefused(f"{detail} (HTTP {response.status_code})")
    answer: dict[str, Any] = response.json()
    return answer
