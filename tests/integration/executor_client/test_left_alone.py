"""An executor that answers 429: it is called again when it says, not sooner, and that is no failure of it."""

import asyncio
from dataclasses import replace

from infrastructure.executor_client.http_executor import HttpExecutor
from tests.integration.executor_client.test_calls import HEALTH, QUICK, failing, with_executor
from tests.support.scripted_executor import Reply, ScriptedExecutor


def test_an_executor_that_asks_to_be_left_alone_is_called_again_only_then() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.replies.append(Reply(status=429, headers={"retry-after": "1"}))
        scripted.default = Reply(body=HEALTH)
        began = asyncio.get_running_loop().time()
        assert (await executor.health()).generation == 3
        assert asyncio.get_running_loop().time() - began >= 1

    assert len(with_executor(test).requests) == 2


def test_how_long_it_is_left_alone_is_bounded_and_told() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=429, headers={"retry-after": "3600"})
        async with failing("http") as raised:
            await executor.health()
        assert (raised.value.status, raised.value.attempt, raised.value.retry_after_s) == (429, 4, 3600)

    # A single 429 more would open the circuit, if they counted as failures.
    assert len(with_executor(test, replace(QUICK, longest_pause_s=0.01, failures_to_open=1)).requests) == 4
