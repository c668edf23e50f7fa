"""A sequence of commands has the outcome of handling them one after the other, whatever happens in between."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from application.aggregates.aggregates import Aggregates
from application.aggregates.command_sequence import Step, handle_sequence
from application.command_context import CommandContext
from domain.errors import Conflict
from domain.event import Event
from domain.record import Occurrence
from tests.support.async_run import run
from tests.support.log_events import Counted
from tests.support.log_in_memory import LogInMemory
from tests.support.recorded import OCCURRED_AT


class Total(msgspec.Struct, frozen=True):
    total: int


def decide(state: Total | None, command: int) -> Sequence[Event]:
    if command < 0:
        raise Conflict("nothing is taken away")
    return (Counted(number=command),) if command else ()


def evolve(state: Total | None, occurrence: Occurrence) -> Total:
    assert isinstance(occurrence.event, Counted)
    return Total((state.total if state else 0) + occurrence.event.number)


def context(command_id: str) -> CommandContext:
    return CommandContext(actor="a", command_id=command_id, correlation_id="c")


class Scene:
    """Two kinds of totals on one log."""

    def __init__(self) -> None:
        self.log = LogInMemory()
        self.ours, self.other_process = self._totals(), self._totals()

    def _totals(self) -> Aggregates[Total, int]:
        return Aggregates(
            store=self.log,
            clock=lambda: OCCURRED_AT,
            stream_of=lambda key: f"count:{key}",
            decide=decide,
            evolve=evolve,
        )

    def step(self, key: str, command: int, **more: Any) -> Step:
        return Step(
            aggregates=self.ours, key=key, commands=[(command, "")], context=context(f"{key}+{command}"), **more
        )

    async def begin(self, *keys: str) -> None:
        for key in keys:
            await self.ours.handle(key, 1, context("first"))

    def totals(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for recorded in self.log.events:
            assert isinstance(recorded.event, Counted)
            found[recorded.stream] = found.get(recorded.stream, 0) + recorded.event.number
        return found


def test_all_of_them_are_written_and_remembered() -> None:
    async def scene() -> tuple[list[int], Scene]:
        made = Scene()
        await made.begin("a", "b")
        handled = await handle_sequence([made.step("a", 2), made.step("b", 3), made.step("a", 4)])
        again = await made.ours.recent("a")
        assert again.state == Total(7)
        return [each.state.total for each in handled], made

    states, made = run(scene())

    assert states == [3, 4, 7]
    assert made.totals() == {"count:a": 7, "count:b": 4}


def test_a_step_that_another_process_overtook_is_decided_again() -> None:
    async def scene() -> Scene:
        made = Scene()
        await made.begin("a", "b")
        await made.other_process.handle("b", 10, context("overtakes"))
        handled = await handle_sequence([made.step("a", 2), made.step("b", 3), made.step("a", 4)])
        assert [each.state.total for each in handled] == [3, 14, 7]
        return made

    assert run(scene()).totals() == {"count:a": 7, "count:b": 14}


def test_steps_of_aggregates_that_are_not_in_memory_are_handled_singly() -> None:
    async def scene() -> Scene:
        made = Scene()
        await made.other_process.handle("a", 1, context("first"))
        await handle_sequence([made.step("a", 2), made.step("new", 3)])
        return made

    assert run(scene()).totals() == {"count:a": 3, "count:new": 3}


def test_the_same_steps_again_change_nothing() -> None:
    async def scene() -> Scene:
        made = Scene()
        await made.begin("a", "b")
        for _ in range(2):
            await handle_sequence([made.step("a", 2), made.step("b", 3)])
        return made

    assert run(scene()).totals() == {"count:a": 3, "count:b": 4}


def test_the_sequence_ends_before_a_step_whose_condition_does_not_hold() -> None:
    async def scene() -> Scene:
        made = Scene()
        await made.begin("a", "b", "c")
        steps = [made.step("a", 2), made.step("b", 3, when=lambda total: total.total > 100), made.step("c", 4)]
        assert len(await handle_sequence(steps)) == 1
        return made

    assert run(scene()).totals() == {"count:a": 3, "count:b": 1, "count:c": 1}


def test_a_refusal_is_raised_unless_the_step_may_be_refused() -> None:
    async def scene(**more: bool) -> tuple[int, Scene]:
        made = Scene()
        await made.begin("a", "b")
        handled = await handle_sequence([made.step("a", 2), made.step("b", -1, **more), made.step("a", 9)])
        return len(handled), made

    with pytest.raises(Conflict):
        run(scene())
    count, made = run(scene(may_be_refused=True))
    assert count == 1
    assert made.totals() == {"count:a": 3, "count:b": 1}
