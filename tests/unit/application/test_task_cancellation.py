"""Tasks end even when a cancellation gets lost on its way."""

import asyncio

from application.task_cancellation import cancel_and_wait
from tests.support.async_run import run
from tests.support.lost_cancellation import LosesOneCancellation


def test_a_task_that_loses_its_first_cancellation_ends_all_the_same():
    async def scenario() -> bool:
        work = LosesOneCancellation()
        task = asyncio.create_task(work.wait())
        await work.begun.wait()
        await cancel_and_wait([task], again_after_s=0.01)
        return task.cancelled()

    assert run(scenario(), timeout=5)


def test_what_a_task_raises_at_its_end_is_not_raised_again():
    async def scenario() -> None:
        async def broken() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("at its end")

        task = asyncio.create_task(broken())
        await asyncio.sleep(0)
        await cancel_and_wait([task])
        assert task.done()

    run(scenario(), timeout=5)
