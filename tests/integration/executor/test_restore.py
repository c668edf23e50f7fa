"""Restore plans carried out against a real store: layers, policies, broken syncs, crashes, escapes."""

import hashlib
import os
import threading
from contextlib import closing, contextmanager, suppress

import msgspec
import pytest

from application.ports.object_store import ObjectInfo, ObjectStoreUnavailable
from domain.errors import DomainError, InvalidInput, StoredWorkspaceUnreadable
from domain.workspace.sync import ManifestEntry, SyncManifest, SyncRef
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.errors import OtherGeneration
from tests.integration.executor.trees import Box, CountingStore, snapshot, transfer_pool
from tests.integration.executor.worker import L4, PREFIX, l0, l1


def kb(to="/workspace/.kb/app", *, source="kb/", read_only=False, level="L2"):
    name = "knowledge_overlay" if level == "L2" else "user_overlay"
    return {"level": level, "name": name, "from": source, "to": to, "optional": True, "readOnly": read_only}


@pytest.fixture
def counting(location):
    store = CountingStore(location)
    yield store
    store.close()


@pytest.fixture
def box(counting, tmp_path):
    made = []

    def make(generation=None):
        made.append(Box(tmp_path / f"box-{len(made)}", counting, pool, generation or len(made) + 1))
        return made[-1]

    with transfer_pool() as pool:
        yield make
        for each in made:
            each.close()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def put(store, **objects):
    for name, body in objects.items():
        store.put(name.replace("__", "/"), body)


def texts(worker):
    return {
        os.fsdecode(path): what[2].decode() for path, what in snapshot(worker.workspace).items() if what[0] == "file"
    }


def put_manifest(store, *entries, **fields):
    body = msgspec.json.encode(
        SyncManifest(
            **{"session_id": "s1", "generation": 1, "number": 1, "created_at": "", "reason": "manual",
               "entries": entries, **fields}
        )
    )  # fmt: skip
    key = f"{PREFIX}/manifests/1-1-000000000000.json"
    store.put(key, body)
    return SyncRef(manifest_key=key, manifest_hash=hashlib.sha256(body).hexdigest())


def test_all_layers_in_their_places(box, counting):
    put(counting, template__a=b"t", template__b=b"t", kb__doc=b"kb", pkb__doc=b"pkb", files__u=b"user")
    worker = box()
    worker.restore(
        [
            l0(), l1(), kb(), kb("/workspace/.kb/project", source="pkb/"),
            kb("/workspace/.user-files", source="files/", level="L3"), L4,
        ]
    )  # fmt: skip
    assert texts(worker) == {"a": "t", "b": "t", ".kb/app/doc": "kb", ".kb/project/doc": "pkb", ".user-files/u": "user"}
    assert (names_in(worker.workspace / ".agent_data")) == ["claude", "codex", "opencode"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("keep_session", {"same": "old", "edited": "mine", "new": "T2", "own": "mine"}),
        ("prefer_registry", {"same": "T2", "edited": "T2", "deleted": "T2", "new": "T2", "own": "mine"}),
        ("merge", {"same": "T2", "edited": "mine", "new": "T2", "own": "mine"}),
    ],
)
def test_a_new_template_meets_a_session(box, counting, policy, expected):
    put(counting, template__same=b"old", template__edited=b"old", template__deleted=b"old")
    first = box()
    first.restore([l0(), l1(), L4])
    (first.workspace / "edited").write_text("mine")
    (first.workspace / "own").write_text("mine")
    (first.workspace / "deleted").unlink()
    sync = first.sync().sync
    put(counting, **{f"template__{name}": b"T2" for name in ("same", "edited", "deleted", "new")})
    second = box()
    second.restore([l0(), l1(), L4], sync=sync, conflictPolicy=policy)
    assert texts(second) == expected


@pytest.mark.parametrize("policy", ["keep_session", "prefer_registry", "merge"])
def test_what_a_template_has_unchanged_keeps_the_time_at_which_it_came(box, counting, policy):
    put(counting, template__small=b"t", template__large=b"t" * 300_000, template__new=b"1")
    first = box()
    first.restore([l0(), l1(), L4])
    for name in ("small", "large", "new"):
        os.utime(first.workspace / name, ns=(1, 1_234_567_891))
    sync = first.sync().sync
    put(counting, template__new=b"2")
    second = box()
    second.restore([l0(), l1(), L4], sync=sync, conflictPolicy=policy)
    times = {path.name: path.stat().st_mtime_ns for path in second.workspace.iterdir() if path.is_file()}
    assert (times["small"], times["large"]) == (1_234_567_891, 1_234_567_891)
    assert (times["new"] == 1_234_567_891) == (policy == "keep_session")


def test_merge_knows_over_many_generations_what_the_session_never_changed(box, counting):
    put(counting, template__a=b"T1", template__b=b"T1")
    first = box()
    first.restore([l0(), l1(), L4])
    (first.workspace / "b").unlink()
    sync = first.sync().sync
    put(counting, template__a=b"T2", template__b=b"T2")
    second = box()
    second.restore([l0(), l1(), L4], sync=sync, conflictPolicy="keep_session")
    sync = second.sync().sync
    third = box()
    third.restore([l0(), l1(), L4], sync=sync, conflictPolicy="merge")
    assert texts(third) == {"a": "T2"}
    sync = third.sync().sync
    put(counting, template__a=b"T3")
    fourth = box()
    fourth.restore([l0(), l1(), L4], sync=sync, conflictPolicy="merge")
    assert texts(fourth) == {"a": "T3"}


def test_protected_paths_cleanup_rules_and_seeds(box, counting):
    put(counting, template__env=b"t", template__keep__log=b"long", template__cache__x=b"t", template__cache__mine=b"t")
    first = box()
    first.restore([l0(), l1(), L4])
    (first.workspace / "cache/mine").write_text("mine")
    (first.workspace / "cache/mine").chmod(0o700)
    sync = first.sync().sync
    put(counting, template__env=b"new", template__cache__mine=b"new")
    second = box()
    second.restore(
        [l0(), l1(), L4],
        sync=sync,
        conflictPolicy="prefer_registry",
        protectedPaths=["/workspace/cache/mine"],
        cleanupRules=[
            {"action": "remove_if_exists", "path": "/workspace/cache"},
            {"action": "truncate_if_exists", "path": "/workspace/keep/log"},
            {"action": "remove_if_exists", "path": "/workspace/not/there"},
        ],
        seedFiles=[
            {"from": "/workspace/env", "to": "/workspace/deep/.env"},
            {"from": "/workspace/env", "to": "/workspace/keep/log"},
            {"from": "/workspace/env", "to": "/workspace/cache/mine", "ifMissingOnly": False},
            {"from": "/workspace/missing", "to": "/workspace/x"},
        ],
    )
    assert texts(second) == {"env": "new", "keep/log": "", "cache/mine": "mine", "deep/.env": "new"}
    assert (second.workspace / "cache/mine").stat().st_mode & 0o777 == 0o700


def test_plain_keys_are_read_for_a_session_without_a_sync(box, counting):
    h = "ab" * 32
    put(counting, **{f"{PREFIX}/a": b"plain", f"{PREFIX}/manifests/notes.md": b"own", f"{PREFIX}/x/objects/y": b"own"})
    put(counting, **{f"{PREFIX}/objects/ab/{h}": b"o", f"{PREFIX}/packs/{h}": b"p", f"{PREFIX}/outputs/ab/{h}": b"q"})
    put(counting, **{f"{PREFIX}/manifests/1-1-abcdefabcdef.json": b"{}"})
    worker = box()
    worker.restore()
    assert texts(worker) == {"a": "plain", "manifests/notes.md": "own", "x/objects/y": "own"}


def test_the_mode_in_an_object_s_metadata_is_kept(box, counting):
    counting.put("template/run", b"#!", metadata={"mode": "0755"})
    worker = box()
    worker.restore([l0(), L4])
    assert (worker.workspace / "run").stat().st_mode & 0o777 == 0o755


def test_a_template_that_is_not_there_is_an_error_that_names_it(box):
    worker = box()
    with pytest.raises(StoredWorkspaceUnreadable, match="'template/'"):
        worker.restore([l0(), l1(), L4])
    assert worker.state.restored() is None


def test_a_restore_is_done_once_a_generation(box, counting):
    put(counting, template__a=b"t")
    worker = box()
    assert worker.restore([l0(), l1(), L4]).files == 1
    (worker.workspace / "a").write_text("mine")
    again = worker.restore([l0(), l1(), L4])
    assert (again.already, again.files) == (True, 1)
    assert texts(worker) == {"a": "mine"}
    worker.generation = 2
    with pytest.raises(OtherGeneration):
        worker.restore([l0(), l1(), L4])


def test_a_half_restore_starts_over_clean(box, counting):
    put(counting, template__a=b"t", template__b=b"t")
    worker = box()
    (worker.workspace / "leftover").write_text("of a crash")
    (worker.workspace / "a").mkdir()
    worker.parts.store.fetch = _fails(worker.parts.store.fetch, "template/b")
    with pytest.raises(ObjectStoreUnavailable):
        worker.restore([l0(), l1(), L4])
    with pytest.raises(Exception, match="not been restored"):
        worker.sync()
    del worker.parts.store.fetch
    worker.restore([l0(), l1(), L4])
    assert texts(worker) == {"a": "t", "b": "t"}


def _fails(fetch, key):
    def failing(asked, **range_):
        if asked == key:
            raise ObjectStoreUnavailable("cut")
        return fetch(asked, **range_)

    return failing


def test_a_recorded_sync_that_can_not_be_read_is_an_error(box, counting):
    first = box()
    first.restore()
    (first.workspace / "a").write_bytes(b"content")
    (first.workspace / "b").write_bytes(os.urandom(300_000))
    sync = first.sync().sync
    [content_key] = [item.key for item in counting.list_objects(f"{PREFIX}/objects/") if item.size == 300_000]
    body = counting.get(sync.manifest_key)

    @contextmanager
    def broken(key, content):
        whole = counting.get(key)
        counting.delete([key])
        if content is not None:
            counting.put(key, content)
        yield
        counting.put(key, whole)

    cases = {
        "recorded_sync_missing": (sync.manifest_key, None),
        "recorded_sync_corrupt": (sync.manifest_key, body[:-1]),
        "recorded_content_unreadable": (content_key, None),
    }
    for reason, (key, content) in cases.items():
        worker = box()
        with broken(key, content), pytest.raises(StoredWorkspaceUnreadable) as refused:
            worker.restore(sync=sync)
        assert refused.value.reason == reason
        assert worker.state.restored() is None
    with broken(content_key, b"x" * 300_000), pytest.raises(StoredWorkspaceUnreadable, match="other bytes"):
        box().restore(sync=sync)
    worker = box()
    worker.restore(sync=sync)
    assert (worker.workspace / "a").read_bytes() == b"content"


@pytest.mark.parametrize(
    "entries",
    [
        [ManifestEntry(path="../evil", kind="dir")],
        [ManifestEntry(path="/evil", kind="dir")],
        [ManifestEntry(path="a/../../evil", kind="symlink", target="x")],
        [ManifestEntry(path="a//b", kind="dir")],
        [ManifestEntry(path="", kind="dir")],
        [ManifestEntry(path="a\0", kind="dir")],
        [ManifestEntry(path="a", kind="dir"), ManifestEntry(path="a", kind="dir")],
        [ManifestEntry(path="l", kind="symlink", target="/tmp"), ManifestEntry(path="l/evil", kind="dir")],
        [ManifestEntry(path="f", kind="file", hash="../../../etc/passwd")],
        [ManifestEntry(path="f", kind="file", hash="0" * 64, pack="../x")],
        [ManifestEntry(path="f", kind="symlink", target="")],
        [ManifestEntry(path="d", kind="dir", mtime_ns=2**63)],
    ],
)
def test_a_manifest_that_tries_to_escape_is_refused(box, counting, entries):

    worker = box()
    with pytest.raises(StoredWorkspaceUnreadable, match=r"impossible|no folder"):
        worker.restore(sync=put_manifest(counting, *entries))

    assert names_in(worker.workspace) == []


@pytest.mark.parametrize("path", ["/workspaceX/a", "/etc/passwd", "/workspace/../etc", "relative", "/workspace"])
def test_a_plan_that_tries_to_escape_is_refused(box, counting, path):
    put(counting, template__a=b"t", kb__a=b"t")
    seed = {"from": "/workspace/a", "to": path, "ifMissingOnly": False}
    for plan in (
        {"cleanupRules": [{"action": "remove_if_exists", "path": path}]},
        {"seedFiles": [seed]},
        {"layers": [l0(), kb(path, read_only=True), L4]},
        {"layers": [l0(), {**L4, "to": path}]},
    ):
        with pytest.raises(InvalidInput):
            box().restore(plan.pop("layers", [l0(), l1(), L4]), **plan)


def test_links_in_the_workspace_are_never_followed(box, counting, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched")
    first = box()
    first.restore()
    for name in ("dir-link", "kb-link", ".agent_data/codex"):
        path = first.workspace / name
        if path.exists():
            path.rmdir()
        path.symlink_to(outside)
    (first.workspace / "file-link").symlink_to(outside / "victim")
    (first.workspace / "seed").write_text("seed")
    sync = first.sync().sync
    put(counting, **{"template__dir-link__evil": b"evil", "template__file-link": b"evil", "kb__evil": b"evil"})
    second = box()
    second.restore(
        [l0(), l1(), kb("/workspace/kb-link"), L4],
        sync=sync,
        seedFiles=[
            {"from": "/workspace/seed", "to": "/workspace/file-link", "ifMissingOnly": False},
            {"from": "/workspace/seed", "to": "/workspace/dir-link/x", "ifMissingOnly": False},
        ],
        cleanupRules=[{"action": "truncate_if_exists", "path": "/workspace/file-link"}],
    )
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"victim": "untouched"}
    assert not (second.workspace / ".agent_data/codex").is_symlink()
    assert (second.workspace / "kb-link/evil").read_text() == "evil"


def test_a_link_swapped_in_during_a_restore_leads_nowhere(box, counting, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    put(counting, template__dir__a=b"t", template__dir__b=b"t", template__dir__c=b"t")
    worker = box()
    fetch = worker.parts.store.fetch
    one_at_a_time = threading.Lock()

    def swapping(key, **range_):
        directory = worker.workspace / "dir"
        # The restore makes the folder from other threads meanwhile: what it was first stays.
        with one_at_a_time, suppress(FileExistsError):
            if directory.is_dir() and not directory.is_symlink():
                directory.rename(tmp_path / f"away-{os.urandom(4).hex()}")
            if not os.path.lexists(directory):
                directory.symlink_to(outside)
        return fetch(key, **range_)

    worker.parts.store.fetch = swapping
    with suppress(DomainError):
        worker.restore([l0(), L4])
    assert names_in(outside) == []


def test_a_link_that_another_thread_takes_away_first_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "dir").symlink_to(tmp_path)
    unlink = os.unlink

    def taken_away_first(name, *, dir_fd):
        unlink(name, dir_fd=dir_fd)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", taken_away_first)
    with closing(ConfinedTree(str(tmp_path))) as tree, tree.ensure_directory("dir", replace=True) as made:
        assert os.path.samestat(os.fstat(made), os.lstat(tmp_path / "dir"))


def test_keys_that_can_not_be_paths_are_refused(box, counting):
    worker = box()
    worker.parts.store.list_objects = lambda prefix: iter(
        [msgspec.convert({"key": f"{prefix}../evil", "size": 1}, ObjectInfo)]
    )
    with pytest.raises(StoredWorkspaceUnreadable, match="can't be a path"):
        worker.restore([l0(), L4])
