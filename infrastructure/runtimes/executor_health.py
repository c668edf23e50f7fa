"""One request of an executor's /health, for runtimes that wait for an executor or identify one. Blocking."""

import http.client
import time
from urllib.parse import urlsplit

import msgspec

from application.executor_protocol import HEALTH, SUPPORTED_PROTOCOLS, ExecutorHealth
from application.ports.worker_runtime import ContainerSpec

_LONGEST_ANSWER = 1024 * 1024
_CHUNK = 64 * 1024


class ProbeFailed(Exception):
    """No answer, or not one of an executor with a supported protocol."""


def probe(url: str, *, timeout_s: float) -> ExecutorHealth:
    """The health of the executor at `url`. Raises ProbeFailed without a usable answer within `timeout_s` seconds."""
    address = urlsplit(url)
    over = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = over(address.hostname or "", address.port, timeout=timeout_s)
    try:
        connection.request(HEALTH.method, f"{address.path.rstrip('/')}{HEALTH.path}")
        answer = connection.getresponse()
        body = _read(answer, time.monotonic() + timeout_s)
        if answer.status != 200:
            raise ProbeFailed(f"{url}/health answered {answer.status}")
        health = msgspec.json.decode(body, type=ExecutorHealth)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
        raise ProbeFailed(f"{url}/health: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if health.protocol_version not in SUPPORTED_PROTOCOLS:
        raise ProbeFailed(f"{url} speaks protocol {health.protocol_version}, not {SUPPORTED_PROTOCOLS}")
    return health


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body. Raises ProbeFailed if it is too long or not complete at the deadline."""
    body = b""
    while chunk := answer.read1(_CHUNK):
        body += chunk
        if len(body) > _LONGEST_ANSWER or time.monotonic() > deadline:
            raise ProbeFailed(f"its answer had no end after {len(body)} bytes")
    return body


def belongs_to(health: ExecutorHealth, spec: ContainerSpec) -> bool:
    """Whether this is the executor of that session and generation."""
    return health.session_id == spec.session_id and health.generation == spec.generation
