"""The server of the object store for session workers: when it looks for its address, and that its end is heard."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from infrastructure.postgres.continuity import LogContinuity
from interfaces import store_server
from interfaces.cli.processes import _watch
from interfaces.http_conventions.server import HttpServer
from interfaces.store_server import StoreServer
from interfaces.supervision import running
from tests.support.async_run import run


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def reached(server: StoreServer) -> int:
    while not server.url():
        await asyncio.sleep(0.01)
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(server.url())).status_code


class Docker:
    """Where containers reach this process; it is away at first."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def serving(find_host: Callable[[], str], **options: Any) -> int:
    async def scene() -> int:
        server = StoreServer(find_host, **options)
        async with server.serving(app):
            return await reached(server)

    return run(scene(), timeout=60)


def test_it_serves_from_the_beginning_and_refuses_to_where_it_never_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serving(Docker("127.0.0.1")) == 204
    with pytest.raises(RuntimeError, match="another machine"):
        serving(Docker(RuntimeError("containers are on another machine")))
    monkeypatch.setattr(store_server, "_RETRY_S", 0.01)
    assert serving(Docker("", RuntimeError("no daemon"), "127.0.0.1")) == 204


def test_a_lazy_one_looks_for_no_address_before_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_server, "_RETRY_S", 0.01)
    docker = Docker(RuntimeError("on another machine"), "", "127.0.0.1")

    async def scene() -> int:
        server = StoreServer(docker, lazily=True)
        async with server.serving(app):
            await asyncio.to_thread(lambda: None)
            assert docker.asked == 0
            return await reached(server)

    assert run(scene(), timeout=60) == 204
    assert docker.asked == 3


def test_its_end_is_heard_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_server: Any, **_options: Any) -> None:
        raise OSError("no more files")

    monkeypatch.setattr(HttpServer, "serve", fails)

    async def scene() -> None:
        server, stop = StoreServer(lambda: "127.0.0.1"), asyncio.Event()
        plane: Any = SimpleNamespace(store_server=server, continuity=LogContinuity())
        async with server.serving(app), running(_watch(plane), stop):
            await stop.wait()

    with pytest.raises(OSError, match="no more files"):
        run(scene(), timeout=60)
