"""What survives sync → remove → restore, what a sync costs, and what it leaves out."""

import os
import shutil
import socket
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from infrastructure.executor.workspace.errors import NotRestored
from tests.integration.executor.trees import Box, CountingStore, snapshot, transfer_pool
from tests.integration.executor.worker import L4, l0, l1

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12)
any_bytes = st.binary(min_size=1, max_size=12).map(lambda raw: os.fsdecode(raw.translate(bytes([1, *range(1, 256)]))))
names = (texts | any_bytes.map(lambda name: name.replace("/", "|"))).filter(
    lambda name: name not in {".", ".."} and len(os.fsencode(name)) < 100
)
contents = st.one_of(
    st.binary(max_size=40), st.just(b""), st.just(b"same"), st.integers(1, 3).map(lambda n: os.urandom(200_000 * n))
)
leaves = st.one_of(
    st.tuples(st.just("file"), st.sampled_from([0o644, 0o755, 0o600]), contents),
    st.tuples(
        st.just("link"), st.sampled_from(["..", "/etc/passwd", "gone/nowhere", "a", "../../outside", "ü\n", "\udcff"])
    ),
)
# Two trees often share names then: what is a file in one is another, a folder or a link in the other.
shared_or_not = st.sampled_from(["a", "b", "c"]) | names
trees = st.recursive(
    st.dictionaries(shared_or_not, leaves, max_size=4),
    lambda below: st.dictionaries(shared_or_not, below | leaves, max_size=4),
    max_leaves=10,
)


def file(content, mode=0o644):
    return ("file", mode, content)


BEFORE = {
    "changed": file(b"one"),
    "mode": file(b"m"),
    "file to folder": file(b"f"),
    "folder to file": {"below": {"deeper": file(b"d")}, "empty": {}},
    "file to link": file(b"l"),
    "link to file": ("link", "changed"),
    "folder to link": {"below": file(b"b")},
    "link to folder": ("link", "folder to link"),
    "gone": {"below": file(b"g")},
    "same": {"below": file(b"same")},
}
AFTER = {
    "changed": file(b"two"),
    "mode": file(b"m", 0o755),
    "file to folder": {"below": {"deeper": file(b"f")}},
    "folder to file": file(b"now a file"),
    "file to link": ("link", "changed"),
    "link to file": file(b"one"),
    "folder to link": ("link", "same"),
    "link to folder": {"below": file(b"b")},
    "same": {"below": file(b"same")},
}


def build(folder, tree):
    """Make the folder hold exactly this tree, in place."""
    for path in folder.iterdir():
        if path.name not in tree and path.name != ".agent_data":
            _remove(path)
    for name, what in tree.items():
        path = folder / name
        if isinstance(what, dict):
            if path.is_symlink() or path.is_file():
                path.unlink()
            path.mkdir(exist_ok=True)
            build(path, what)
            continue
        if path.is_symlink() or path.exists():
            _remove(path)
        if what[0] == "file":
            path.write_bytes(what[2])
            path.chmod(what[1])
        else:
            path.symlink_to(what[1])


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.fixture(scope="module")
def counting(shared_location):
    store = CountingStore(shared_location)
    yield store
    store.close()


@contextmanager
def box(store, generation=1):
    with tempfile.TemporaryDirectory() as folder, transfer_pool() as pool:
        made = Box(Path(folder), store, pool, generation)
        yield made
        made.close()


@pytest.mark.proof
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(first=trees, second=trees, gate=st.booleans())
@example(first=BEFORE, second=AFTER, gate=False)
@example(first=AFTER, second=BEFORE, gate=True)
def test_any_tree_survives_bit_for_bit_and_so_does_what_replaces_it(counting, first, second, gate):
    with box(counting) as original:
        original.restore()
        build(original.workspace, first)
        earlier = original.sync()
        as_it_was = snapshot(original.workspace)
        build(original.workspace, second)
        later = original.sync(gate=gate, previous=earlier.sync)
        as_it_is = snapshot(original.workspace)
        assert original.sync(gate=True).sync == later.sync
    for sync, expected in ((earlier.sync, as_it_was), (later.sync, as_it_is)):
        with box(counting, generation=2) as restored:
            restored.restore(sync=sync)
            assert snapshot(restored.workspace) == expected
            assert restored.sync(previous=sync).unchanged


def test_a_large_file_goes_in_parts_and_comes_back(counting):
    with box(counting) as original:
        original.restore()
        content = os.urandom(9 * 1024 * 1024) + b"end"
        (original.workspace / "large").write_bytes(content)
        sync = original.sync().sync
        counting.forget()
        (original.workspace / "copy").write_bytes(content)
        again = original.sync()
        assert (again.uploaded_files, len(counting.puts)) == (0, 1)
    with box(counting, 2) as restored:
        restored.restore(sync=again.sync)
        assert (restored.workspace / "large").read_bytes() == content == (restored.workspace / "copy").read_bytes()
    assert sync != again.sync


def test_what_a_sync_costs(counting):
    with box(counting) as worker:
        worker.restore()
        for number in range(1000):
            path = worker.workspace / f"d{number % 20}" / f"f{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.urandom(2000))
        counting.forget()
        first = worker.sync()
        assert (first.files, first.uploaded_files, first.bytes) == (1000, 1000, 2_000_000)
        assert len(counting.puts) <= 4  # packs and the manifest

        counting.forget()
        second = worker.sync(previous=first.sync)
        assert (second.unchanged, second.sync, second.uploaded_files) == (True, first.sync, 0)
        assert (counting.puts, counting.gets) == ([], [])

        (worker.workspace / "d3" / "f3").write_bytes(b"changed")
        third = worker.sync(previous=first.sync)
        assert (third.uploaded_files, third.uploaded_bytes, third.unchanged) == (1, 7, False)
        assert len(counting.puts) == 2

        counting.forget()
        (worker.workspace / "d4").rename(worker.workspace / "moved")
        (worker.workspace / "d5" / "f5").chmod(0o755)
        moved = worker.sync(previous=third.sync)
        assert (moved.uploaded_files, len(counting.puts)) == (0, 1)

        counting.forget()
        assert worker.sync(previous=moved.sync, gate=True).sync == moved.sync
        assert counting.puts == []


def test_a_change_within_the_clock_s_tick_that_keeps_size_and_mtime_is_seen(counting):
    with box(counting) as worker:
        worker.restore()
        path = worker.workspace / "f"
        path.write_bytes(b"one")
        values = path.stat()
        first = worker.sync()
        path.write_bytes(b"two")
        os.utime(path, ns=(values.st_atime_ns, values.st_mtime_ns))
        assert not worker.sync(previous=first.sync).unchanged


def test_an_answer_that_was_lost_is_given_again(counting):
    with box(counting) as worker:
        worker.restore()
        (worker.workspace / "f").write_bytes(b"x")
        lost = worker.sync(previous=None)
        again = worker.sync(previous=None)
        assert again.sync == lost.sync
        assert not again.unchanged
        assert worker.sync(previous=lost.sync).unchanged


def test_a_sync_that_failed_goes_on_where_it_was(counting, shared_location):
    class BreaksAtManifest(CountingStore):
        broken = True

        def put(self, key, body, *, metadata=None):
            if "/manifests/" in key and self.broken:
                raise ConnectionError("cut")
            super().put(key, body, metadata=metadata)

    store = BreaksAtManifest(shared_location)
    with box(store) as worker:
        worker.restore()
        (worker.workspace / "f").write_bytes(os.urandom(500_000))
        with pytest.raises(ConnectionError):
            worker.sync()
        store.broken = False
        store.forget()
        assert worker.sync().uploaded_files == 0
        assert len(store.puts) == 1
    store.close()


def test_what_a_sync_leaves_out(counting):
    with box(counting) as worker:
        root = worker.workspace
        worker.restore(
            [
                l1(),
                {
                    "level": "L2",
                    "name": "knowledge_overlay",
                    "from": "nokb/",
                    "to": "/workspace/docs",
                    "optional": True,
                    "readOnly": True,
                },
                L4,
            ]
        )
        for path in (
            ".kb/app/doc", "docs/read-only", ".agent_data/codex/auth.json", ".agent_data/claude/.credentials.json",
            ".claude/projects/x/t.jsonl", ".claude/.credentials.json", ".codex/sessions/s.jsonl", ".codex/auth.json",
            ".opencode/storage/s", ".fleetlog-0123456789abcdef.part",
        ):  # fmt: skip
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("left out")
        kept = {
            ".claude/settings.json",
            ".claude/commands/do.md",
            ".codex/config.toml",
            ".opencode/agent/a.md",
            "auth.json",
            "sub/.kb/doc",
            "sub/.claude/projects/p",
            ".agent_data/codex/sessions/s.jsonl",
            "docs2",
            ".kbx",
        }
        for path in kept:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("kept")
        os.mkfifo(root / "pipe")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(root / "s.sock"))
            result = worker.sync()
        (root / "s.sock").unlink()
        assert result.skipped_paths == ("pipe", "s.sock")
        entries = worker.state.last_sync().manifest.entries
        assert {entry.path for entry in entries if entry.kind == "file"} == kept


def test_root_links_of_agents_are_left_out(counting):
    with box(counting) as worker:
        worker.restore()
        (worker.workspace / ".claude").symlink_to(".agent_data/claude")
        (worker.workspace / "claude").symlink_to(".agent_data/claude")
        worker.sync()
        links = [entry.path for entry in worker.state.last_sync().manifest.entries if entry.kind == "symlink"]
        assert links == ["claude"]


def test_names_that_are_not_utf8_pass_the_gate_and_come_back(counting):
    with box(counting) as worker:
        worker.restore()
        odd = worker.workspace / os.fsdecode(b"caf\xe9")
        odd.mkdir()
        (odd / os.fsdecode(b"\xff\xfe.txt")).write_bytes(b"odd")
        (odd / "caf\\udce9").write_bytes(b"named like its shown form")
        (worker.workspace / "link").symlink_to(os.fsdecode(b"caf\xe9/\xff\xfe.txt"))
        synced = worker.sync(gate=True)
        assert synced.unstable_paths == ()
        assert worker.sync(gate=True, previous=synced.sync).unchanged
        before = snapshot(worker.workspace)
    with box(counting, generation=2) as again:
        again.restore(sync=synced.sync)
        assert snapshot(again.workspace) == before
        assert again.sync(previous=synced.sync).sync == synced.sync


def test_a_partial_sync_keeps_the_rest_as_it_was(counting):
    with box(counting) as worker:
        worker.restore()
        for name in ("a/one", "b/two"):
            (worker.workspace / name).parent.mkdir()
            (worker.workspace / name).write_text("old")
        first = worker.sync()
        for name in ("a/one", "b/two"):
            (worker.workspace / name).write_text("new")
        partial = worker.sync(previous=first.sync, include=("a",))
        assert partial.uploaded_files == 1
    with box(counting, 2) as restored:
        restored.restore(sync=partial.sync)
        assert (restored.workspace / "a/one").read_text() == "new"
        assert (restored.workspace / "b/two").read_text() == "old"
        with pytest.raises(Exception, match="covers everything"):
            restored.sync(gate=True, exclude=("b",))


def test_no_sync_before_the_restore(counting):
    with box(counting) as worker:
        (worker.workspace / "f").write_text("half")
        counting.forget()
        with pytest.raises(NotRestored):
            worker.sync()
        assert counting.puts == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_what_a_restore_makes_is_the_agents_own_from_the_beginning(counting):
    """Else it would be given away before the agent starts, and the next sync would have to read it all again."""
    with box(counting) as original:
        original.restore()
        for name, size in (("small", 10), ("d/e/small", 20), ("middle", 300_000)):
            (original.workspace / name).parent.mkdir(parents=True, exist_ok=True)
            (original.workspace / name).write_bytes(os.urandom(size))
        sync = original.sync().sync
    with tempfile.TemporaryDirectory() as folder, transfer_pool() as pool:
        again = Box(Path(folder), counting, pool, 2, owner=54321)
        again.restore(sync=sync)
        made = list(again.workspace.rglob("*"))
        assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(54321, 54321)}
        again.close()


def test_deep_folders_survive(counting):
    with box(counting) as worker:
        worker.restore([l1(), L4])
        fd = os.open(worker.workspace, os.O_RDONLY)
        for _ in range(250):
            os.mkdir("folder-with-a-name", dir_fd=fd)
            below = os.open("folder-with-a-name", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        started = time.monotonic()
        sync = worker.sync(gate=True)
        assert time.monotonic() - started < 20
        worker.parts.tree.wipe()
    with box(counting, 2) as restored:
        assert restored.restore(sync=sync.sync).files == 1
        assert restored.sync(previous=sync.sync).unchanged
        restored.parts.tree.wipe()


def test_a_template_is_synced_with_the_session(counting):
    counting.put("template-x/a", b"1")
    with box(counting) as worker:
        worker.restore([l0("template-x/"), l1(), L4])
        assert worker.sync().files == 1
