"""Databases that agents write to all the time: what is restored is sound, and holds all that was committed."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.integration.executor.trees import Box, snapshot, transfer_pool

pytestmark = pytest.mark.proof


# Each transaction adds a row to both tables, and some weight; the number that is committed is told.
WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("PRAGMA journal_mode = " + sys.argv[2])
connection.execute("PRAGMA synchronous = OFF")
connection.execute("CREATE TABLE IF NOT EXISTS one (n INTEGER PRIMARY KEY, weight BLOB)")
connection.execute("CREATE TABLE IF NOT EXISTS two (n INTEGER PRIMARY KEY)")
for n in range(1, 1_000_000):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO one VALUES (?, randomblob(?))", (n, n % 7 * 300))
    connection.execute("INSERT INTO two VALUES (?)", (n,))
    connection.execute("UPDATE one SET weight = randomblob(100) WHERE n = ?", (n // 2,))
    connection.execute("COMMIT")
    print(n, flush=True)
"""


@contextmanager
def writing(database, mode):
    """A process that commits all the time; a function that tells the last commit that we know of."""
    with tempfile.TemporaryFile() as told:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(database), mode], stdout=told)

        def committed():
            lines = os.pread(told.fileno(), 10_000_000, 0).split(b"\n")[:-1]
            return int(lines[-1]) if lines else 0

        try:
            deadline = time.monotonic() + 120
            while committed() < 50:
                assert writer.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield committed
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait(30)


def rows_of(database):
    """How many transactions it holds; every one of them whole, none missing before the last."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        one = [n for (n,) in connection.execute("SELECT n FROM one ORDER BY n")]
        two = [n for (n,) in connection.execute("SELECT n FROM two ORDER BY n")]
    assert one == two == list(range(1, len(one) + 1))
    return len(one)


@contextmanager
def a_box(store, folder, generation=1):
    with transfer_pool() as pool:
        made = Box(folder, store, pool, generation)
        yield made
        made.close()


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "TRUNCATE"])
def test_a_database_under_writing_is_copied_as_of_one_commit(store, tmp_path, mode):
    synced = []
    with a_box(store, tmp_path / "first") as box:
        box.restore()
        database = box.workspace / ".agent_data" / "codex" / "state.sqlite"
        with writing(database, mode) as committed:
            for _ in range(4):
                before = committed()
                previous = synced[-1][0].sync if synced else None
                synced.append((box.sync(previous=previous), before))
    for number, (result, before) in enumerate(synced):
        with a_box(store, tmp_path / f"again-{number}", 2) as again:
            again.restore(sync=result.sync)
            folder = again.workspace / ".agent_data" / "codex"
            assert {path.name for path in folder.iterdir()} == {"state.sqlite"}
            assert rows_of(folder / "state.sqlite") >= before
            assert result.unstable_paths == ()


def test_a_gate_stores_a_database_and_its_log_as_they_are(store, tmp_path):
    with a_box(store, tmp_path / "first") as box:
        box.restore()
        with writing(box.workspace / "db", "WAL") as committed:
            before = committed()
        assert (box.workspace / "db-wal").stat().st_size > 0
        expected = snapshot(box.workspace)
        sync = box.sync(gate=True).sync
    with a_box(store, tmp_path / "again", 2) as again:
        again.restore(sync=sync)
        assert snapshot(again.workspace) == expected
        assert rows_of(again.workspace / "db") >= before


def test_an_open_database_that_nobody_writes_to_is_unchanged(store, tmp_path):
    with ExitStack() as open_to_the_end:
        box = open_to_the_end.enter_context(a_box(store, tmp_path / "first"))
        box.restore()
        agent = open_to_the_end.enter_context(closing(sqlite3.connect(box.workspace / "db")))
        agent.execute("PRAGMA journal_mode = WAL")
        agent.execute("CREATE TABLE t (n)")
        agent.commit()
        first = box.sync()
        log = (box.workspace / "db-wal").read_bytes()
        again = box.sync(previous=first.sync)
        assert (again.unchanged, again.sync, again.uploaded_files) == (True, first.sync, 0)
        assert (box.workspace / "db-wal").read_bytes() == log
        agent.execute("INSERT INTO t VALUES (1)")
        agent.commit()
        assert not box.sync(previous=first.sync).unchanged


def test_what_only_looks_like_a_database_is_stored_as_it_is(store, tmp_path):
    with a_box(store, tmp_path / "first") as box:
        box.restore()
        (box.workspace / "not-one").write_bytes(b"SQLite format 3\0" + os.urandom(3000))
        (box.workspace / "not-one-wal").write_bytes(b"a name and nothing more")
        expected = snapshot(box.workspace)
        sync = box.sync().sync
    with a_box(store, tmp_path / "again", 2) as again:
        again.restore(sync=sync)
        assert snapshot(again.workspace) == expected
