"""Bodies that come in many chunks: as long as allowed, and no slower than allowed."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from starlette.requests import Request

from interfaces.http_conventions import bodies
from interfaces.http_conventions.bodies import body_chunks, with_chunk_timeout
from interfaces.http_conventions.problems import Problem
from tests.support.async_run import run


def request_of(chunks: Iterable[bytes], *headers: tuple[bytes, bytes]) -> Request:
    """A request whose body comes in these chunks."""
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]

    async def receive():
        return waiting.pop(0) if waiting else {"type": "http.request", "body": b"", "more_body": False}

    return Request({"type": "http", "method": "PUT", "headers": list(headers)}, receive)


async def read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def test_a_body_as_long_as_allowed_comes_whole():
    assert run(read(with_chunk_timeout(body_chunks(request_of([b"ab", b"cd"]), 4)))) == b"abcd"


@pytest.mark.parametrize("headers", [(), ((b"content-length", b"5"),)], ids=["chunked", "declared"])
def test_a_longer_one_is_refused(headers):
    with pytest.raises(Problem, match="larger than 4 bytes") as refused:
        run(read(body_chunks(request_of([b"ab", b"cd", b"e"], *headers), 4)))
    assert refused.value.status == 413


def test_a_compressed_one_is_refused():
    with pytest.raises(Problem, match="compressed") as refused:
        run(read(body_chunks(request_of([b"x"], (b"content-encoding", b"gzip")), 4)))
    assert refused.value.status == 415


def test_one_that_stops_coming_is_a_408(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.05)

    async def stopping() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    with pytest.raises(Problem, match="no more of the body came") as refused:
        run(read(with_chunk_timeout(stopping())))
    assert refused.value.status == 408
