"""Projections and process managers stop, retry and skip by the same rules, each with its own events."""

import pytest

from domain.event import NewerSchemaVersion, UnknownEventType
from domain.operations import events as m
from domain.operations import projection_events as p
from domain.operations.log_consumer import (
    BlockingEvent,
    ConsumerKind,
    NotStopped,
    RetryEvent,
    SkipEvent,
    StopAtEvent,
    blocking_event,
    describe,
)
from domain.operations.process_managers import PROCESS_MANAGER
from domain.operations.projections import PROJECTION, RecordRebuilt, RequestRebuild
from domain.operations.projections import decide as decide_projections
from domain.operations.user_projections import USER_PROJECTION, ForgetProjection
from domain.operations.user_projections import decide as decide_users
from tests.support.specification import Specification

managers = Specification(PROCESS_MANAGER.decide, PROCESS_MANAGER.evolve)
users = Specification(decide_users, USER_PROJECTION.evolve)
projections = Specification(decide_projections, PROJECTION.evolve)
STOP = StopAtEvent(at_position=7, event_type="run.finished", error="E: no")
MANAGER_STOPPED = m.ProcessManagerStopped(at_position=7, event_type="run.finished", error="E: no")
PROJECTION_STOPPED = p.ProjectionPaused(
    version=2, fold_version=5, at_position=7, event_type="run.finished", error="E: no"
)


def test_a_process_manager_stops_once_at_an_event_and_goes_on_after_a_retry() -> None:
    stopped = managers.given().when(STOP).then(MANAGER_STOPPED)
    stopped.when(STOP).then_nothing()
    retried = stopped.when(RetryEvent(reason="mended")).then(m.ProcessManagerRetried(at_position=7, reason="mended"))
    retried.when(RetryEvent()).then_error(NotStopped, reason="not_stopped")
    retried.when(STOP).then(MANAGER_STOPPED)


def test_a_users_projection_stops_by_events_of_its_own() -> None:
    stopped = (
        users.given().when(STOP).then(m.UserProjectionStopped(at_position=7, event_type="run.finished", error="E: no"))
    )
    stopped.when(RetryEvent(reason="mended")).then(m.UserProjectionRetried(at_position=7, reason="mended"))
    stopped.when(SkipEvent(at_position=7)).then(m.UserProjectionSkipped(at_position=7))
    users.given().when(RetryEvent()).then_error(NotStopped, reason="not_stopped", saying="user's projection")


def test_a_users_projection_that_is_forgotten_stays_stopped() -> None:
    stopped = users.given(m.UserProjectionStopped(at_position=7, event_type="run.finished", error="E: no"))
    forgotten = stopped.when(ForgetProjection(reason="old")).then(m.UserProjectionForgotten(reason="old"))
    forgotten.when(RetryEvent()).then(m.UserProjectionRetried(at_position=7))


def test_an_error_is_described_so_that_postgres_and_utf_8_can_hold_it() -> None:
    assert describe(ValueError("a\0b\udcffc")) == "ValueError: a\\0b\\udcffc"
    assert len(describe(ValueError("\udcff" * 3000)).encode()) == 2000


def test_a_skip_names_the_event_so_that_a_second_one_skips_nothing_else() -> None:
    stopped = managers.given(MANAGER_STOPPED)
    stopped.when(SkipEvent(at_position=8)).then_error(NotStopped, reason="not_stopped", saying="position 7")
    skipped = stopped.when(SkipEvent(at_position=7, reason="x")).then(
        m.ProcessManagerSkipped(at_position=7, reason="x")
    )
    skipped.when(SkipEvent(at_position=7)).then_nothing()
    again = skipped.given(m.ProcessManagerStopped(at_position=9, event_type="t", error="e"))
    again.when(SkipEvent(at_position=7)).then_nothing()
    state = PROCESS_MANAGER.evolve(None, skipped.history[-1])
    assert state is not None
    assert state.skips() == {7}


def test_each_version_of_a_projection_stops_by_itself_and_skips_for_its_fold_alone() -> None:
    command = StopAtEvent(version=2, fold_version=5, at_position=7, event_type="run.finished", error="E: no")
    stopped = projections.given().when(command).then(PROJECTION_STOPPED)
    stopped.when(RetryEvent(version=1)).then_error(NotStopped, reason="not_paused")
    stopped.when(RetryEvent(version=2)).then(p.ProjectionRetried(version=2, fold_version=5, at_position=7))
    skipped = stopped.when(SkipEvent(version=2, at_position=7)).then(
        p.ProjectionSkipped(version=2, fold_version=5, at_position=7)
    )
    state = None
    for each in skipped.history:
        state = PROJECTION.evolve(state, each)
    assert state is not None
    assert (state.skips(5), state.skips(6)) == ({7}, frozenset())


def test_a_rebuild_is_recorded_whatever_is_stopped() -> None:
    stopped = projections.given(PROJECTION_STOPPED)
    requested = stopped.when(RequestRebuild(version=3, fold_version=5))
    requested.then(p.ProjectionRebuildRequested(version=3, fold_version=5))
    rebuilt = stopped.when(RecordRebuilt(version=3, fold_version=5, at_position=9))
    rebuilt.then(p.ProjectionRebuilt(version=3, fold_version=5, at_position=9))


@pytest.mark.parametrize(
    ("kind", "stopped"), [(PROCESS_MANAGER, "stopped"), (PROJECTION, "paused"), (USER_PROJECTION, "stopped")]
)
def test_the_status_of_a_consumer_has_the_words_of_its_api(kind: ConsumerKind, stopped: str) -> None:
    blocking = BlockingEvent(position=7, type="t", error="e")

    assert kind.status(None) == "running"
    assert kind.status(blocking) == stopped
    assert kind.status(blocking_event(7, "t", NewerSchemaVersion("of tomorrow"))) == "waiting"
    assert kind.status(blocking_event(7, "t", UnknownEventType("of tomorrow"))) == "waiting"


def test_an_error_is_described_in_one_line_that_postgres_can_keep() -> None:
    assert blocking_event(7, "t", ValueError("a\0b")).error == "ValueError: a\\0b"
