"""What is no proper HTTP: refused within bounds, with a problem document where an answer is possible at all."""

import time

import pytest

from tests.support.api_server import ApiServer
from tests.support.raw_http import NO_HTTP, exchange, refused


@pytest.mark.parametrize(
    "sent",
    NO_HTTP,
    ids=lambda sent: repr(sent[:24]),
)
def test_what_is_no_http_is_a_400(api: ApiServer, sent: bytes) -> None:
    refused(exchange(api.url, sent), 400)


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
    answer = exchange(api.url, head)
    if answer:  # the rest that was still under way may reset the connection first
        refused(answer, 431)
    next_one = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert exchange(api.url, next_one).startswith(b"HTTP/1.1 200")


def test_a_head_that_comes_whole_is_refused_by_its_size_too(api: ApiServer) -> None:
    for size, status in ((60_000, 200), (70_000, 431)):
        head = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: " + b"a" * size + b"\r\n\r\n"
        answer = exchange(api.url, head)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        if status == 431:
            refused(answer, 431)


def test_a_head_that_never_ends_is_dropped(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http_conventions.bounded_protocol.HEAD_TIMEOUT_S", 0.3)
    for begun in (b"", b"GET /health HTTP/1.1\r\nhost: lo"):
        started = time.monotonic()
        assert exchange(api.url, begun) == b""
        assert time.monotonic() - started < 5


def test_a_body_that_never_ends_is_a_408(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http_conventions.bodies.BODY_TIMEOUT_S", 0.3)
    head = (
        b"POST /api/runs/x/bind HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 10\r\n\r\n{"
    )
    refused(exchange(api.url, head), 408)


def test_a_body_that_waits_for_a_continue_is_refused_unread(api: ApiServer) -> None:
    head = (
        b"POST /api/runs/x/bind HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
    )
    answer = exchange(api.url, head)
    refused(answer, 413)
    assert b"100 Continue" not in answer


def test_an_upgrade_is_answered_as_if_it_were_none(api: ApiServer) -> None:
    sent = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n"
    assert exchange(api.url, sent, timeout=3).startswith(b"HTTP/1.1 200")
