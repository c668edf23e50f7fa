"""A workspace beyond its limits is not synced, and the refusal names the limit; holes of sparse files cost nothing."""

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from domain.errors import StoredWorkspaceUnreadable
from domain.workspace.limits import WorkspaceLimits
from domain.workspace.sync import ManifestEntry, SyncManifest, SyncRef
from infrastructure.executor.workspace import sync as workspace_sync
from infrastructure.executor.workspace import upload
from infrastructure.executor.workspace.browse import list_tree
from infrastructure.executor.workspace.errors import WorkspaceOverQuota
from infrastructure.executor.workspace.sparse import MOST_EXTENTS, extents_of
from infrastructure.executor.workspace.upload import MOST_PARTS, PART_BYTES, part_size
from infrastructure.folder_descent import FOLDER, delete_folder
from infrastructure.stored_workspaces import recorded_sync
from infrastructure.stored_workspaces.copying import S3WorkspaceCopier
from infrastructure.stored_workspaces.reading import S3RecordedWorkspaces
from infrastructure.stored_workspaces.recorded_sync import load_recorded_sync
from tests.integration.executor.trees import Box, CountingStore, transfer_pool
from tests.integration.executor.worker import PREFIX
from tests.support.async_run import run

MIB = 1024 * 1024
GIB = 1024 * MIB
DEPTH = 1_500


@pytest.fixture(scope="module")
def counting(shared_location):
    store = CountingStore(shared_location)
    yield store
    store.close()


@contextmanager
def box(store, generation=1):
    folder = Path(tempfile.mkdtemp())
    with transfer_pool() as pool:
        made = Box(folder, store, pool, generation)
        yield made
        made.close()
    delete_folder(folder)


def write_sparse(path, size, **pieces):
    """A file of holes, with bytes at the offsets (`at_12`)."""
    with path.open("wb") as file:
        file.truncate(size)
        for name, data in pieces.items():
            file.seek(int(name.removeprefix("at_")))
            file.write(data)


def layout(path):
    """The file's size, and what it holds where it is no hole."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        extents = extents_of(file.fileno(), size)
        return size, [(at, hashlib.sha256(os.pread(file.fileno(), length, at)).hexdigest()) for at, length in extents]


def allocated(path):
    return path.stat().st_blocks * 512


class TestSparseFiles:
    def test_cost_their_data_alone_and_come_back_sparse(self, counting):
        with box(counting) as original:
            original.restore()
            original.sync()
            counting.forget()
            write_sparse(
                original.workspace / "disk.img",
                3 * GIB + 7,
                at_0=b"boot",
                at_1500000000=os.urandom(MIB),
                at_3221225470=b"e",
            )
            write_sparse(original.workspace / "empty.img", 3 * GIB)
            synced = original.sync(gate=True)
            assert synced.bytes == 6 * GIB + 7
            assert synced.uploaded_bytes < 16 * MIB
            manifest = load_recorded_sync(counting, synced.sync)[0]
            assert manifest.format_version == 2
            assert sum(entry.stored_size for entry in manifest.entries) == synced.uploaded_bytes
            counting.forget()
            assert original.sync(previous=synced.sync).unchanged
            assert original.sync(gate=True, previous=synced.sync).unchanged
            assert counting.puts == []
            expected = [layout(original.workspace / name) for name in ("disk.img", "empty.img")]
        with box(counting, 2) as restored:
            restored.restore(sync=synced.sync)
            assert [layout(restored.workspace / name) for name in ("disk.img", "empty.img")] == expected
            assert allocated(restored.workspace / "disk.img") < 16 * MIB
            assert allocated(restored.workspace / "empty.img") == 0
            assert restored.sync(previous=synced.sync).unchanged

    def test_with_much_data_go_in_parts(self, counting):
        data = os.urandom(20 * MIB)
        with box(counting) as original:
            original.restore()
            write_sparse(original.workspace / "f", 40 * MIB, at_10485760=data)
            synced = original.sync()
            assert synced.uploaded_bytes == 20 * MIB
        with box(counting, 2) as restored:
            restored.restore(sync=synced.sync)
            assert (restored.workspace / "f").read_bytes() == bytes(10 * MIB) + data + bytes(10 * MIB)

    def test_that_are_no_longer_sparse_are_stored_whole_again(self, counting):
        with box(counting) as worker:
            worker.restore()
            write_sparse(worker.workspace / "f", 12 * MIB, at_0=b"x")
            first = worker.sync()
            (worker.workspace / "f").write_bytes(os.urandom(12 * MIB))
            second = worker.sync(previous=first.sync)
            manifest = load_recorded_sync(counting, second.sync)[0]
            assert manifest.format_version == 1
            (entry,) = [entry for entry in manifest.entries if entry.path == "f"]
            assert (entry.extents, entry.stored_size) == (None, 12 * MIB)

    def test_have_few_extents_however_they_were_written(self, tmp_path):
        holes = {f"at_{at}": b"x" for at in range(0, 4 * GIB, 3 * MIB)}
        write_sparse(tmp_path / "f", 4 * GIB, **holes)
        with (tmp_path / "f").open("rb") as file:
            extents = extents_of(file.fileno(), 4 * GIB)
        assert extents is None or len(extents) <= MOST_EXTENTS

    def test_are_read_and_copied_like_others(self, counting):
        async def read(sync):
            workspaces = S3RecordedWorkspaces(counting)
            (entry,) = [entry for entry in await workspaces.entries(sync) if entry.path == "f"]
            prefix = sync.manifest_key.rpartition("/manifests/")[0]
            return await workspaces.content(prefix, entry)

        with box(counting) as worker:
            worker.restore()
            write_sparse(worker.workspace / "f", 12 * MIB, at_9437184=b"data")
            synced = worker.sync().sync
        copied = SyncRef(
            manifest_key=f"elsewhere/manifests/{synced.manifest_key.rpartition('/')[2]}",
            manifest_hash=synced.manifest_hash,
        )
        run(S3WorkspaceCopier(counting).copy(synced, copied))
        for sync in (synced, copied):
            whole = run(read(sync))
            assert (len(whole), whole.strip(b"\0")) == (12 * MIB, b"data")


@pytest.mark.parametrize(
    "extents", [((0, 5), (3, 2)), ((0, 0),), ((-1, 2),), ((5, 6),)], ids=["overlap", "nothing", "before", "beyond"]
)
def test_a_manifest_with_impossible_extents_is_refused(counting, extents):
    entry = ManifestEntry(path="f", kind="file", size=10, hash="0" * 64, extents=extents)
    manifest = SyncManifest(
        format_version=2, session_id="s", generation=1, number=1, created_at="", reason="manual", entries=(entry,)
    )
    body = msgspec.json.encode(manifest)
    digest = hashlib.sha256(body).hexdigest()
    ref = SyncRef(manifest_key=f"{PREFIX}/manifests/1-1-{digest[:12]}.json", manifest_hash=digest)
    counting.put(ref.manifest_key, body)
    with pytest.raises(StoredWorkspaceUnreadable, match="impossible entry 'f'"):
        load_recorded_sync(counting, ref)


def many_files(workspace):
    for number in range(30):
        (workspace / f"f{number}").touch()


def deep_tree(workspace):
    fd = os.open(workspace, FOLDER)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", FOLDER, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def huge_file(workspace):
    write_sparse(workspace / os.fsdecode(b"new\nline \xff"), 200 * GIB)


def much_data(workspace):
    for number in range(5):
        (workspace / f"f{number}").write_bytes(bytes([number]) * 300_000)


def much_sparse_data(workspace):
    for number in range(5):
        write_sparse(workspace / f"f{number}", 12 * MIB, at_0=bytes([number + 1]))


@pytest.mark.parametrize(
    ("fill", "limits", "said"),
    [
        (many_files, {"files": 20}, "it has more than 20 files, links and folders (MAX_WORKSPACE_FILES)"),
        (deep_tree, {}, "lies deeper than 200 folders (MAX_WORKSPACE_DEPTH)"),
        (huge_file, {}, r"'new\nline \\udcff' has 214,748,364,800 bytes, and 10,737,418,240 are allowed"),
        (
            much_data,
            {"bytes": 1_000_000},
            " bytes, and 1,000,000 are allowed (MAX_WORKSPACE_MB)",
        ),
        (much_sparse_data, {"bytes": 4 * MIB}, " bytes, and 4,194,304 are allowed (MAX_WORKSPACE_MB)"),
    ],
    ids=["files", "depth", "file", "bytes", "data of sparse files"],
)
@pytest.mark.parametrize("gate", [False, True], ids=["sync", "gate"])
def test_a_workspace_beyond_a_limit_is_refused_by_name_before_anything_is_uploaded(counting, fill, limits, said, gate):
    with box(counting) as worker:
        worker.restore()
        (worker.workspace / "small").write_bytes(os.urandom(100))
        fill(worker.workspace)
        counting.forget()
        with pytest.raises(WorkspaceOverQuota) as refused:
            worker.sync(gate=gate, limits=WorkspaceLimits(**limits))
        assert said in str(refused.value)
        assert "discard-workspace" in str(refused.value)
        assert refused.value.reason == "workspace_over_quota"
        assert (counting.puts, counting.put_bytes) == ([], 0)


def test_a_manifest_has_a_limit_in_bytes_for_who_writes_it_and_who_reads_it(counting, monkeypatch):
    with box(counting) as worker:
        worker.restore()
        (worker.workspace / "name".ljust(200, "x")).write_bytes(b"x")
        synced = worker.sync()
        monkeypatch.setattr(workspace_sync, "MAX_MANIFEST_BYTES", 300)
        (worker.workspace / "name".ljust(201, "x")).write_bytes(b"x")
        with pytest.raises(WorkspaceOverQuota, match="its files have long names"):
            worker.sync(previous=synced.sync)
    monkeypatch.setattr(recorded_sync, "MAX_MANIFEST_BYTES", 300)
    with pytest.raises(StoredWorkspaceUnreadable, match="more than 300 bytes"):
        load_recorded_sync(counting, synced.sync)


def test_a_deep_tree_is_listed_and_removed_without_blowing_anything(counting):
    with box(counting) as worker:
        worker.restore()
        deep_tree(worker.workspace)
        assert len(list_tree(worker.parts.tree, "/workspace/d")) == DEPTH - 1
        assert not worker.parts.tree.remove("d", keep=lambda path: path == "d/d/d")
        assert (worker.workspace / "d/d/d/d").is_dir()
        assert worker.parts.tree.remove("d")
        assert not (worker.workspace / "d").exists()


def test_once_it_is_smaller_it_is_synced(counting):
    limits = WorkspaceLimits(files=12)
    with box(counting) as worker:
        worker.restore()
        for number in range(13):
            (worker.workspace / f"f{number}").touch()
        with pytest.raises(WorkspaceOverQuota):
            worker.sync(limits=limits)
        for number in range(11):
            (worker.workspace / f"f{number}").unlink()
        assert worker.sync(limits=limits).files == 2


def test_a_file_that_grows_beyond_the_limit_while_it_is_synced_is_not_read(counting, monkeypatch):
    stored = upload.Uploader.store_all

    def growing(self, pool, files):
        os.truncate(worker.workspace / "f", 200 * GIB)
        return stored(self, pool, files)

    with box(counting) as worker:
        worker.restore()
        (worker.workspace / "f").write_bytes(os.urandom(9 * MIB))
        monkeypatch.setattr(upload.Uploader, "store_all", growing)
        synced = worker.sync()
        assert synced.unstable_paths == ("f",)
        assert "f" not in {entry.path for entry in load_recorded_sync(counting, synced.sync)[0].entries}


@pytest.mark.parametrize("size", [1, PART_BYTES * MOST_PARTS, 100 * GIB, 5 * 1024 * GIB])
def test_parts_grow_so_that_any_allowed_size_works(size):
    assert PART_BYTES <= part_size(size) <= 5 * GIB
    assert size <= MOST_PARTS * part_size(size)
