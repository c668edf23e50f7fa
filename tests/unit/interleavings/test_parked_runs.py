"""A run that waits for a person, its workers, its process manager and the person, in every order in which they can act:
with the run's own decisions and the process manager's own outcomes. The row follows the statements of sql/queries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import pytest

from application.process_managers.outcomes import (
    DequeueRun,
    EnqueueFinish,
    EnqueueRun,
    Outcome,
    ParkRun,
    WakeRun,
    WantedEffect,
)
from application.process_managers.run_life import _detach
from application.process_managers.table import outcomes_of
from domain.event import Event
from domain.run import commands as c
from domain.run import events as e
from domain.run.decide import decide
from domain.run.evolve import evolve, journal_event_id
from domain.run.state import Active, Finished, Finishing, Run
from tests.support.recorded import new_event, recorded
from tests.support.runs import EXPORTED_TO, RUNNING
from tests.support.specification import T0, minutes

LATER = T0 + minutes(60)
MOST_LATE = 1
MOST_SCENES = 200_000
JOURNAL = {
    "asks": (e.HumanLoopRequested(question_id="q"),),
    "answered": (
        e.HumanLoopRequested(question_id="q"),
        e.HumanLoopResolved(question_id="q", answer="yes"),
        e.RunAgentFinished(outcome="succeeded"),
    ),
    "stopped": (e.HumanLoopRequested(question_id="q"), e.RunAgentFinished(outcome="canceled")),
}
"""What the executor's journal has, by what became of its agent."""


@dataclass(frozen=True)
class Row:
    state: str = "leased"
    generation: int = 1
    parked: bool = False
    expired: bool = False


@dataclass(frozen=True)
class Scene:
    """`log`: events with their ids; `read`: how many the process manager has dealt with. `holder`: the lease generation
    that a living worker believes in. `delivering`: an answer is on its way to the agent. `late`: how often a lease has
    run out before the process manager had read everything."""

    log: tuple[tuple[Event, str], ...]
    read: int
    row: Row = Row()
    holder: int | None = 1
    agent: str = "asks"
    delivering: bool = False
    late: int = 0
    budget: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[object, ...]:
        log = tuple((event.wire_name, getattr(event, "lease_generation", 0)) for event, _ in self.log)
        return log, self.read, self.row, self.holder, self.agent, self.delivering, self.late, self.budget

    @cached_property
    def run(self) -> Run:
        state: Run | None = None
        for event, event_id in self.log:
            state = evolve(state, new_event(event, event_id, T0))
        assert state is not None
        return state

    def handled(self, command: c.RunCommand, event_id: str = "") -> "Scene":
        events = decide(self.run, command)
        new = tuple((event, event_id or f"e{len(self.log) + n}") for n, event in enumerate(events))
        return replace(self, log=self.log + new)


Action = tuple[str, Callable[[Scene], Scene]]


def internal(scene: Scene, *, looks: bool) -> Iterator[Action]:
    """What happens by itself, sooner or later."""
    run = scene.run
    if scene.holder is not None:
        yield f"worker {scene.holder} acts", act
    for page in range(1, len(scene.log) - scene.read + 1):
        yield f"the process manager reads {page}", partial(read, number=page)
    if scene.delivering:
        yield "the answer arrives", lambda at: replace(at, delivering=False, agent=arrived(at.agent))
    if scene.row.state == "ready" or (scene.row.state == "leased" and scene.row.expired):
        yield "a worker claims", claim
    if scene.row.state == "leased" and not scene.row.expired and scene.holder != scene.row.generation:
        late = scene.late + (scene.read < len(scene.log))
        if late <= MOST_LATE:
            yield "a lease runs out", lambda at: replace(at, row=replace(at.row, expired=True), late=late)
    if looks and scene.row.state == "waiting" and not still_waits(scene, run):
        yield "a look", lambda at: replace(at, row=replace(at.row, state="ready"))


def external(scene: Scene) -> Iterator[Action]:
    def spend(what: str, do: Callable[[Scene], Scene]) -> Action:
        rest = list(scene.budget)
        rest.remove(what)
        return what, lambda at: replace(do(at), budget=tuple(rest))

    state = scene.run
    for what in sorted(set(scene.budget)):
        if what == "reply" and state.waits_for_a_person:
            yield spend(what, lambda at: at.handled(c.ReplyToQuestion(question_id="q", answer="yes")))
        elif what == "cancel" and not isinstance(state.stage, Finished):
            yield spend(what, lambda at: at.handled(c.CancelRun()))
        elif what == "crash" and scene.holder is not None:
            yield spend(what, lambda at: replace(at, holder=None))
        elif what == "stall" and scene.holder is not None and scene.row.state == "leased":
            yield spend(what, lambda at: replace(at, row=replace(at.row, expired=True)))


def act(scene: Scene) -> Scene:
    """The next thing that a worker does, as application/runs does: it ends at once if another one has taken over."""
    run, lease = scene.run, scene.holder
    assert lease is not None
    if lease < run.lease_generation or isinstance(run.stage, Finished):
        return replace(scene, holder=None)
    if lease > run.lease_generation:
        return scene.handled(c.ClaimRun(lease_generation=lease, owner="w"))
    if isinstance(run.stage, Finishing):
        scene = scene.handled(c.BeginFinalSync(lease_generation=lease, sync_id="final"))
        scene = scene.handled(c.RecordExported(lease_generation=lease, sync=EXPORTED_TO))
        return replace(scene.handled(c.FinishRun(lease_generation=lease, retry_at=LATER)), holder=None)
    assert isinstance(run.stage, Active)
    if run.stage.parked:
        return replace(scene, holder=None)
    journal = JOURNAL[scene.agent]
    if run.entries < len(journal):
        n = run.entries + 1
        entry = c.RecordJournalEntry(lease_generation=lease, attempt=1, n=n, event=journal[n - 1])
        return scene.handled(entry, journal_event_id("r1", 1, "b", n))
    if run.cancel_requested:
        return replace(scene, agent="stopped")
    return scene.handled(c.ParkRun(lease_generation=lease, waits_for="person", until=LATER))


def read(scene: Scene, number: int) -> Scene:
    """The process manager deals with so many events as one page."""
    outcomes: list[tuple[int, Outcome]] = []
    for position, (event, _) in enumerate(scene.log[scene.read : scene.read + number], scene.read + 1):
        (at,) = recorded("run:r1", [event], first_position=position, first_seq=position)
        outcomes += [(position, outcome) for outcome in outcomes_of(at) if outcome != _detach(at)]
    row = scene.row
    woken = max((position for position, outcome in outcomes if isinstance(outcome, WakeRun)), default=0)
    if woken and row.state == "waiting":
        row = replace(row, state="ready")
    for position, outcome in outcomes:
        match outcome:
            case ParkRun(lease_generation=lease) if row.state == "leased" and lease == row.generation:
                row = Row("ready" if woken > position else "waiting", lease, parked=True)
            case DequeueRun():
                row = Row("done", row.generation)
            case WantedEffect(kind="human_loop.deliver_reply"):
                scene = replace(scene, delivering=True)
            case ParkRun() | WakeRun() | EnqueueRun() | EnqueueFinish():
                pass
            case _:
                raise AssertionError(outcome)
    return replace(scene, row=row, read=scene.read + number)


def claim(scene: Scene) -> Scene:
    row = Row("leased", scene.row.generation + 1)
    return replace(scene, row=row, holder=row.generation)


def arrived(agent: str) -> str:
    return "answered" if agent == "asks" else agent


def still_waits(scene: Scene, run: Run) -> bool:
    parked = isinstance(run.stage, Active) and run.stage.parked == "person" and run.waits_for_a_person
    return parked and run.entries >= len(JOURNAL[scene.agent])


def explored(budget: tuple[str, ...], *, looks: bool) -> int:
    """How many scenes there are; each of them that is at rest is checked."""
    log = tuple((event, f"s{n}") for n, event in enumerate(RUNNING))
    start = Scene(log=log, read=len(log), budget=budget)
    ways: dict[object, tuple[object, str]] = {start.identity: (None, "the start")}
    ahead = [start]
    while ahead:
        scene = ahead.pop()
        here = scene.identity
        inner = [(name, do(scene)) for name, do in internal(scene, looks=looks)]
        moves = [(name, there) for name, there in inner if there.identity != here]
        if not moves:
            check(scene, way_to(here, ways))
        for name, there in [*moves, *((name, do(scene)) for name, do in external(scene))]:
            if there.identity not in ways:
                ways[there.identity] = here, name
                ahead.append(there)
        assert len(ways) < MOST_SCENES, way_to(here, ways)
    return len(ways)


def way_to(here: object, ways: dict[object, tuple[object, str]]) -> str:
    steps = []
    while here is not None:
        here, name = ways[here]
        steps.append(name)
    return "\n".join(["", *reversed(steps)])


def check(scene: Scene, way: str) -> None:
    run = scene.run
    kinds = [event.wire_name for event, _ in scene.log]
    replied = "human_loop.reply_accepted" in kinds
    if replied or run.cancel_requested:
        assert isinstance(run.stage, Finished), f"it is stuck: {scene.row}, {kinds}{way}"
        assert scene.row.state == "done", way
        assert run.stage.outcome == ("canceled" if run.cancel_requested else "succeeded"), way
    else:
        assert isinstance(run.stage, Active), way
        assert run.stage.parked, f"it waits, and somebody holds it: {kinds}{way}"
        assert (scene.row.state, scene.holder) == ("waiting", None), way
    assert kinds.count("run.started") == 1, way


@pytest.mark.parametrize("looks", [False, True], ids=["events alone", "with looks"])
@pytest.mark.parametrize(
    "budget",
    [("reply",), ("cancel",), ("reply", "cancel"), ("reply", "crash"), ("cancel", "crash"), ("reply", "stall")],
)
def test_whatever_the_order_a_run_that_is_answered_or_canceled_ends_and_another_waits(
    budget: tuple[str, ...], looks: bool
) -> None:
    assert explored(budget, looks=looks) > 20


@pytest.mark.proof
def test_with_more_of_it_in_every_order() -> None:
    assert explored(("reply", "cancel", "crash"), looks=True) > 1_000
