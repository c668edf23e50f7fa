"""Every order in which the parts of one session can act, to the end of what the budget lets happen."""

from collections.abc import Callable
from functools import partial
from random import Random

from domain.session.state import Deleted, Running, Stopped
from tests.unit.interleavings.actions import Action, arrive, close, external, internal, list_stopped, remove
from tests.unit.interleavings.identity import identity
from tests.unit.interleavings.model import Model

MOST_STATES = 2_000_000
MOST_STEPS = 2_000


class Found(AssertionError):
    """A rule was broken; the message tells the way there."""


class Exploration:
    """`states` after `run`: how many different ones there are. Raises Found with the way to whatever is broken."""

    def __init__(self, start: Model, budget: dict[str, int]) -> None:
        first = start.copy()
        first.budget = dict(budget)
        self._ways: dict[str, tuple[str, str]] = {identity(first): ("", "the start")}
        self._waiting = [first]
        self._internal: dict[str, list[str]] = {}
        self._ended: list[tuple[str, Model]] = []

    @property
    def states(self) -> int:
        return len(self._ways)

    def sample(self, chance: Random, ways: int) -> int:
        """Goes so many ways at random, each to its end, instead of all there are. How many quiet states they had."""
        (start,) = self._waiting
        quiet = 0
        for _ in range(ways):
            model, here = start, identity(start)
            for _ in range(MOST_STEPS):
                inner = list(internal(model))
                if not inner:
                    quiet += 1
                    self._guarded(here, "at rest", partial(check_quiet, model))
                actions = [*inner, *external(model)]
                if not actions:
                    break
                name, do = chance.choice(actions)
                further = model.copy()
                self._guarded(here, name, partial(do, further))
                there = identity(further)
                self._ways.setdefault(there, (here, name))
                model, here = further, there
            else:
                raise Found(f"it does not come to rest\n{self._way_to(here)}")
        return quiet

    def run(self) -> int:
        """How many quiet states there are."""
        while self._waiting:
            model = self._waiting.pop()
            here = identity(model)
            inner = list(internal(model))
            self._internal[here] = [self._go(model, here, action) for action in inner]
            for action in external(model):
                self._go(model, here, action)
            if not inner:
                self._ended.append((here, model))
            assert self.states < MOST_STATES
        self._check_that_it_ends()
        for here, model in self._ended:
            self._guarded(here, "the end", partial(check_quiet, model))
        return len(self._ended)

    def _go(self, model: Model, here: str, action: Action) -> str:
        name, do = action
        further = model.copy()
        self._guarded(here, name, lambda: do(further))
        there = identity(further)
        if there not in self._ways:
            self._ways[there] = (here, name)
            self._waiting.append(further)
        return there

    def _guarded(self, here: str, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except AssertionError as error:
            raise Found(f"{error}\n{self._way_to(here)}\n{name}") from error

    def _way_to(self, here: str) -> str:
        steps = []
        while here:
            here, name = self._ways[here]
            steps.append(name)
        return "\n".join(reversed(steps))

    def _check_that_it_ends(self) -> None:
        """Whatever the order, without anything from outside it comes to rest: no way leads back to where it was."""
        done: set[str] = set()
        for root in self._internal:
            if root in done:
                continue
            open_, stack = {root}, [(root, iter(self._internal[root]))]
            while stack:
                here, further = stack[-1]
                there = next((each for each in further if each not in done), None)
                if there is None:
                    done.add(here)
                    open_.discard(here)
                    stack.pop()
                elif there in open_:
                    raise Found(f"it goes round and round, from\n{there}\nto\n{here}\n{self._way_to(here)}")
                else:
                    open_.add(there)
                    stack.append((there, iter(self._internal[there])))


def drain(model: Model) -> None:
    """Let everything happen that does so by itself, the first thing first."""
    for _ in range(2000):
        action = next(internal(model), None)
        if action is None:
            return
        action[1](model)
    raise AssertionError("it does not come to rest")


def check_quiet(model: Model) -> None:
    """What must be true when nothing is under way; and that the session still does all that a user may want."""
    assert not model.effects, f"left in the ledger: {model.effects}"
    _check_messages(model)
    state, world = model.state, model.world
    if state is None:
        return
    match state.lifecycle:
        case Running(stop=None) | Stopped(remove=None):
            pass
        case Deleted():
            assert all(box.status == "created" for box in world.boxes), f"deleted, and {world.boxes}"
        case other:
            raise AssertionError(f"it came to rest on its way: {other}")
    assert state.last_sync_status != "running", "a sync is said to run, and none does"
    box = world.box(state.generation)
    if isinstance(state.lifecycle, Stopped):
        assert box is None or box.status == "exited", f"stopped, and {box}"
    if box is not None and not isinstance(state.lifecycle, Deleted):
        assert box.restored
    _check_next_attempts(model.copy())


def _check_messages(model: Model) -> None:
    for message in model.messages:
        assert message.stage == "done", f"a message is lost: {message}"
        assert message.lost or message.name in model.world.ran, f"{message} never reached an agent"


def _check_next_attempts(model: Model) -> None:
    """A further message is answered, and the worker then goes down through both gates to nothing."""
    model.budget = {"message": 1, "close": 1, "remove": 1}
    arrive(model)
    drain(model)
    message = model.messages[-1]
    assert message.stage == "done", f"no answer to a further message: {message}"
    assert message.name in model.world.ran
    close(model)
    drain(model)
    assert isinstance(model.state.lifecycle, Stopped), model.state.lifecycle
    list_stopped(model)
    remove(model)
    drain(model)
    assert isinstance(model.state.lifecycle, Deleted), model.state.lifecycle
    assert all(box.status == "created" for box in model.world.boxes), model.world.boxes
