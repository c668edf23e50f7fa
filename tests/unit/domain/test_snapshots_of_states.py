"""Any state of an aggregate, written as a snapshot and read back, goes on as if it had never left memory."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.event import Event, decode, encode
from domain.run import events as r
from domain.run.evolve import evolve as evolve_run
from domain.run.evolve import journal_event_id
from domain.session.evolve import evolve as evolve_session
from tests.support.event_strategies import any_event, instances
from tests.support.live_aggregate import through_snapshot
from tests.support.mixed_history import mixed_history
from tests.support.samples import samples
from tests.support.specification import fold, occurrence

LEASED = (
    r.RunClaimed, r.RunRetryScheduled, r.RunPhaseEntered, r.RunStarted, r.MessageDelta, r.HumanLoopRequested,
    r.HumanLoopResolved, r.HumanLoopExpired, r.RunAgentFinished, r.RunSyncing, r.RunExported, r.RunFinished,
)  # fmt: skip
ANSWERS = (r.HumanLoopReplyAccepted, r.HumanLoopCanceled, r.RunCancelRequested)


def assert_goes_on(evolve: Any, log: list[Any], cut: int) -> None:
    snapshot = through_snapshot(fold(evolve, log[:cut]))
    assert snapshot == fold(evolve, log[:cut])
    assert fold(evolve, log[cut:], snapshot) == fold(evolve, log)


def stored(event: Event) -> Event:
    return decode(event.wire_name, event.schema_version, encode(event))


@settings(deadline=None, max_examples=samples().size(whole=200, sample=80))
@given(
    first=st.one_of(instances(r.RunQueued), instances(r.RunBlocked), instances(r.RunBound)),
    others=st.lists(any_event(*LEASED, *ANSWERS), max_size=30),
    data=st.data(),
)
def test_a_run_with_any_values_in_it(first: Event, others: list[Event], data: st.DataObject) -> None:
    # A few question ids, so that answers meet their questions.
    events = [first, *(_with_question(event, data.draw(st.sampled_from(["a", "ü\0"]))) for event in others)]
    log = [
        occurrence(stored(event), event_id=journal_event_id("r", 0, "b", number)) for number, event in enumerate(events)
    ]
    assert_goes_on(evolve_run, log, data.draw(st.integers(0, len(log))))


def _with_question(event: Event, question_id: str) -> Event:
    return replace(event, question_id=question_id) if hasattr(event, "question_id") else event


@pytest.mark.parametrize(("kind", "evolve"), [("run:", evolve_run), ("session:", evolve_session)])
def test_every_state_of_a_busy_installation(kind: str, evolve: Any) -> None:
    logs: dict[str, list[Any]] = {}
    for stream, events in mixed_history(sessions=12):
        if stream.startswith(kind):
            logs.setdefault(stream, []).extend(events)
    assert len(logs) >= 12
    for log in logs.values():
        for cut in range(len(log) + 1):
            assert_goes_on(evolve, log, cut)
