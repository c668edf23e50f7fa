"""Many processes write and read at once, while connections are killed and the server restarts. Each reader sees each
acknowledged event once, in order, and nothing else."""

import asyncio
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.postgres.migrations import migrate
from tests.support.async_run import run
from tests.support.hash_chain import broken_links
from tests.support.log_traffic import read, write
from tests.support.samples import samples

pytestmark = pytest.mark.proof


class OwnPostgres:
    """A server that a test may restart."""

    def __init__(self, home: Path) -> None:
        self._home, self._server = home, EmbeddedPostgres(home)
        self.dsn = run(self._server.start(), timeout=250)

    def restart(self) -> None:
        """Without a checkpoint, as after a crash."""
        pid = int((self._home / "postgres/data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        run(self._server.stop(), timeout=250)
        run(self._server.start(), timeout=250)

    def stop(self) -> None:
        run(self._server.stop(), timeout=250)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnPostgres]:
    server = OwnPostgres(tmp_path / "home")
    yield server
    server.stop()


def test_readers_in_other_processes_see_each_event_once_and_in_order(database: str) -> None:
    traffic(database, processes=2, writers=4, events=400, seed=1)
    assert broken_links(database) == []


def test_the_same_while_connections_are_killed(database: str) -> None:
    with Killer(database, every_seconds=0.2, seed=2) as killer:
        traffic(database, processes=2, writers=4, events=400, seed=2)
    assert killer.killed
    assert broken_links(database) == []


@pytest.mark.timeout(900)
def test_proof_of_order_with_four_processes_and_many_events(database: str) -> None:
    traffic(database, processes=4, writers=8, events=samples().size(whole=3_200, sample=500), seed=3)
    assert broken_links(database) == []


@pytest.mark.timeout(900)
def test_proof_of_order_while_connections_are_killed_and_the_server_restarts(own_server: OwnPostgres) -> None:
    dsn = own_server.dsn
    asyncio.run(migrate(dsn))
    events = samples().size(whole=3_200, sample=500)
    with Killer(dsn, every_seconds=0.1, seed=4, restart_at=16 * events, server=own_server) as killer:
        traffic(dsn, processes=4, writers=8, events=events, seed=4)
    assert len(killer.killed) > samples().size(whole=20, sample=5)
    assert killer.restarted
    assert broken_links(dsn) == []


def traffic(dsn: str, *, processes: int, writers: int, events: int, seed: int) -> None:
    """Each of `processes` processes has `writers` writers of `events` events, while two more processes read."""
    total = processes * writers * events
    with ProcessPoolExecutor(processes + 2, mp_context=multiprocessing.get_context("spawn")) as pool:
        readers = [pool.submit(read, dsn, total) for _ in range(2)]
        writing = [pool.submit(write, dsn, writers, events, seed * 100 + number) for number in range(processes)]
        written = [event_id for future in writing for event_id in future.result()]
        seen = [future.result() for future in readers]
    assert seen[0] == seen[1]
    assert sorted(seen[0]) == sorted(written)
    assert len(set(written)) == total


class Killer:
    """Ends backends of a database at random, and restarts its server once, when the log has reached `restart_at`."""

    def __init__(
        self,
        dsn: str,
        *,
        every_seconds: float,
        seed: int,
        restart_at: int | None = None,
        server: OwnPostgres | None = None,
    ) -> None:
        self.killed: list[int] = []
        self.restarted = False
        self._dsn, self._every_seconds, self._dice = dsn, every_seconds, random.Random(seed)
        self._restart_at, self._server = restart_at, server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._every_seconds):
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                others = connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                    "AND backend_type = 'client backend'"
                ).fetchall()
                if others:
                    victim = self._dice.choice(others)[0]
                    connection.execute("SELECT pg_terminate_backend(%s)", (victim,))
                    self.killed.append(victim)
                last = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
            assert last is not None
            if self._server is not None and not self.restarted and last[0] >= (self._restart_at or 0):
                self._server.restart()
                self.restarted = True
