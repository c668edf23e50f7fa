"""Ending tasks, also those on whose way a cancellation gets lost."""

import asyncio

from application.cancellation import end_tasks
from tests.support.async_run import run


def test_a_task_that_lost_its_cancellation_is_canceled_again() -> None:
    async def scenario() -> None:
        lost = 0

        async def waiting() -> None:
            nonlocal lost
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if lost == 2:
                        raise
                    lost += 1

        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        await end_tasks(task, insist_s=0.01)
        assert (task.cancelled(), lost) == (True, 2)

    run(scenario())


def test_whatever_tasks_end_with_is_seen() -> None:
    async def scenario() -> None:
        async def fail() -> None:
            raise ValueError("its own end")

        failed, done = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))
        await asyncio.wait({failed, done})
        await end_tasks(failed, done)
        await end_tasks()

    run(scenario())
