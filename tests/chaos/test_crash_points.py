"""kill -9 of the worker before and after every effect and every commit of a run's life, one at a time.

The points are not listed but found: a first life without a kill names them, and every further life that comes by new
ones (a recovery does other things) adds those.
"""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fleetlog_parts import Installation, executors, installation
from tests.support.fleetlog_server import new_id
from tests.support.forked_workers import ForkedWorker, WorkerForkServer, worker_fork_server
from tests.support.samples import samples
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
LIFE_TIMEOUT_S = 180  # a life takes seconds
INSTALLATIONS = 3
MOST_KILLS = 2
FEWEST_POINTS = 150
SHARE = 0.12
"""Of the points, in a sample."""
FEWEST_SAMPLED = 8
COMMITS = (
    "run.claimed",
    "session.run_attached",
    "run.started",
    "run.agent_finished",
    "session.sync_requested",
    "session.synced",
    "run.exported",
    "run.finished",
    "session.run_detached",
)
"""What each life writes: in a whole run, whatever else was found, these must have been died at."""


@dataclass(frozen=True)
class CrashingInstallation:
    """An installation, and the fork server of its workers."""

    parts: Installation
    workers: WorkerForkServer


@contextmanager
def crashing_installation(folder: Path, dsn: str, bucket: ObjectStoreAccess) -> Iterator[CrashingInstallation]:
    with (
        installation(folder, dsn, bucket) as parts,
        worker_fork_server(parts.environment, folder / "worker.log") as workers,
    ):
        yield CrashingInstallation(parts, workers)


class Life:
    """One run from its start to the stop of its session, with a person who answers its question. Its workers die one
    after the other, each at its point of `fatal`; the one after them lives."""

    def __init__(self, installation: CrashingInstallation, fatal: Sequence[str]) -> None:
        self.run_id, self.session_id = new_id("run"), new_id("session")
        self._parts, self._workers, self._fatal = installation.parts, installation.workers, [*fatal]
        self._records: list[Path] = []

    def live(self, pool: ThreadPoolExecutor) -> list[set[str]]:
        """Live it to its end, through the kills; the points that each of its workers came by."""
        worker = self._next_worker()  # it is there before the run is
        caller = pool.submit(self._as_callers_see_it)
        deadline = time.monotonic() + LIFE_TIMEOUT_S
        try:
            while not self._over(caller):
                assert time.monotonic() < deadline, self._parts.unfinished_work()
                if worker.died(0.05) is not None:
                    worker = self._next_worker()
            self.assert_it_ended_once()
        except BaseException as error:
            worker.send(signal.SIGUSR1)
            worker.died(1)  # a moment for its stacks
            types = [event["type"] for event in self._parts.events(f"run:{self.run_id}")]
            error.add_note(f"killed at {self._fatal}: {types}\n{self._parts.worker_log()}")
            raise
        finally:
            worker.kill()
            if not caller.done():
                self._next_worker().died(LIFE_TIMEOUT_S / 4)  # so that the caller's thread ends, too
        return [set(record.read_text().splitlines()) for record in self._records if record.exists()]

    def _next_worker(self) -> ForkedWorker:
        number = len(self._records)
        self._records.append(self._parts.api.home.parent / f"{self.run_id}.{number}.points")
        if number:
            self._parts.expire_leases()
        return self._workers.worker(
            run_id=self.run_id,
            session_id=self.session_id,
            fatal=self._fatal[number] if number < len(self._fatal) else "none",
            record=self._records[-1],
        )

    def _over(self, caller: Future[None]) -> bool:
        """A kill may come after all that callers see."""
        if not caller.done():
            return False
        caller.result()
        return self._parts.at_rest()

    def _as_callers_see_it(self) -> None:
        api = self._parts.api
        api.enqueued(SCRIPT, runId=self.run_id, sessionId=self.session_id, providerOptions={"interactive": True})
        api.until(self.run_id, "human_loop.requested")
        reply = {"runId": self.run_id, "questionId": "q", "answer": "yes"}
        api.ok("POST", "/api/human-loop/reply", json=reply)
        api.history(self.run_id)
        while api.ok("POST", f"/api/session-workers/{self.session_id}/stop").get("pending"):
            pass

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
        worker = self._parts.api.ok("GET", f"/api/session-workers/{self.session_id}")
        assert (worker["state"], worker["lastSyncStatus"]) == ("stopped", "success"), worker
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


Kills = tuple[str, ...]
"""Where the workers of a life die, one after the other."""


class Enumeration:
    """All points found so far, each to be lived through once, by several installations at a time. A point that only
    the recovery from a kill comes by is reached through that kill."""

    def __init__(self) -> None:
        self.reached: dict[str, bool] = {}
        self._found: set[str] = set()
        self._waiting: list[Kills] = [()]
        self._under_way = 0
        self._changed = threading.Condition()

    def work(self, installation: CrashingInstallation) -> None:
        """Live through points until there is none left; then make sure that nothing is left of the lives."""
        with ThreadPoolExecutor(1) as pool:
            while (kills := self._next()) is not None:
                came_by: list[set[str]] = []
                try:
                    came_by = Life(installation, kills).live(pool)
                except BaseException:
                    self._give_up()
                    raise
                finally:
                    self._lived(kills, came_by)
        assert_nothing_is_left(installation.parts)

    def lived(self) -> set[str]:
        """The points at which somebody has died."""
        return {point for point, reached in self.reached.items() if reached}

    def _next(self) -> Kills | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._under_way, LIFE_TIMEOUT_S * 2)
            if not self._waiting:
                return None
            self._under_way += 1
            return self._waiting.pop(0)

    def _give_up(self) -> None:
        """One failure is enough."""
        with self._changed:
            self._waiting.clear()
            self._found.clear()

    def _lived(self, kills: Kills, came_by: Sequence[set[str]]) -> None:
        with self._changed:
            if kills:
                self.reached[kills[-1]] = len(came_by) >= len(kills) and kills[-1] in came_by[len(kills) - 1]
                log.info("%d/%d %s: %s", len(self.reached), len(self._found), kills, self.reached[kills[-1]])
            for number, points in enumerate(came_by[:MOST_KILLS]):
                new = sorted(point for point in points - self._found if samples().takes(f"kill at {point}", SHARE))
                self._waiting += [(*kills[:number], point) for point in new]
                self._found |= points
            self._under_way -= 1
            self._changed.notify_all()


@pytest.mark.proof
@pytest.mark.timeout(3000)
def test_a_run_survives_a_kill_before_and_after_every_effect_and_commit(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, object_store_server: ObjectStoreServer
) -> None:
    enumeration = Enumeration()
    with ExitStack() as stack:
        installations = [
            stack.enter_context(
                crashing_installation(
                    tmp_path_factory.mktemp("installation"),
                    postgres_server.create_log(),
                    object_store_server.create_bucket_access(),
                )
            )
            for _ in range(INSTALLATIONS)
        ]
        with ThreadPoolExecutor(INSTALLATIONS) as pool:
            workers = [pool.submit(enumeration.work, where) for where in installations]
            for worker in workers:
                worker.result()

    missed = [point for point, reached in enumeration.reached.items() if not reached]
    log.info("%d points; these did not come again: %s", len(enumeration.reached), missed)
    assert len(enumeration.reached) > samples().size(whole=FEWEST_POINTS, sample=FEWEST_SAMPLED)
    if samples().whole:
        commits = {f"append {commit} #1 {when}" for commit in COMMITS for when in ("before", "after")}
        assert commits <= enumeration.lived()
    # What a batch holds, and what a recovery does, varies; and a sample may hold more of such points than the whole.
    assert len(missed) < len(enumeration.reached) // samples().size(whole=5, sample=2), missed
