"""A fold's work grows with the stream, not with its square: what a stream of twice the length costs is counted in
bytecodes and in the entries of new containers, so that no clock is asked."""

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import msgspec
import pytest

from domain.event import Event
from domain.operations import dead_letters
from domain.operations import events as o
from domain.record import RecordedEvent
from domain.run import events as r
from domain.run.quotas import evolve_counting
from domain.run.values import Todo, Warn
from domain.session import events as s
from domain.session import evolve as session
from projections.runs import RUNS
from projections.todos import TODOS
from tests.support import runs, sessions
from tests.support.recorded import recorded

Step = Callable[[Any, RecordedEvent], Any]
FIRST, ALLOWED = 256, 2.3
"""Events of the shorter stream, and how often its work the double one may cost: twice, and a logarithm."""


def todos(count: int) -> tuple[Todo, ...]:
    return tuple(Todo(todo_id=f"t{number}", content="x") for number in range(count))


def questions(count: int) -> Iterable[Event]:
    yield from runs.RUNNING
    for number in range(count):
        yield r.HumanLoopRequested(question_id=f"q{number}")
        yield r.HumanLoopReplyAccepted(question_id=f"q{number}", answer="yes")
        yield r.HumanLoopResolved(question_id=f"q{number}", answer="yes")


def journal(count: int) -> Iterable[Event]:
    yield from runs.RUNNING
    for number in range(count):
        yield r.MessageDelta(lease_generation=1, text="x")
        yield r.ToolStarted(tool_id=f"t{number}", name="bash")
        yield r.RunWarning(warning=Warn(code="x", message="y"))
        yield r.MessageStopped(text="z")


def syncs(count: int) -> Iterable[Event]:
    yield from sessions.RUNNING
    for number in range(count):
        yield s.SyncRequested(generation=1, sync_id=f"s{number}", reason="message.stop")
        yield sessions.synced(f"s{number}", "message.stop", number)


def given_up(count: int) -> Iterable[Event]:
    for number in range(count):
        yield o.EffectGivenUp(effect_id=f"e{number}", kind="workspace.sync", attempts=1, error="x")
        if number % 2:
            yield o.EffectDropped(effect_id=f"e{number}")


STREAMS: dict[str, tuple[Step, Callable[[int], Iterable[Event]]]] = {
    "one snapshot of many todos": (TODOS.fold, lambda n: [r.TodosReplaced(todos=todos(n))]),
    "many snapshots": (TODOS.fold, lambda n: [r.TodosReplaced(todos=todos(50))] * n),
    "questions of a run": (evolve_counting, questions),
    "questions of a run's row": (RUNS.fold, questions),
    "a run's output": (evolve_counting, journal),
    "the output of a run's row": (RUNS.fold, journal),
    "syncs": (session.evolve, syncs),
    "dead letters": (dead_letters.evolve, given_up),
}


@pytest.mark.parametrize(("step", "events"), STREAMS.values(), ids=STREAMS)
def test_twice_the_events_are_about_twice_the_work(step: Step, events: Callable[[int], Iterable[Event]]) -> None:
    assert work_of(step, events(2 * FIRST)) <= ALLOWED * work_of(step, events(FIRST))


def test_quadratic_work_is_noticed() -> None:
    def copies_everything(state: dict[str, Event] | None, event: RecordedEvent) -> dict[str, Event]:
        return {**(state or {}), event.event_id: event.event}

    assert work_of(copies_everything, journal(2 * FIRST)) > 3 * work_of(copies_everything, journal(FIRST))


def work_of(step: Step, events: Iterable[Event]) -> int:
    """The bytecodes of the fold, and the entries of all containers that it made."""
    state, work = None, 0
    for event in recorded("run:r1", list(events)):
        before, (state, steps) = state, counted(step, state, event)
        known = {id(container) for container in containers(before)} if before is not state else set()
        made = (container for container in containers(state) if id(container) not in known)
        work += steps + (sum(map(len, made)) if before is not state else 0)
    return work


def counted(step: Step, state: Any, event: RecordedEvent) -> tuple[Any, int]:
    count = 0

    def trace(frame: FrameType, kind: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += kind == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return step(state, event), count
    finally:
        sys.settrace(before)


def containers(value: Any) -> Iterable[Any]:
    """The dicts and tuples of a state, but for those within their entries: a fold makes these one at a time."""
    match value:
        case dict() | tuple():
            yield value
            if isinstance(value, tuple) and value and isinstance(value[0], dict):
                yield from value
        case msgspec.Struct():
            for name in value.__struct_fields__:
                yield from containers(getattr(value, name))
