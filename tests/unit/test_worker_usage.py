"""What one session worker may take of the store proxy at once: its own slots, and nobody else's."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from application.sessions.worker_storage import WorkerStorage
from infrastructure.boto3_store import store_proxy, worker_usage
from infrastructure.boto3_store.session import AwsSession
from infrastructure.boto3_store.store_proxy import StoreProxy
from infrastructure.boto3_store.worker_requests import Refused
from infrastructure.boto3_store.worker_usage import AT_ONCE, WAITING, WorkerUsage
from infrastructure.object_store.location import S3Location
from tests.support.async_run import run
from tests.unit.test_worker_requests import KEYS, SECRET, signed_now

LOCATION = S3Location(
    endpoint="http://127.0.0.1:9", bucket="bucket", region="us-east-1", access_key="a", secret_key="b"
)


def test_a_session_has_so_many_requests_under_way_and_so_many_that_wait() -> None:
    async def scene() -> None:
        usage, done = WorkerUsage(lambda: 0.0), asyncio.Event()

        async def use(session_id: str) -> None:
            async with usage.slot(session_id, 0):
                await done.wait()

        tasks = [asyncio.create_task(use("s")) for _ in range(AT_ONCE + WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="of this session"):
            await use("s")
        done.set()
        await use("t")
        await asyncio.gather(*tasks)
        await use("s")

    run(scene())


def test_requests_that_wait_for_their_session_take_no_place_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_proxy, "_MOST_AT_ONCE", 2)
    monkeypatch.setattr(worker_usage, "AT_ONCE", 1)
    went_on = asyncio.Event()

    class Sessions:
        """The log of two sessions; that of the first one is slow to read."""

        async def load(self, session_id: str) -> Any:
            if session_id == KEYS.session_id:
                await went_on.wait()
            return SimpleNamespace(state=None)

    async def scene() -> list[int]:
        sessions: Any = Sessions()
        storage = WorkerStorage(sessions=sessions, secret=SECRET, clock=lambda: 0.0)
        proxy = StoreProxy(AwsSession(LOCATION), storage, unavailable=())
        statuses: list[int] = []
        held = [asyncio.create_task(_ask(proxy, signed_now(), statuses.append)) for _ in range(5)]
        for _ in range(10):
            await asyncio.sleep(0)
        await _ask(proxy, signed_now("another"), statuses.append)
        went_on.set()
        await asyncio.gather(*held)
        await proxy.close()
        return statuses

    assert run(scene()) == [403] * 6, "the other session is told what it may not, not to come again"


def _ask(proxy: StoreProxy, request: dict[str, Any], told: Callable[[int], None]) -> Coroutine[Any, Any, None]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            told(message["status"])

    scope = {
        "type": "http",
        "method": request["method"],
        "raw_path": request["path"].encode(),
        "query_string": request["query"].encode(),
        "headers": [(name.encode(), value.encode()) for name, value in request["headers"].items()],
    }
    return proxy(scope, receive, send)
