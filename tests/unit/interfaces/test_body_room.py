"""Large bodies wait for room, in line and not for ever; small ones never do."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from starlette.requests import Request

from interfaces.http.back_pressure import SMALL_BODY_BYTES, BodyRoom
from interfaces.http.problems import Problem
from tests.support.async_run import run

LARGE = 1024 * 1024


def request_of(size: int | None) -> Request:
    """A request that says how large its body is (None: it is sent in chunks), and sends nothing."""

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    header = (b"transfer-encoding", b"chunked") if size is None else (b"content-length", str(size).encode())
    return Request({"type": "http", "method": "POST", "headers": [header]}, receive)


@asynccontextmanager
async def in_line(room: BodyRoom, size: int | None):
    """A request that waits, as a task that ends when it has got its room and given it back."""

    async def pass_through():
        async with room.taken(request_of(size)):
            pass

    task = asyncio.create_task(pass_through())
    await asyncio.sleep(0)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_what_fits_goes_on_at_once():
    async def scene():
        room = BodyRoom(4 * LARGE)
        async with AsyncExitStack() as inside:
            for _ in range(4):
                await inside.enter_async_context(room.taken(request_of(LARGE)))

    run(scene())


def test_the_next_one_waits_until_another_has_left():
    async def scene():
        room = BodyRoom(2 * LARGE)
        async with AsyncExitStack() as inside:
            await inside.enter_async_context(room.taken(request_of(2 * LARGE)))
            async with in_line(room, LARGE) as first, in_line(room, LARGE) as second:
                assert not first.done()
                await inside.aclose()
                await asyncio.gather(first, second)

    run(scene())


@pytest.mark.parametrize("size", [0, SMALL_BODY_BYTES])
def test_a_small_one_passes_all_that_wait(size: int):
    async def scene():
        room = BodyRoom(LARGE)
        async with room.taken(request_of(LARGE)), in_line(room, LARGE), room.taken(request_of(size)):
            pass

    run(scene())


def test_whoever_waits_too_long_is_asked_to_come_back():
    async def scene():
        room = BodyRoom(LARGE, patience_s=0.05)
        async with room.taken(request_of(LARGE)):
            with pytest.raises(Problem) as refused:
                async with room.taken(request_of(LARGE)):
                    pass
        assert (refused.value.status, refused.value.headers["retry-after"]) == (503, "5")
        async with room.taken(request_of(LARGE)):
            pass

    run(scene())


def test_whoever_goes_away_while_waiting_leaves_no_trace():
    async def scene():
        room = BodyRoom(2 * LARGE)
        async with AsyncExitStack() as inside:
            await inside.enter_async_context(room.taken(request_of(2 * LARGE)))
            async with in_line(room, 2 * LARGE) as gone, in_line(room, 2 * LARGE) as patient:
                gone.cancel()
                await inside.aclose()
                await patient
        async with room.taken(request_of(2 * LARGE)):
            pass

    run(scene())


def test_a_body_of_unknown_length_counts_as_the_longest():
    async def scene():
        room = BodyRoom(8 * LARGE, patience_s=0.05)
        async with room.taken(request_of(None)):
            with pytest.raises(Problem):
                async with room.taken(request_of(LARGE)):
                    pass

    run(scene())
