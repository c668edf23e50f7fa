"""Idle stop, removal, messages, crashes, faults in every order: the gate holds, nothing is lost, it comes to rest."""

import logging

import pytest

from tests.support.samples import samples
from tests.unit.interleavings.actions import external
from tests.unit.interleavings.explore import Exploration, drain
from tests.unit.interleavings.model import Model

pytestmark = pytest.mark.proof


WAYS = 60
"""How many orders a sample goes through, of each kind."""


@pytest.fixture(autouse=True)
def quiet_effect_worker():
    """Its warnings of tries that fail would be many thousands here."""
    logging.getLogger("application.effects.worker").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("application.effects.worker").setLevel(logging.NOTSET)


def after(*things: str) -> Model:
    """A session to which these have happened, one after the other."""
    model = Model({})
    for thing in things:
        model.budget = {"message": 1, "close": 1, "remove": 1}
        steps = {
            "message": ["a message"],
            "stop": ["a user close"],
            "remove": ["stopped workers are listed", "a removal"],
        }
        for step in steps[thing]:
            dict(external(model))[step](model)
        drain(model)
    model.messages = ()
    return model


STARTS = {
    "new": (),
    "running": ("message",),
    "stopped": ("message", "stop"),
    "deleted": ("message", "stop", "remove"),
}
USUAL = {"message": 1, "idle": 1, "remove": 1, "crash": 1}


@pytest.mark.parametrize("start", ["running", "stopped"])
def test_idle_stop_removal_message_and_crash_in_every_order(start):
    exploration = Exploration(after(*STARTS[start]), USUAL)

    assert exploration.run() > 10
    assert exploration.states > 5000


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("start", "budget"),
    [
        ("new", USUAL),
        ("deleted", USUAL),
        ("running", {"message": 2, "idle": 1, "remove": 1, "crash": 1}),
        ("running", {"message": 1, "idle": 1, "close": 1, "remove": 1, "fault": 1}),
        ("running", {"message": 1, "idle": 1, "remove": 1, "fault": 2}),
        ("running", {"message": 1, "idle": 1, "remove": 1, "kill": 1}),
        ("running", {"message": 1, "idle": 1, "remove": 1, "rm": 1}),
        ("stopped", {"message": 1, "remove": 1, "kill": 1, "crash": 1}),
        ("stopped", {"message": 1, "remove": 1, "rm": 1, "crash": 1}),
        ("new", {"message": 1, "close": 1, "rm": 1, "fault": 1}),
        ("running", {"message": 1, "idle": 1, "discard": 1, "crash": 1}),
        ("stopped", {"message": 1, "remove": 1, "discard": 1, "fault": 1}),
    ],
    ids=lambda value: "-".join(f"{name}{count}" for name, count in value.items()) if isinstance(value, dict) else value,
)
def test_more_of_it_and_with_faults_in_every_order(start, budget):
    """`fault`: a call to the runtime or the executor fails before or after it is done; `kill`, `rm`: somebody kills or
    removes the container by hand; `discard`: an operator gives its workspace up."""
    exploration = Exploration(after(*STARTS[start]), budget)

    if samples().whole:
        assert exploration.run() > 1
    else:
        chance = samples().chance(f"interleavings {start} {sorted(budget.items())}")
        assert exploration.sample(chance, ways=WAYS) >= WAYS
