"""A recorded sync copied below another prefix, on a real object store: whole, and of its own."""

import asyncio
import os
from threading import Event

import pytest

from application.ports.object_store import ObjectMissing
from application.ports.workspace_copier import WorkspaceGone
from domain.session.forking import moved
from domain.workspace.sync import SyncRef
from infrastructure.stored_workspaces import copying
from infrastructure.stored_workspaces.copying import S3WorkspaceCopier
from infrastructure.stored_workspaces.object_layout import content_key
from infrastructure.stored_workspaces.recorded_sync import load_recorded_sync
from tests.integration.executor.trees import Box, transfer_pool
from tests.integration.executor.worker import PREFIX

THERE = "app/a/project/p/u/session/fork/workspace"


@pytest.fixture
def recorded(store, tmp_path):
    """A sync with packed files, a middle one, an empty one, a link and an empty folder; names that need encoding."""
    with transfer_pool() as pool:
        box = Box(tmp_path / "box", store, pool, 1)
        box.restore()
        for name in ("small one", "ünïcode+&%", "c"):
            (box.workspace / name).write_bytes(os.urandom(500))
        (box.workspace / "middle").write_bytes(os.urandom(300_000))
        (box.workspace / "empty").touch()
        (box.workspace / "folder").mkdir()
        (box.workspace / "link").symlink_to("middle")
        yield box.sync().sync
        box.close()


def copied(store, source):
    target = moved(source, PREFIX, THERE)
    return target, asyncio.run(S3WorkspaceCopier(store).copy(source, target))


def everything(store, prefix):
    return {item.key.removeprefix(prefix): store.get(item.key) for item in store.list_objects(f"{prefix}/")}


def contents(store, prefix, sync):
    entries = load_recorded_sync(store, sync)[0].entries
    return {
        entry.path: store.get(content_key(prefix, entry), start=entry.offset, length=entry.size)
        for entry in entries
        if entry.kind == "file"
    }


def test_the_copy_holds_the_same_and_the_source_is_untouched(store, recorded):
    before = everything(store, PREFIX)
    target, done = copied(store, recorded)
    assert (done.files, done.contents) == (5, 2)
    assert target.manifest_hash == recorded.manifest_hash
    assert contents(store, THERE, target) == contents(store, PREFIX, recorded)
    assert everything(store, PREFIX) == before
    store.delete([item.key for item in store.list_objects(f"{PREFIX}/")])
    assert everything(store, THERE) == before


def test_a_copy_that_nobody_waits_for_any_more_leaves_no_manifest(store, recorded, monkeypatch):
    target = moved(recorded, PREFIX, THERE)
    begun, go_on = Event(), Event()
    really = type(store).copy

    def held(self, source, key):
        begun.set()
        assert go_on.wait(30)
        really(self, source, key)

    monkeypatch.setattr(type(store), "copy", held)
    copier = S3WorkspaceCopier(store)

    async def given_up():
        copying_ = asyncio.create_task(copier.copy(recorded, target))
        assert await asyncio.to_thread(begun.wait, 30)
        copying_.cancel()
        await asyncio.gather(copying_, return_exceptions=True)

    asyncio.run(given_up())
    go_on.set()
    copier._copies.shutdown(wait=True)
    assert target.manifest_key not in {item.key for item in store.list_objects(f"{THERE}/")}


def test_done_again_it_copies_only_what_is_missing(store, recorded, monkeypatch):
    target, _ = copied(store, recorded)
    lost = next(store.list_objects(f"{THERE}/packs/")).key
    store.delete([lost])
    asked = []
    really = type(store).copy

    def noted(self, source, key):
        asked.append(key)
        return really(self, source, key)

    monkeypatch.setattr(type(store), "copy", noted)
    assert copied(store, recorded)[0] == target
    assert asked == [lost]


def test_what_is_too_large_for_one_copy_goes_in_parts(store, recorded, monkeypatch):
    monkeypatch.setattr(copying, "LARGEST_COPY", 1000)
    target, _ = copied(store, recorded)
    assert contents(store, THERE, target) == contents(store, PREFIX, recorded)


def test_content_that_was_collected_is_gone(store, recorded):
    store.delete([next(store.list_objects(f"{PREFIX}/objects/")).key])
    with pytest.raises(WorkspaceGone, match="gone"):
        copied(store, recorded)
    with pytest.raises(ObjectMissing):
        store.get(moved(recorded, PREFIX, THERE).manifest_key)
    with pytest.raises(WorkspaceGone):
        copied(store, SyncRef(manifest_key=f"{PREFIX}/manifests/9-9-0.json", manifest_hash="0" * 64))
