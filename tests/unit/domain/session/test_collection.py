"""Which syncs are kept, and when content may be collected."""

from domain.session import commands as c
from domain.session import events as e
from domain.session.collection import kept_syncs, superseded_at
from tests.support.sessions import DELETED, RUNNING, session, sync_ref, synced
from tests.support.specification import T0, minutes, occurrence

ASK = c.RequestCollection(collection_id="one", kept_since=T0)
ASKED = e.CollectionRequested(collection_id="one", kept_since=T0)
SYNCED = (*RUNNING, synced("a", "manual"))


def history(*numbers):
    """One sync a minute."""
    return [
        occurrence(synced(f"s{minute}", "manual", number), at=T0 + minutes(minute))
        for minute, number in enumerate(numbers)
    ]


def test_a_sync_is_kept_while_it_is_the_workspace_and_for_a_time_after():
    log = history(1, 2, 2, 3, 4)
    assert superseded_at(log) == {
        sync_ref(1): T0 + minutes(1),
        sync_ref(2): T0 + minutes(3),
        sync_ref(3): T0 + minutes(4),
        sync_ref(4): None,
    }
    assert kept_syncs(log, T0 + minutes(3)) == (sync_ref(2), sync_ref(3), sync_ref(4))
    assert kept_syncs(log, T0 + minutes(1000)) == (sync_ref(4),)


def test_one_that_was_restored_is_the_workspace_again():
    log = [*history(1, 2, 3), occurrence(e.WorkspaceRewound(sync=sync_ref(1), sync_position=1), at=T0 + minutes(9))]
    assert kept_syncs(log, T0 + minutes(9)) == (sync_ref(1), sync_ref(3))


def test_a_collection_is_asked_for_once_at_a_time():
    session.given(*SYNCED).when(ASK).then(ASKED)
    session.given(*SYNCED, ASKED).when(ASK).then_nothing()


def test_there_is_nothing_to_collect_without_a_sync():
    session.given(*RUNNING).when(ASK).then_nothing()


def test_not_while_a_restore_is_under_way():
    restore = e.RestoreRequested(generation=1, sync=sync_ref(1), sync_position=3, remove_sync_id="r")
    session.given(*SYNCED, restore).when(ASK).then_nothing()


def test_not_while_a_sync_is_under_way():
    sync = e.SyncRequested(generation=1, sync_id="b", reason="run.finished")
    session.given(*SYNCED, sync).when(ASK).then_nothing()
    session.given(*SYNCED, sync, synced("b", "run.finished", 2)).when(ASK).then(ASKED)


def test_what_is_kept_never_reaches_further_back_than_before():
    ended = e.ContentCollected(collection_id="one", kept_syncs=1, manifests=0, contents=0, bytes=0)
    earlier = c.RequestCollection(collection_id="two", kept_since=T0 - minutes(1))
    session.given(*DELETED, synced("a", "manual"), ASKED, ended).when(earlier).then_nothing()


def test_its_end_is_recorded_once():
    done = c.RecordCollected(collection_id="one", kept_syncs=1, manifests=2, contents=3, bytes=4, more=False)
    collected = e.ContentCollected(collection_id="one", kept_syncs=1, manifests=2, contents=3, bytes=4)
    session.given(*SYNCED, ASKED).when(done).then(collected)
    session.given(*SYNCED, ASKED, collected).when(done).then_nothing()
    failed = c.FailCollection(collection_id="one", error="no store")
    session.given(*SYNCED, ASKED).when(failed).then(e.CollectionFailed(collection_id="one", error="no store"))
