"""The reconcilers on request: what each finds, does, answers with, leaves in the log, says and counts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from application.ports.worker_runtime import ContainerSpec
from infrastructure.durable_file import write_durably
from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.runtimes.worker_folder import WorkerFolder, folder_of
from tests.support.fleetlog_parts import Installation, installation
from tests.support.repair_lines import counted, repaired

pytestmark = pytest.mark.proof


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SCRIPT = "echo begun; read -r answer; echo $answer"


@pytest.fixture
def parts(tmp_path_factory: pytest.TempPathFactory, database: str, bucket: ObjectStoreAccess) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("parts")
    with installation(folder, database, bucket, STALE_SYNC_AFTER_MS="1", RUN_QUEUE_LOCK_MS="600000") as parts:
        yield parts


def reconciled(parts: Installation, what: str) -> dict[str, int]:
    """The counts of the answer."""
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    answer = parts.api.ok("POST", f"/api/reconcile/{what}", headers=headers)
    return {name: answer[name] for name in ("examined", "acted", "failed")}


def findings(parts: Installation, what: str, actor: str = "anonymous") -> list[dict[str, Any]]:
    """What was left in the log on somebody's request."""
    return [
        event["payload"] for event in parts.events(f"reconcile:{what}") if event["metadata"]["actor"].startswith(actor)
    ]


def said(parts: Installation, kind: str) -> list[dict[str, Any]]:
    """The level and the ids of the lines of the process that was asked, which are all that it has counted."""
    lines = repaired(parts.api, kind)
    assert counted(parts.api, kind) == len(lines)
    assert all(line["look"] for line in lines)
    ids = ("level", "sessionId", "runId", "effectId", "containerId", "traceId")
    return [{name: line[name] for name in ids if name in line} for line in lines]


def trace_of_run(parts: Installation, run_id: str) -> str:
    (trace_id,) = {event["metadata"]["traceId"] for event in parts.events(f"run:{run_id}") if event["seq"] == 1}
    return str(trace_id)


def test_a_stale_run_is_taken_over_where_it_stands(parts: Installation) -> None:
    dead = parts.worker()
    run_id = parts.api.enqueued(SCRIPT, sessionId="s", providerOptions={"interactive": True})
    parts.api.until(run_id, "message.delta")
    dead.kill()

    before = reconciled(parts, "runs")
    parts.expire_leases()
    after = reconciled(parts, "runs")

    assert before == {"examined": 0, "acted": 0, "failed": 0}
    assert after == {"examined": 1, "acted": 1, "failed": 0}
    assert findings(parts, "runs") == [{"what": "runs", "examined": 1, "acted": 1, "subjects": [run_id]}]
    claims = [event["payload"] for event in parts.events(f"run:{run_id}") if event["type"] == "run.claimed"]
    assert [claim.get("resumed", False) for claim in claims] == [False, True]
    assert [claim["attempt"] for claim in claims] == [1, 1]
    assert said(parts, "stale_run") == [{"level": "warning", "runId": run_id, "traceId": trace_of_run(parts, run_id)}]
    parts.worker()
    parts.api.ok("POST", f"/api/runs/{run_id}/stop")
    assert parts.api.history(run_id)[-1]["data"]["outcome"] == "canceled"


def test_a_run_that_the_queue_has_lost_enters_it_again_from_the_log(parts: Installation) -> None:
    dead = parts.worker()
    under_way = parts.api.enqueued(SCRIPT, sessionId="s", providerOptions={"interactive": True})
    parts.api.until(under_way, "message.delta")
    waiting = parts.api.enqueued("echo later", sessionId="s")
    while parts.rows("SELECT count(*) FROM run_queue") != [(2,)]:
        pass
    for run_id in (under_way, waiting):
        parts.api.ok("GET", f"/api/runs/{run_id}")  # the read model has it by now
    dead.kill()
    parts.rows("DELETE FROM run_queue RETURNING run_id")

    counts = reconciled(parts, "runs")

    assert counts == {"examined": 2, "acted": 2, "failed": 0}
    assert findings(parts, "runs") == [{"what": "runs", "examined": 2, "acted": 2, "subjects": [under_way, waiting]}]
    assert reconciled(parts, "runs")["acted"] == 0
    assert said(parts, "lost_queue_row") == [
        {"level": "warning", "runId": run_id, "traceId": TRACE} for run_id in (under_way, waiting)
    ]
    parts.worker()
    parts.api.ok("POST", f"/api/runs/{under_way}/stop")
    assert parts.api.history(under_way)[-1]["data"]["outcome"] == "canceled"
    assert parts.api.history(waiting)[-1]["data"]["outcome"] == "succeeded"
    claims = [event["payload"] for event in parts.events(f"run:{under_way}") if event["type"] == "run.claimed"]
    assert [(claim["leaseGeneration"], claim["attempt"]) for claim in claims] == [(1, 1), (3, 1)]  # 2 may be out


def test_a_worker_whose_sync_is_too_old_is_synced_again(parts: Installation) -> None:
    parts.worker()
    parts.api.activate("s")
    parts.api.ok("GET", "/api/session-workers/s")  # the read model points at it by now

    counts = reconciled(parts, "sync")

    assert counts == {"examined": 1, "acted": 1, "failed": 0}
    assert findings(parts, "syncs") == [{"what": "syncs", "examined": 1, "acted": 1, "subjects": ["s"]}]
    assert said(parts, "stale_sync") == [{"level": "warning", "sessionId": "s", "traceId": TRACE}]
    parts.api.ok("POST", "/api/session-workers/s/stop")  # after every sync that was wanted before
    synced = [event["payload"]["reason"] for event in parts.events("session:s") if event["type"] == "session.synced"]
    assert "compensation" in synced


def test_an_effect_of_a_worker_that_is_gone_is_given_to_others(parts: Installation) -> None:
    worker = parts.worker()
    parts.api.activate("s")
    worker.kill()
    # As a worker leaves it that dies while it performs it.
    parts.rows(
        "UPDATE effects SET state = 'leased', lease_owner = 'gone', lease_expires_at = clock_timestamp(), "
        "finished_at = NULL WHERE kind = 'workspace.validate'"
    )

    assert reconciled(parts, "effects") == {"examined": 1, "acted": 1, "failed": 0}
    assert reconciled(parts, "effects") == {"examined": 0, "acted": 0, "failed": 0}

    # No process managers run, which a read that names a position would wait for.
    (effect,) = parts.api.client.get("/api/effects", params={"state": "ready"}).json()["effects"]
    assert findings(parts, "effects") == [
        {"what": "effects", "examined": 1, "acted": 1, "subjects": [effect["effectId"]]}
    ]
    assert said(parts, "stale_effect") == [{"level": "warning", "effectId": effect["effectId"], "traceId": TRACE}]
    history = parts.api.client.get(f"/api/effects/{effect['id']}").json()["history"]
    assert [one["outcome"] for one in history] == ["abandoned"]
    parts.worker()
    while parts.unfinished_work():
        pass
    assert parts.api.ok("GET", f"/api/effects/{effect['id']}")["state"] == "obsolete"


def test_a_container_that_no_session_names_goes_unless_it_may_hold_work(parts: Installation) -> None:
    empty, used = old_container(parts, "empty"), old_container(parts, "used")
    write_durably(used.config_file, b"{}")  # it was started

    counts = reconciled(parts, "containers")

    assert counts == {"examined": 2, "acted": 1, "failed": 0}
    assert (empty.exists(), used.exists()) == (False, True)
    (finding,) = findings(parts, "orphans")
    assert (finding["examined"], finding["acted"]) == (2, 1)
    assert sorted(finding["subjects"]) == sorted([empty.name, used.name])
    assert reconciled(parts, "containers") == {"examined": 1, "acted": 0, "failed": 0}
    assert said(parts, "orphan_container") == [
        {"level": "warning", "sessionId": "empty", "containerId": empty.name, "traceId": TRACE}
    ]
    assert parts.api.log_tail().count("it is kept until a person has looked at it") == 1


def old_container(parts: Installation, session_id: str) -> WorkerFolder:
    """A container of this installation that nobody has recorded; young ones would be left alone."""
    spec = ContainerSpec(session_id=session_id, generation=1, token="")
    folder = folder_of(parts.api.home / "workers", spec)
    folder.make(spec)
    record = folder.record()
    assert record is not None
    aged = msgspec.structs.replace(record, created_at=datetime.now(UTC) - timedelta(days=1))
    write_durably(folder.path / "container.json", msgspec.json.encode(aged))
    return folder
