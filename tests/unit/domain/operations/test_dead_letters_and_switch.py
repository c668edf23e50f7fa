"""Dead letters and the queue's switch, as given / when / then."""

from domain.operations import dead_letters as d
from domain.operations import events as e
from domain.operations import queue_switch as q
from tests.support.specification import Specification

letters = Specification(d.decide, d.evolve)
switch = Specification(q.decide, q.evolve)
GIVEN_UP = e.EffectGivenUp(effect_id="x", kind="container.stop", attempts=5, error="no")


def test_what_was_given_up_can_be_retried_once_or_dropped_once():
    outcome = letters.given(GIVEN_UP).when(d.RetryEffect(effect_id="x", reason="again"))
    given = outcome.then(e.EffectRetryRequested(effect_id="x", reason="again"))
    given.when(d.RetryEffect(effect_id="x")).then_error(d.NotGivenUp, saying="'x'")
    given.when(d.DropEffect(effect_id="x")).then_error(d.NotGivenUp)
    letters.given(GIVEN_UP).when(d.DropEffect(effect_id="x")).then(e.EffectDropped(effect_id="x"))


def test_what_fails_after_its_retry_is_given_up_again():
    again = d.GiveUpEffect(effect_id="x", kind="container.stop", attempts=6, error="no")
    given = letters.given(GIVEN_UP, e.EffectRetryRequested(effect_id="x")).when(again)
    given.then(e.EffectGivenUp(effect_id="x", kind="container.stop", attempts=6, error="no"))


def test_nothing_else_can_be_retried():
    letters.given().when(d.RetryEffect(effect_id="x")).then_error(d.NotGivenUp)


def test_the_switch_changes_once():
    given = switch.given().when(q.PauseQueue(reason="deploy")).then(e.QueuePaused(reason="deploy"))
    given.when(q.PauseQueue()).then_nothing()
    given = given.when(q.ResumeQueue()).then(e.QueueResumed())
    given.when(q.ResumeQueue()).then_nothing()
