"""A lease is stolen while its holder is merely slow: SIGSTOP, another takes over, SIGCONT. Nothing doubles."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fleetlog_parts import Installation, WorkerProcess, installation

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]
STEPS = 30
LINES = f"for n in $(seq 1 {STEPS}); do echo line $n; echo $n >> steps; sleep 0.2; done"
SCRIPT = f"{LINES}; until [ -e go ]; do sleep 0.1; done"
"""It goes on until the test lets it end: how long a worker takes to start is a matter of the machine."""


@pytest.fixture
def parts(tmp_path_factory: pytest.TempPathFactory, database: str, bucket: ObjectStoreAccess) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("parts")
    with installation(folder, database, bucket, RUN_QUEUE_LOCK_MS="1500") as parts:
        yield parts


def claims(parts: Installation, run_id: str) -> list[str]:
    events = parts.events(f"run:{run_id}")
    return [event["payload"]["owner"] for event in events if event["type"] == "run.claimed"]


def until_claimed_by(parts: Installation, run_id: str, worker: WorkerProcess) -> None:
    for frame in parts.api.frames(run_id):
        if frame["event"] == "run.claimed" and str(worker.process.pid) in frame["data"]["owner"]:
            return
    raise AssertionError(f"worker {worker.process.pid} never claimed the run: {claims(parts, run_id)}")


def end_of_script(parts: Installation) -> Path:
    """The file that lets the script end."""
    return parts.api.worker_folder("s") / "workspace/go"


def test_a_stopped_holder_is_fenced_when_it_wakes_up_and_nothing_doubles(parts: Installation) -> None:
    slow = parts.worker()
    run_id = parts.api.enqueued(SCRIPT, sessionId="s")
    parts.api.until(run_id, "message.delta")
    other = parts.worker()
    end = end_of_script(parts)

    slow.send(signal.SIGSTOP)
    until_claimed_by(parts, run_id, other)
    slow.send(signal.SIGCONT)
    parts.api.until(run_id, "run.lease_lost")
    end.touch()
    history = parts.api.history(run_id)

    assert len(claims(parts, run_id)) == 2
    assert history[-1]["event"] == "run.finished"
    assert history[-1]["data"]["outcome"] == "succeeded"
    parts.assert_log_equals_journals(run_id, "s")
    assert (parts.api.worker_folder("s") / "workspace/steps").read_text().split() == [str(n + 1) for n in range(STEPS)]
    types = [event["type"] for event in parts.events(f"run:{run_id}")]
    assert "run.lease_lost" in types
    assert types.index("run.lease_lost") > len(types) - 1 - types[::-1].index("run.claimed")


def test_a_holder_that_stays_stopped_holds_up_nobody(parts: Installation) -> None:
    """It leads the process managers and the projections too; a silent leader loses both."""
    slow = parts.worker()
    run_id = parts.api.enqueued(SCRIPT, sessionId="s")
    parts.api.until(run_id, "message.delta")
    parts.worker()
    end = end_of_script(parts)

    slow.send(signal.SIGSTOP)
    end.touch()

    assert parts.api.history(run_id)[-1]["data"]["outcome"] == "succeeded"
    assert parts.api.finished("echo next", sessionId="s")["snapshot"]["state"] == "succeeded"
    slow.send(signal.SIGCONT)
    assert parts.api.finished("echo last", sessionId="s")["snapshot"]["state"] == "succeeded"
    parts.assert_log_equals_journals(run_id, "s")
