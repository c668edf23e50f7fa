"""The start of a run, whatever the libraries below it do."""

import asyncio

import pytest

from tests.support.async_run import run
from tests.support.world_in_memory import world
from tests.unit.application.test_run_executions import LIFE, execute, speaks_and_ends


def test_a_run_starts_although_the_watch_for_its_cancel_loses_its_own_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Libraries lose one that arrives together with their result; see application/task_cancellation.py."""

    async def scene() -> list[str]:
        async with world() as made:
            wait_for_stream, lost = made.log.wait_for_stream, 0

            async def loses_one(stream: str, after_seq: int, timeout: float) -> int:
                nonlocal lost
                try:
                    return await wait_for_stream(stream, after_seq, timeout)
                except asyncio.CancelledError:
                    if lost or stream != "run:r":
                        raise
                    lost += 1
                    return 0

            monkeypatch.setattr(made.log, "wait_for_stream", loses_one)
            playing = asyncio.create_task(speaks_and_ends(made))
            await execute(made, await made.queued())
            await playing
            assert lost == 1
            return made.log.types("run:r")

    assert run(scene()) == LIFE
