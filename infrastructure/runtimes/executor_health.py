"""One look at an executor's /health, for runtimes that wait for it or want to know which one they have found."""

import http.client
import time
from urllib.parse import urlsplit

import msgspec

from application.executor_protocol import SUPPORTED_PROTOCOLS, Health
from application.ports import ContainerSpec

_LONGEST_ANSWER = 1024 * 1024
_CHUNK = 64 * 1024


class ProbeFailed(Exception):
    """There was no answer, or it was none of an executor that this code understands."""


def probe(url: str, *, timeout_s: float) -> Health:
    """What the executor at `url` says of itself; ProbeFailed when it says nothing usable within `timeout_s` seconds."""
    address = urlsplit(url)
    over = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = over(address.hostname or "", address.port, timeout=timeout_s)
    try:
        connection.request("GET", f"{address.path.rstrip('/')}/health")
        answer = connection.getresponse()
        body = _read(answer, time.monotonic() + timeout_s)
        if answer.status != 200:
            raise ProbeFailed(f"{url}/health answered {answer.status}")
        health = msgspec.json.decode(body, type=Health)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
        raise ProbeFailed(f"{url}/health: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if health.protocol_version not in SUPPORTED_PROTOCOLS:
        raise ProbeFailed(f"{url} speaks protocol {health.protocol_version}, not {SUPPORTED_PROTOCOLS}")
    return health


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, however slowly it comes. ProbeFailed when it is not whole by the deadline, or too long."""
    body = b""
    while chunk := answer.read1(_CHUNK):
        body += chunk
        if len(body) > _LONGEST_ANSWER or time.monotonic() > deadline:
            raise ProbeFailed(f"its answer had no end after {len(body)} bytes")
    return body


def belongs_to(health: Health, spec: ContainerSpec) -> bool:
    """Whether this is the executor of that session and generation."""
    return health.session_id == spec.session_id and health.generation == spec.generation
