"""External runs that are overdue, as the read models and the log tell it."""

from datetime import timedelta

import pytest

from domain.event import Event
from domain.record import NewEvent
from domain.run import events as e
from tests.support.async_run import run
from tests.support.projecting import projection_harness
from tests.support.recorded import EPOCH, new_event

pytestmark = pytest.mark.every_postgres


def test_external_runs_are_overdue_by_their_silence_and_by_their_whole_time(database: str) -> None:
    def at(minutes: int, event: Event) -> NewEvent:
        return new_event(event, f"{minutes}-{event.wire_name}", EPOCH + timedelta(minutes=minutes))

    bound, said = e.RunBound(bound_session_id="s"), e.MessageDelta(text="still there")
    histories = {
        "silent": [at(0, bound), at(10, said)],
        "asking": [at(1, bound), at(11, e.HumanLoopRequested(question_id="q"))],
        "talking": [at(2, bound), at(50, said)],
        "ended": [at(3, bound), at(12, e.RunFinished(outcome="failed", exported=False))],
    }

    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            for run_id, history in histories.items():
                await harness.caught_up((await harness.store.append(f"run:{run_id}", 0, history)).position)

            async def overdue(bound: int | None, silent: int | None, limit: int = 10) -> list[str]:
                before = [None if each is None else EPOCH + timedelta(minutes=each) for each in (bound, silent)]
                return await harness.reads.overdue_external_runs(
                    bound_before=before[0], silent_before=before[1], limit=limit
                )

            assert await overdue(None, None) == []
            assert await overdue(None, 10) == []
            assert await overdue(None, 40) == ["silent"]
            assert await overdue(2, None) == ["silent", "asking"]
            assert await overdue(60, None) == ["silent", "asking", "talking"]
            assert await overdue(60, 60, limit=1) == ["silent"]

    run(check())
