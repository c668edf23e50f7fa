"""kill -9 of the worker before and after every effect and every commit of a run's life, one at a time.

The points are not listed but found: a first life without a kill names them, and every further life that comes by new
ones (a recovery does other things) adds those.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fleetlog_parts import Installation, WorkerProcess, executors, installation
from tests.support.fleetlog_server import new_id
from tests.support.servers import ObjectStoreServer, PostgresServer

log = logging.getLogger(__name__)
QUESTION = '::fleetlog {"type":"question","questionId":"q","prompt":"Go on?"}'
SCRIPT = f"""echo one >> steps; echo begins
echo '::fleetlog {{"type":"todo.update","todo":{{"todoId":"t","content":"c"}}}}'
echo '{QUESTION}'
read -r answer
echo "two $answer" >> steps
echo '::fleetlog {{"type":"message.stop"}}'
echo three >> steps; echo ends
"""
STEPS = ["one", "two yes", "three"]
LIFE_TIMEOUT_S = 60
SHARDS = 3
KEY_POINTS = (
    "append run.claimed #1 after",
    "executor start_run #1 after",
    "append human_loop.requested #1 before",
    "executor reply #1 after",
    "append run.exported #1 after",
)


@pytest.fixture
def parts(tmp_path_factory: pytest.TempPathFactory, database: str, bucket: ObjectStoreAccess) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("parts"), database, bucket) as parts:
        yield parts


class Life:
    """One run from its start to the stop of its session, with a person who answers its question."""

    def __init__(self, parts: Installation, fatal: str) -> None:
        self.run_id, self.session_id, self.fatal = new_id("run"), new_id("session"), fatal
        self._parts, self._record = parts, parts.api.home.parent / f"{self.run_id}.points"

    def begin(self) -> None:
        """The worker is there before the run is."""
        self.worker = self._mortal(self.fatal)

    def _mortal(self, fatal: str) -> WorkerProcess:
        arguments = ("tests.support.mortal_worker", self.run_id, self.session_id, str(self._record), fatal)
        return self._parts.worker(*arguments)

    def live(self, pool: ThreadPoolExecutor) -> set[str]:
        """Live it to its end, through the kill; the points that it came by."""
        caller = pool.submit(self._as_callers_see_it)
        death: Future[int] = pool.submit(self.worker.process.wait, LIFE_TIMEOUT_S)
        wait({caller, death}, timeout=LIFE_TIMEOUT_S, return_when="FIRST_COMPLETED")
        if death.done():
            self._restart()
        try:
            caller.result(LIFE_TIMEOUT_S)
            # The kill may come after all that callers see.
            while not self._parts.at_rest() and self.worker.died(0.05) is None:
                pass
            if not self.worker.alive:
                self._restart()
            self.assert_it_ended_once()
        except BaseException as error:
            self.worker.send(signal.SIGUSR1)
            self.worker.died(1)  # a moment for its stacks
            types = [event["type"] for event in self._parts.events(f"run:{self.run_id}")]
            error.add_note(f"killed at {self.fatal!r}: {types}\n{self._parts.worker_log()}")
            raise
        finally:
            self.worker.kill()
            if not caller.done():
                self._restart()  # so that the caller's thread ends, too
                self.worker.died(LIFE_TIMEOUT_S / 4)
                self.worker.kill()
        return set(self._record.read_text().splitlines()) if self._record.exists() else set()

    def _restart(self) -> None:
        self._parts.expire_leases()
        self.worker = self._mortal("none")

    def _as_callers_see_it(self) -> None:
        api = self._parts.api
        api.enqueued(SCRIPT, runId=self.run_id, sessionId=self.session_id, providerOptions={"interactive": True})
        api.until(self.run_id, "human_loop.requested")
        reply = {"runId": self.run_id, "questionId": "q", "answer": "yes"}
        api.ok("POST", "/api/human-loop/reply", json=reply)
        api.history(self.run_id)
        stopped = api.ok("POST", f"/api/session-workers/{self.session_id}/stop")
        assert stopped["worker"]["state"] == "stopped", stopped

    def assert_it_ended_once(self) -> None:
        events = self._parts.events(f"run:{self.run_id}")
        types = [event["type"] for event in events]
        assert types.count("run.finished") == 1
        assert types[-1] == "run.finished"
        end = events[-1]["payload"]
        assert (end["outcome"], end["exported"]) == ("succeeded", True), end
        assert types.count("human_loop.requested") == types.count("human_loop.resolved") == 1
        workspace = self._parts.api.worker_folder(self.session_id) / "workspace"
        assert (workspace / "steps").read_text().splitlines() == STEPS
        self._parts.assert_log_equals_journals(self.run_id, self.session_id)
        snapshot = self._parts.api.ok("GET", f"/api/runs/{self.run_id}", params={"minPosition": events[-1]["position"]})
        assert snapshot["state"] == "succeeded"


def assert_nothing_is_left(parts: Installation) -> None:
    """No lease, no work, no process. A last worker does what the killed ones left over."""
    parts.expire_leases()
    worker = parts.worker()
    while not parts.at_rest():
        assert worker.died(0.2) is None, parts.worker_log()
        left = parts.unfinished_work()
        assert not [row for row in left if row[1] == "dead"], left
    worker.kill()
    assert executors(parts.api.home) == []


def live_through(parts: Installation, points: Iterator[str]) -> dict[str, bool]:
    """One life per point; whether each one's kill came."""
    killed = {}
    with ThreadPoolExecutor(4) as pool:
        for point in points:
            life = Life(parts, point)
            life.begin()
            killed[point] = point in life.live(pool)
    return killed


@pytest.mark.draft
@pytest.mark.timeout(600)
def test_a_run_survives_kills_at_the_key_points_of_its_life(parts: Installation) -> None:
    killed = live_through(parts, iter(KEY_POINTS))

    assert [point for point, came in killed.items() if not came] == []
    assert_nothing_is_left(parts)


class Enumeration:
    """All points found so far, each to be lived through once, by several installations at a time."""

    def __init__(self) -> None:
        self.killed: dict[str, bool] = {}
        self._found, self._waiting, self._under_way = {"none"}, ["none"], 0
        self._changed = threading.Condition()

    def work(self, parts: Installation) -> None:
        """Live through points until there is none left; then make sure that nothing is left of the lives."""
        with ThreadPoolExecutor(4) as pool:
            while (point := self._next()) is not None:
                came_by: set[str] = set()
                life = Life(parts, point)
                try:
                    life.begin()
                    came_by = life.live(pool)
                finally:
                    self._lived(point, came_by)
        assert_nothing_is_left(parts)

    def _next(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._under_way, LIFE_TIMEOUT_S * 4)
            if not self._waiting:
                return None
            self._under_way += 1
            return self._waiting.pop(0)

    def _lived(self, point: str, came_by: set[str]) -> None:
        with self._changed:
            self.killed[point] = point in came_by
            self._waiting += sorted(came_by - self._found)
            self._found |= came_by
            self._under_way -= 1
            log.info("%d/%d %s: %s", len(self.killed), len(self._found), point, self.killed[point])
            self._changed.notify_all()


@pytest.mark.draft
@pytest.mark.timeout(3000)
def test_a_run_survives_a_kill_before_and_after_every_effect_and_commit(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, object_store_server: ObjectStoreServer
) -> None:
    enumeration = Enumeration()
    with ExitStack() as stack:
        shards = [
            stack.enter_context(
                installation(
                    tmp_path_factory.mktemp("shard"),
                    postgres_server.create_database(),
                    object_store_server.create_bucket_access(),
                )
            )
            for _ in range(SHARDS)
        ]
        with ThreadPoolExecutor(SHARDS) as pool:
            workers = [pool.submit(enumeration.work, parts) for parts in shards]
            for worker in workers:
                worker.result()

    missed = [point for point, killed in enumeration.killed.items() if not killed and point != "none"]
    log.info("%d kills; these points did not come again: %s", sum(enumeration.killed.values()), missed)
    assert len(missed) < len(enumeration.killed) / 4, missed
