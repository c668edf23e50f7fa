"""What one session worker may take of the store proxy at once: its own slots, and nobody else's."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from application.sessions.worker_storage import WorkerStorage
from infrastructure.boto3_store import least_rate, store_proxy, worker_usage
from infrastructure.boto3_store.least_rate import LEAST_BYTES_PER_S, LeastRate
from infrastructure.boto3_store.session import AwsSession
from infrastructure.boto3_store.store_proxy import StoreProxy
from infrastructure.boto3_store.worker_requests import Refused
from infrastructure.boto3_store.worker_usage import AT_ONCE, OWN, WAITING, WorkerUsage
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


def test_sessions_that_hold_all_places_leave_each_other_one_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_proxy, "_MOST_AT_ONCE", 3)
    hostile, slow = [f"hostile {n}" for n in range(4)], asyncio.Event()

    class Sessions:
        async def load(self, session_id: str) -> Any:
            if session_id in hostile:
                await slow.wait()
            return SimpleNamespace(state=None)

    async def scene() -> tuple[list[int], list[int]]:
        sessions: Any = Sessions()
        storage = WorkerStorage(sessions=sessions, secret=SECRET, clock=lambda: 0.0)
        proxy = StoreProxy(AwsSession(LOCATION), storage, unavailable=())
        refused: list[int] = []
        others: list[int] = []
        asks = [_ask(proxy, signed_now(each), refused.append) for each in hostile for _ in range(AT_ONCE)]
        held = [asyncio.create_task(ask) for ask in asks]
        for _ in range(10):
            await asyncio.sleep(0)
        told = list(refused)
        await asyncio.gather(*(_ask(proxy, signed_now("another"), others.append) for _ in range(OWN)))
        slow.set()
        await asyncio.gather(*held)
        await proxy.close()
        return told, others

    told, others = run(scene())
    assert told == [503] * (4 * (AT_ONCE - OWN) - 3)
    assert others == [403] * OWN, "it is told what it may not, not to come again"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def moved_after(seconds_each: float, *sizes: int) -> None:
    """What a session worker sends, each piece so many seconds after it was waited for."""
    clock = Clock()
    rate = LeastRate("the body comes", clock)

    async def piece() -> None:
        clock.now += seconds_each

    async def scene() -> None:
        for size in sizes:
            await rate.wait(piece())
            rate.moved(size)
            clock.now += 3600  # the store takes its time

    run(scene())


def test_a_body_may_come_slowly_but_not_next_to_nothing_at_a_time() -> None:
    moved_after(10.0, *[10 * LEAST_BYTES_PER_S] * 100)
    with pytest.raises(Refused, match="32 KiB a second are expected") as refused:
        moved_after(10.0, *[1] * 100)
    assert (refused.value.status, refused.value.code) == (400, "RequestTimeout")
    moved_after(10.0, 1, 1, 1)
    with pytest.raises(Refused):
        moved_after(10.0, 1, 1, 1, 1)


def test_a_body_that_does_not_come_ends_its_request_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(least_rate, "PATIENCE_S", 0.01)

    async def scene() -> None:
        never = asyncio.Event()
        with pytest.raises(Refused, match="the body comes so slowly"):
            await anext(store_proxy._body(never.wait, 1))  # type: ignore[arg-type]

    run(scene())


def test_an_answer_that_is_not_read_ends_its_request() -> None:
    clock = Clock()

    async def send(_: Any) -> None:
        clock.now += 31.0

    async def scene() -> None:
        answer = store_proxy._Answer(send)
        answer._rate = LeastRate("the answer is read", clock)
        with pytest.raises(Refused, match="the answer is read so slowly"):
            await answer.refuse(403, "AccessDenied", "no")

    run(scene())


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
