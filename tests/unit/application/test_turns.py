"""Long work holds the event loop for a time, not for a number of steps."""

import asyncio

import pytest

from application.turns import TURN_SECONDS, Share, Turn
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


def test_work_with_a_share_rests_as_long_as_it_has_worked() -> None:
    share = Share()
    assert share.rest(now=5.0, took=0.01) == pytest.approx(0.01)
    assert share.rest(now=9.0, took=0.3) == pytest.approx(0.3)


def test_work_with_a_quarter_rests_three_times_as_long() -> None:
    assert Share(rest=3.0).rest(now=5.0, took=0.01) == pytest.approx(0.03)


def test_turns_of_one_share_come_one_at_a_time_with_a_rest_after_each() -> None:
    share, period = Share(), 2 * TURN_SECONDS
    begins = [5.0 + share.rest(now=5.0, took=TURN_SECONDS) for _ in range(4)]
    assert [begin - begins[0] for begin in begins] == pytest.approx([0, period, 2 * period, 3 * period])


def test_others_run_again_and_again_while_two_works_of_one_share_rest() -> None:
    async def work(share: Share) -> None:
        turn = Turn(0.001, share=share)
        for _ in range(3):
            while not turn.over:
                pass
            await turn.next()

    async def check() -> None:
        share, others = Share(), 0
        works = [asyncio.create_task(work(share)) for _ in range(2)]
        while not all(each.done() for each in works):
            await asyncio.sleep(0)
            others += 1
        assert others > 20

    run(check())
