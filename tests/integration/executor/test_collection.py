"""Collection of what no kept sync names, on a real object store: nothing that is kept is lost, the rest goes."""

import asyncio
import os
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from application.ports.object_store import ObjectStoreUnavailable
from domain.errors import StoredWorkspaceUnreadable
from infrastructure.executor.workspace.sync import Syncer
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.stored_workspaces.collection import S3ContentCollector
from tests.integration.executor.trees import Box, CountingStore, snapshot, transfer_pool
from tests.integration.executor.worker import PREFIX

NONE = timedelta(0)


def now():
    return datetime.now(UTC)


def collect(store, kept, *, grace=NONE, most=5000):
    # The store tells times in whole seconds.
    later = now() + (timedelta(seconds=2) if grace == NONE else NONE)
    collector = S3ContentCollector(store, clock=lambda: later, grace=grace, most=most)
    return asyncio.run(collector.collect(PREFIX, kept))


@pytest.fixture
def box(store, tmp_path):
    with transfer_pool() as pool:
        made = Box(tmp_path / "box", store, pool, 1)
        made.restore()
        yield made
        made.close()


@contextmanager
def restored(store, sync, folder):
    with transfer_pool() as pool:
        again = Box(folder, store, pool, 2)
        again.restore(sync=sync)
        yield again.workspace
        again.close()


def edited(box, number):
    """Small files that share packs, a middle one, a shared content, a large one now and then."""
    for name in range(6):
        path = box.workspace / f"d{name % 2}" / f"small-{name}"
        path.parent.mkdir(exist_ok=True)
        if (name + number) % 3 == 0 or not path.exists():
            path.write_bytes(os.urandom(500))
    (box.workspace / "middle").write_bytes(os.urandom(300_000) if number % 2 else b"always the same" * 30_000)
    (box.workspace / f"only-{number}").write_bytes(b"only in one sync %d" % number)
    (box.workspace / f"only-{number - 1}").unlink(missing_ok=True)


def keys(store):
    return {item.key.removeprefix(f"{PREFIX}/") for item in store.list_objects(f"{PREFIX}/")}


def test_every_kept_sync_can_be_restored_and_the_rest_is_gone(store, box, tmp_path):
    syncs, contents = [], []
    for number in range(6):
        edited(box, number)
        syncs.append(box.sync(previous=syncs[-1] if syncs else None).sync)
        contents.append(snapshot(box.workspace))
    store.put(f"{PREFIX}/plain.txt", b"of somebody else")
    store.put(f"{PREFIX}/outputs/aa/{'a' * 64}", b"named by an event")
    before = keys(store)
    kept = (syncs[1], syncs[4], syncs[5])

    collected = collect(store, kept)

    assert collected.manifests == 3
    assert collected.contents == len(before) - len(keys(store)) - 3 > 0
    for number in (1, 4, 5):
        with restored(store, syncs[number], tmp_path / f"again-{number}") as workspace:
            assert snapshot(workspace) == contents[number]
    assert {"plain.txt", f"outputs/aa/{'a' * 64}"} <= keys(store)
    with pytest.raises(StoredWorkspaceUnreadable), restored(store, syncs[0], tmp_path / "gone"):
        pass
    after = collect(store, kept)
    assert (after.manifests, after.contents, after.more) == (0, 0, False)
    assert box.sync(previous=syncs[5], gate=True).unchanged


def test_what_is_young_stays(store, box):
    edited(box, 1)
    old = box.sync().sync
    edited(box, 2)
    present = box.sync(previous=old).sync
    before = keys(store)
    collected = collect(store, (present,), grace=timedelta(hours=1))
    assert (collected.manifests, collected.contents, keys(store)) == (0, 0, before)


def test_a_kept_sync_that_can_not_be_read_stops_it_before_anything_is_deleted(store, box):
    edited(box, 1)
    first = box.sync().sync
    edited(box, 2)
    second = box.sync(previous=first).sync
    store.delete([second.manifest_key])
    before = keys(store)
    with pytest.raises(StoredWorkspaceUnreadable):
        collect(store, (first, second))
    assert keys(store) == before


def test_a_round_is_bounded_and_one_that_was_broken_off_is_done_again(location, store, box, tmp_path):
    class DiesAt(S3ObjectStore):
        def delete(self, keys):
            wanted = list(keys)
            super().delete(wanted[: len(wanted) // 2])
            raise ObjectStoreUnavailable("killed in the middle")

    syncs = []
    for number in range(5):
        edited(box, number)
        syncs.append(box.sync(previous=syncs[-1] if syncs else None).sync)
    expected = snapshot(box.workspace)
    dying = DiesAt(location)
    with pytest.raises(ObjectStoreUnavailable):
        collect(dying, (syncs[-1],))
    dying.close()
    one = collect(store, (syncs[-1],), most=2)
    assert (one.manifests + one.contents, one.more) == (2, True)
    rest = collect(store, (syncs[-1],))
    assert not rest.more
    assert sum("manifests/" in key for key in keys(store)) == 1
    with restored(store, syncs[-1], tmp_path / "again") as workspace:
        assert snapshot(workspace) == expected


def test_an_executor_does_not_rely_on_what_may_have_been_collected(location, tmp_path):
    """Its last sync was never recorded (the answer was lost): after an hour its content is sent anew."""
    store = CountingStore(location)
    with transfer_pool() as pool:
        worker = Box(tmp_path / "box", store, pool, 1)
        worker.restore()
        (worker.workspace / "a").write_bytes(b"recorded")
        recorded = worker.sync().sync
        (worker.workspace / "b").write_bytes(b"never recorded" * 30_000)
        lost = worker.sync(previous=recorded).sync
        collect(store, (recorded,))
        patient = Syncer(worker.parts, 1, reuse_uncertain_s=0.0)
        worker.syncer = patient
        again = worker.sync(previous=recorded)
        assert (again.unchanged, again.sync != lost) == (False, True)
        worker.close()
    with restored(store, again.sync, tmp_path / "again") as workspace:
        assert (workspace / "b").read_bytes() == b"never recorded" * 30_000
    store.close()


def test_what_a_failed_sync_had_sent_is_sent_anew_when_that_is_long_ago(location, tmp_path):
    class BreaksAtManifest(CountingStore):
        broken = True

        def put(self, key, body, *, metadata=None):
            if "/manifests/" in key and self.broken:
                raise ConnectionError("cut")
            super().put(key, body, metadata=metadata)

    store = BreaksAtManifest(location)
    with transfer_pool() as pool:
        worker = Box(tmp_path / "box", store, pool, 1)
        worker.restore()
        worker.syncer = Syncer(worker.parts, 1, reuse_uncertain_s=0.0)
        (worker.workspace / "f").write_bytes(os.urandom(500_000))
        with pytest.raises(ConnectionError):
            worker.sync()
        collect(store, ())
        store.broken = False
        synced = worker.sync()
        assert synced.uploaded_files == 1
        worker.close()
    with restored(store, synced.sync, tmp_path / "again") as workspace:
        assert (workspace / "f").stat().st_size == 500_000
    store.close()


@pytest.mark.proof
def test_a_sync_that_races_with_collection_loses_nothing(location, store, tmp_path):
    """Syncs in a loop, some of them never recorded, beside collections in a loop that keep the one on record alone."""
    recorded, contents = [], {}
    done = threading.Event()
    grace = timedelta(seconds=3)

    def collect_all_the_time():
        rounds = 0
        other = S3ObjectStore(location)
        while not done.is_set() or rounds == 0:
            kept = tuple(recorded[-2:])
            if kept:
                asyncio.run(S3ContentCollector(other, clock=now, grace=grace).collect(PREFIX, kept))
                rounds += 1
            time.sleep(0.01)
        other.close()

    with transfer_pool() as pool:
        worker = Box(tmp_path / "box", store, pool, 1)
        worker.restore()
        worker.syncer = Syncer(worker.parts, 1, reuse_uncertain_s=1.0)
        thread = threading.Thread(target=collect_all_the_time)
        thread.start()
        began = time.monotonic()
        number = 0
        try:
            while time.monotonic() - began < 8:
                number += 1
                edited(worker, number)
                result = worker.sync(previous=recorded[-1] if recorded else None)
                if number % 4:
                    recorded.append(result.sync)
                    contents[result.sync] = snapshot(worker.workspace)
        finally:
            done.set()
            thread.join(60)
        worker.close()
    for number, sync in enumerate(recorded[-2:]):
        with restored(store, sync, Path(tmp_path) / f"again-{number}") as workspace:
            assert snapshot(workspace) == contents[sync]
