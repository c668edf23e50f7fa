"""What is no proper HTTP: refused within bounds, with a problem document where an answer is possible at all."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.support.api_server import ApiServer


def exchange(api: ApiServer, sent: bytes, *, timeout: float = 10) -> bytes:
    parts = urlsplit(api.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout) as connection:
        received = b""
        try:
            connection.sendall(sent)
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionError:
            pass
        return received


def refused(answer: bytes, status: int) -> dict:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode(), answer[:300]
    assert b"content-type: application/problem+json" in head.lower()
    problem = json.loads(body)
    assert problem["status"] == status
    assert len(problem["traceId"]) == 32
    return problem


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /api/runs/x/stop HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/runs/x/stop HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda sent: repr(sent[:24]),
)
def test_what_is_no_http_is_a_400(api: ApiServer, sent: bytes) -> None:
    refused(exchange(api, sent), 400)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 40_000,
    ],
    ids=["path", "header", "headers"],
)
def test_a_head_without_end_is_refused(api: ApiServer, head: bytes) -> None:
    answer = exchange(api, head)
    if answer:  # the rest that was still under way may reset the connection first
        refused(answer, 431)
    next_one = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert exchange(api, next_one).startswith(b"HTTP/1.1 200")


def test_a_head_that_never_ends_is_dropped(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http.protocol.HEAD_TIMEOUT_S", 0.3)
    for begun in (b"", b"GET /health HTTP/1.1\r\nhost: lo"):
        started = time.monotonic()
        assert exchange(api, begun) == b""
        assert time.monotonic() - started < 5


def test_a_body_that_never_ends_is_a_408(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http.bodies.BODY_TIMEOUT_S", 0.3)
    head = (
        b"POST /api/runs/x/bind HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 10\r\n\r\n{"
    )
    refused(exchange(api, head), 408)


def test_a_body_that_waits_for_a_continue_is_refused_unread(api: ApiServer) -> None:
    head = (
        b"POST /api/runs/x/bind HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
    )
    answer = exchange(api, head)
    refused(answer, 413)
    assert b"100 Continue" not in answer


def test_an_upgrade_is_answered_as_if_it_were_none(api: ApiServer) -> None:
    sent = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n"
    assert exchange(api, sent, timeout=3).startswith(b"HTTP/1.1 200")
