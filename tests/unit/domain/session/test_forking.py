"""A session that begins with the past of another one."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from domain.errors import Conflict, IdentityConflict, InvalidInput, NotFound
from domain.event import Event
from domain.identifiers import workspace_prefix
from domain.record import Metadata, RecordedEvent
from domain.run.values import Warn
from domain.session import commands as c
from domain.session import events as e
from domain.session.collection import kept_syncs
from domain.session.forking import KnownSync, check_copied, nearest_sync
from domain.session.origin import ForkOrigin
from domain.session.state import Deleted
from domain.workspace.sync import SyncRef
from tests.support.sessions import (
    ACTIVATE,
    ATTACHED,
    DETACHED,
    LINKED,
    MANIFEST,
    PREFIX,
    RESTORED,
    RUNNING,
    UP,
    VALIDATED,
    activation,
    created,
    session,
    started,
    sync_ref,
    synced,
)
from tests.support.specification import T0, minutes, occurrence

THERE = workspace_prefix("shop", "web", "ann", "s0")
COPIED = SyncRef(manifest_key=f"{PREFIX}/manifests/1-3-0.json", manifest_hash=f"{3:064x}")
ORIGIN = ForkOrigin(
    run_id="r0",
    session_id="s0",
    at_seq=9,
    position=40,
    sync=SyncRef(manifest_key=f"{THERE}/manifests/1-3-0.json", manifest_hash=f"{3:064x}"),
    sync_position=30,
)
LOSS = Warn(code="files_older", message="older")
FORK = c.ForkSession(
    session_id="s1", origin=ORIGIN, origin_prefix=THERE, app_id="shop", project_name="web", user_login_name="ann",
    manifest=MANIFEST, warnings=(LOSS,),
)  # fmt: skip
FORKED = e.SessionForked(
    origin=ORIGIN, app_id="shop", project_name="web", user_login_name="ann", workspace_prefix=PREFIX,
    manifest=MANIFEST, sync=COPIED, warnings=(LOSS,),
)  # fmt: skip
WITHOUT_FILES = replace(FORK, origin=replace(ORIGIN, sync=None, sync_position=0))
EMPTY = replace(FORKED, origin=WITHOUT_FILES.origin, sync=None)
DONE = e.WorkspaceCopied(files=2, contents=1, bytes=10)
FAILED = e.ForkFailed(error="collected")
FORK_ACTIVATING = (FORKED, DONE, activation(manifest=MANIFEST, last_sync=COPIED))
FORK_RUNNING = (*FORK_ACTIVATING, created(), started(), RESTORED, LINKED, VALIDATED, UP)


def test_its_first_event_names_its_origin_and_its_files_are_to_be_its_own():
    fork = session.given().when(FORK).then(FORKED)
    assert fork.state.public_state == "deleted"
    assert isinstance(fork.state.lifecycle, Deleted)
    assert fork.state.fork is not None
    assert fork.state.fork.content == "copying"
    assert fork.given(DONE).state.last_sync_status == "success"


def test_without_any_sync_before_the_point_there_is_nothing_to_copy():
    fork = session.given().when(WITHOUT_FILES).then(EMPTY)
    assert fork.state.fork is not None
    assert fork.state.fork.content == "none"
    assert fork.state.last_sync is None


def test_the_next_activation_makes_its_worker_from_those_files():
    session.given(FORKED, DONE).when(ACTIVATE).then(activation(manifest=MANIFEST, last_sync=COPIED))
    session.given(EMPTY).when(ACTIVATE).then(activation(manifest=MANIFEST))


def test_asking_twice_is_asking_once():
    session.given(FORKED).when(FORK).then_nothing()
    session.given(*FORK_RUNNING).when(FORK).then_nothing()


@pytest.mark.parametrize("history", [RUNNING, (replace(FORKED, origin=replace(ORIGIN, at_seq=8)),)])
def test_another_session_under_this_id_is_a_conflict(history):
    session.given(*history).when(FORK).then_error(IdentityConflict)


def test_an_id_that_is_none_is_refused():
    session.given().when(replace(FORK, session_id="no/id")).then_error(InvalidInput, field="sessionId")
    session.given().when(c.FailFork(error="x")).then_error(NotFound)


def test_the_end_of_the_copying_is_recorded_once():
    copied = c.RecordWorkspaceCopied(files=2, contents=1, bytes=10)
    session.given(FORKED).when(copied).then(DONE)
    session.given(FORKED, DONE).when(copied).then_nothing()
    session.given(FORKED).when(c.FailFork(error="collected")).then(FAILED)
    session.given(FORKED, DONE).when(c.FailFork(error="collected")).then_nothing()
    session.given(EMPTY).when(copied).then_nothing()


def test_a_fork_without_the_files_that_it_should_have_never_comes_up():
    session.given(FORKED, FAILED).when(ACTIVATE).then_error(Conflict, reason="fork_failed", saying="collected")


@pytest.mark.parametrize(("history", "reason"), [((FORKED,), "fork_copying"), ((FORKED, FAILED), "fork_failed")])
def test_it_is_not_forked_itself_before_its_files_are_its_own(history, reason):
    with pytest.raises(Conflict) as refused:
        check_copied("s1", session.given(*history).state)
    assert refused.value.reason == reason


@pytest.mark.parametrize("history", [(FORKED, DONE), (EMPTY,), RUNNING])
def test_with_its_own_files_it_may_be_forked(history):
    check_copied("s1", session.given(*history).state)


def test_its_first_files_are_kept_like_those_of_any_sync_and_never_collected_while_they_come():
    log = [
        occurrence(FORKED),
        occurrence(synced("a", "manual", 5), at=T0 + minutes(5)),
    ]
    assert kept_syncs(log, T0) == (COPIED, sync_ref(5))
    assert kept_syncs(log, T0 + minutes(6)) == (sync_ref(5),)
    ask = c.RequestCollection(collection_id="one", kept_since=T0)
    session.given(FORKED).when(ask).then_nothing()
    session.given(FORKED, DONE).when(ask).then_types(e.CollectionRequested)


def test_it_knows_its_first_runs():
    history = session.given(*FORK_RUNNING, ATTACHED, DETACHED, replace(ATTACHED, attached_run_id="r2"))
    assert history.state.fork is not None
    assert history.state.fork.runs == ("r1", "r2")


def recorded(*events: Event, first: int = 1) -> list[RecordedEvent]:
    """One a minute; its place in the stream is its position, too."""
    return [
        RecordedEvent(
            position=place,
            stream="session:s0",
            seq=place,
            event_id=str(place),
            event=event,
            occurred_at=T0 + minutes(place),
            recorded_at=datetime(2026, 1, 1, tzinfo=UTC),
            metadata=Metadata(actor="spec", correlation_id="spec"),
        )
        for place, event in enumerate(events, first)
    ]


ASKED = e.SyncRequested(generation=1, sync_id="b", reason="manual")
HISTORY = recorded(synced("a", "manual", 1), ASKED, synced("b", "manual", 2), synced("c", "manual", 3))


def test_the_nearest_sync_is_the_last_one_before_the_point():
    assert nearest_sync(HISTORY, 3, None).found == KnownSync(sync=sync_ref(2), position=3, requested_position=2)
    assert nearest_sync(HISTORY, 2, None).found == KnownSync(sync=sync_ref(1), position=1, requested_position=1)
    assert nearest_sync(HISTORY, 100, None).found == KnownSync(sync=sync_ref(3), position=4, requested_position=4)
    assert nearest_sync(HISTORY, 0, None).found is None


def test_a_sync_that_completes_an_earlier_request_too_counts_from_the_later_one():
    log = recorded(
        e.SyncRequested(generation=1, sync_id="earlier", reason="message.stop"),
        e.SyncRequested(generation=1, sync_id="final", reason="run.finished"),
        replace(synced("final", "run.finished", 1), skipped_paths=("socket",)),
        synced("earlier", "message.stop", 1),
    )
    assert nearest_sync(log, 4, None).found == KnownSync(
        sync=sync_ref(1), position=3, requested_position=2, left_out=("socket",)
    )


def test_one_that_is_no_longer_kept_is_none():
    kept_since = T0 + minutes(4)
    assert nearest_sync(HISTORY, 2, kept_since).found is None
    assert nearest_sync(HISTORY, 2, kept_since).not_kept == 1
    found = nearest_sync(HISTORY, 3, kept_since).found
    assert found is not None
    assert found.position == 3


def test_a_nearer_one_that_is_not_kept_does_not_hide_an_older_one_that_is():
    rewound = e.WorkspaceRewound(sync=sync_ref(1), sync_position=1)
    log = [*HISTORY, *recorded(rewound, first=5)]
    nearest = nearest_sync(log, 3, T0 + minutes(5))
    assert nearest.not_kept == 3
    assert nearest.found == KnownSync(sync=sync_ref(1), position=1, requested_position=1)


def test_what_a_fork_began_with_can_be_forked_again():
    assert nearest_sync(recorded(FORKED), 5, None).found == KnownSync(sync=COPIED, position=1, requested_position=1)
