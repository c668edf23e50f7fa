"""Large bodies wait for memory, in order and for a bounded time; small ones never wait."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from starlette.requests import Request

from interfaces.http.edge.body_budget import SMALL_BODY_BYTES, BodyBudget
from interfaces.http_conventions.problems import Problem
from tests.support.async_run import run

LARGE = 1024 * 1024


def request_of(size: int | None) -> Request:
    """A request that says how large its body is (None: it is sent in chunks), and sends nothing."""

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    header = (b"transfer-encoding", b"chunked") if size is None else (b"content-length", str(size).encode())
    return Request({"type": "http", "method": "POST", "headers": [header]}, receive)


@asynccontextmanager
async def in_line(budget: BodyBudget, size: int | None):
    """A request that waits, as a task that ends when it has reserved its memory and released it."""

    async def pass_through():
        async with budget.reserved(request_of(size)):
            pass

    task = asyncio.create_task(pass_through())
    await asyncio.sleep(0)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_what_fits_goes_on_at_once():
    async def scene():
        budget = BodyBudget(4 * LARGE)
        async with AsyncExitStack() as inside:
            for _ in range(4):
                await inside.enter_async_context(budget.reserved(request_of(LARGE)))

    run(scene())


def test_the_next_one_waits_until_another_has_left():
    async def scene():
        budget = BodyBudget(2 * LARGE)
        async with AsyncExitStack() as inside:
            await inside.enter_async_context(budget.reserved(request_of(2 * LARGE)))
            async with in_line(budget, LARGE) as first, in_line(budget, LARGE) as second:
                assert not first.done()
                await inside.aclose()
                await asyncio.gather(first, second)

    run(scene())


@pytest.mark.parametrize("size", [0, SMALL_BODY_BYTES])
def test_a_small_one_passes_all_that_wait(size: int):
    async def scene():
        budget = BodyBudget(LARGE)
        async with budget.reserved(request_of(LARGE)), in_line(budget, LARGE), budget.reserved(request_of(size)):
            pass

    run(scene())


def test_whoever_waits_too_long_is_asked_to_come_back():
    async def scene():
        budget = BodyBudget(LARGE, max_wait_s=0.05)
        async with budget.reserved(request_of(LARGE)):
            with pytest.raises(Problem) as refused:
                async with budget.reserved(request_of(LARGE)):
                    pass
        assert (refused.value.status, refused.value.headers["retry-after"]) == (503, "5")
        async with budget.reserved(request_of(LARGE)):
            pass

    run(scene())


def test_whoever_goes_away_while_waiting_leaves_no_trace():
    async def scene():
        budget = BodyBudget(2 * LARGE)
        async with AsyncExitStack() as inside:
            await inside.enter_async_context(budget.reserved(request_of(2 * LARGE)))
            async with in_line(budget, 2 * LARGE) as gone, in_line(budget, 2 * LARGE) as patient:
                gone.cancel()
                await inside.aclose()
                await patient
        async with budget.reserved(request_of(2 * LARGE)):
            pass

    run(scene())


def test_a_body_of_unknown_length_counts_as_the_longest():
    async def scene():
        budget = BodyBudget(8 * LARGE, max_wait_s=0.05)
        async with budget.reserved(request_of(None)):
            with pytest.raises(Problem):
                async with budget.reserved(request_of(LARGE)):
                    pass

    run(scene())
