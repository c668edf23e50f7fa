"""Long work holds the event loop for a time, not for a number of steps."""

import asyncio

from application.turns import Turn
from tests.support.async_run import run


def test_a_turn_is_over_after_its_time_and_then_others_run() -> None:
    now, others = [0.0], []

    async def check() -> None:
        turn = Turn(0.02, clock=lambda: now[0])
        asyncio.get_running_loop().call_soon(others.append, "ran")
        now[0] = 0.019
        assert not turn.over
        now[0] = 0.5
        assert turn.over
        await turn.next()
        assert others == ["ran"]
        assert not turn.over
        now[0] = 0.52
        assert turn.over

    run(check())
