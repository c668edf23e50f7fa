"""The life of a session over HTTP: activation in every state, the sync gate, housekeeping."""

import os
import shutil
import time
from typing import Any

import pytest

from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.repair_lines import repaired


@pytest.fixture
def session() -> str:
    return new_id("session")


def test_a_new_session_is_created_and_started_then_touched(shared_fleetlog: FleetlogServer, session: str) -> None:
    first = shared_fleetlog.activate(session)
    again = shared_fleetlog.activate(session)

    assert (first["action"], again["action"]) == ("created_and_started", "already_running")
    worker = shared_fleetlog.ok("GET", f"/api/session-workers/{session}", params={"minPosition": again["position"]})
    assert (worker["state"], worker["generation"], worker["projectName"]) == ("running", 1, "default")
    assert worker["workspacePrefix"] == f"app/app/project/default/ada/session/{session}/workspace"
    assert worker["asOfPosition"] >= again["position"]


def test_a_known_session_keeps_its_app_project_and_user(shared_fleetlog: FleetlogServer, session: str) -> None:
    shared_fleetlog.activate(session)

    problem = shared_fleetlog.problem(
        409,
        "POST",
        f"/api/session-workers/{session}/activate",
        json={"appId": "app", "userLoginName": "eve"},
    )

    assert problem["reason"] == "identity_conflict"
    assert "'ada'" in problem["detail"]


@pytest.mark.proof
def test_a_stopped_session_starts_again_with_its_files(shared_fleetlog: FleetlogServer, session: str) -> None:
    shared_fleetlog.finished("echo kept > file.txt", sessionId=session)
    stopped = shared_fleetlog.ok("POST", f"/api/session-workers/{session}/stop")["worker"]

    assert (stopped["state"], stopped["lastSyncStatus"]) == ("stopped", "success")
    assert shared_fleetlog.activate(session)["action"] == "started"
    events = shared_fleetlog.finished("cat file.txt", sessionId=session)["events"]
    assert [event["payload"]["text"] for event in events if event["type"] == "message.delta"] == ["kept\n"]


def test_stopping_what_is_stopped_succeeds(shared_fleetlog: FleetlogServer, session: str) -> None:
    shared_fleetlog.activate(session)
    shared_fleetlog.ok("POST", f"/api/session-workers/{session}/stop")

    again = shared_fleetlog.ok("POST", f"/api/session-workers/{session}/stop")

    assert again["worker"]["state"] == "stopped"


def test_a_stopped_session_whose_folder_was_deleted_comes_back_without_a_manifest(
    shared_fleetlog: FleetlogServer, session: str
) -> None:
    shared_fleetlog.finished("mkdir -p deep/er && echo back > deep/er/file", sessionId=session)
    shared_fleetlog.ok("POST", f"/api/session-workers/{session}/stop")
    shutil.rmtree(shared_fleetlog.worker_folder(session))

    assert shared_fleetlog.activate(session)["action"] == "created_and_started"

    folder = shared_fleetlog.worker_folder(session)
    assert (folder / "workspace/deep/er/file").read_text() == "back\n"
    history = shared_fleetlog.ok("GET", f"/api/streams/session:{session}/events")["events"]
    assert "session.container_lost" in [event["type"] for event in history]
    (line,) = repaired(shared_fleetlog, "container_lost", sessionId=session)
    assert (line["level"], line["containerId"]) == ("warning", lost_container(history))


def lost_container(history: list[dict[str, Any]]) -> str:
    """The container that was made before the first loss."""
    types = [event["type"] for event in history]
    before = history[: types.index("session.container_lost")]
    return str([each["payload"] for each in before if each["type"] == "session.container_created"][-1]["containerId"])


@pytest.mark.parametrize("what", ["workspace", "."])
def test_a_running_worker_whose_folder_was_deleted_is_lost_and_never_synced_as_empty(
    shared_fleetlog: FleetlogServer, session: str, what: str
) -> None:
    shared_fleetlog.finished("echo back > file", sessionId=session)
    shutil.rmtree(shared_fleetlog.worker_folder(session) / what)

    stopped = shared_fleetlog.ok("POST", f"/api/session-workers/{session}/stop")

    assert stopped["worker"]["state"] == "deleted"
    history = shared_fleetlog.ok("GET", f"/api/streams/session:{session}/events")["events"]
    assert "session.container_lost" in [event["type"] for event in history]
    assert shared_fleetlog.activate(session)["action"] == "created_and_started"
    assert (shared_fleetlog.worker_folder(session) / "workspace/file").read_text() == "back\n"


@pytest.mark.proof
def test_a_run_that_deletes_its_workspace_ends_and_the_next_one_finds_the_last_sync(
    shared_fleetlog: FleetlogServer, session: str
) -> None:
    shared_fleetlog.finished("echo back > file", sessionId=session)

    broken = shared_fleetlog.finished('cd / && rm -r "$OLDPWD"', sessionId=session)["snapshot"]
    after = shared_fleetlog.finished("cat file", sessionId=session)["events"]

    assert (broken["state"], broken["exported"]) == ("succeeded", False)
    assert [event["payload"]["text"] for event in after if event["type"] == "message.delta"] == ["back\n"]


def test_no_stop_while_a_run_is_attached(shared_fleetlog: FleetlogServer, session: str) -> None:
    run = shared_fleetlog.enqueued("echo started; sleep 60", sessionId=session)
    shared_fleetlog.until(run, "message.delta")

    problem = shared_fleetlog.problem(409, "POST", f"/api/session-workers/{session}/stop")

    assert problem["reason"] == "run_attached"
    shared_fleetlog.ok("POST", f"/api/runs/{run}/stop")
    assert shared_fleetlog.history(run)[-1]["data"]["outcome"] == "canceled"
    stopped = shared_fleetlog.ok("POST", f"/api/session-workers/{session}/stop")
    assert stopped["worker"]["state"] == "stopped"


def test_a_manual_sync_names_the_manifest_and_an_unchanged_one_names_it_again(
    shared_fleetlog: FleetlogServer, session: str
) -> None:
    shared_fleetlog.finished("echo x > file", sessionId=session)

    first = shared_fleetlog.ok("POST", f"/api/session-workers/{session}/sync")
    second = shared_fleetlog.ok("POST", f"/api/session-workers/{session}/sync")

    assert first["sync"]["manifestKey"].startswith(
        f"app/app/project/default/ada/session/{session}/workspace/manifests/"
    )
    assert second["sync"] == first["sync"]


@pytest.mark.proof
def test_a_missing_required_path_fails_the_activation_and_is_named(
    shared_fleetlog: FleetlogServer, session: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prefix = push_template(shared_fleetlog, tmp_path_factory, {"there.txt": "x"})
    manifest = {
        "appId": "app",
        "runtimeVersion": "2",
        "workspaceTemplatePrefix": prefix,
        "requiredPaths": ["/workspace/there.txt", "/workspace/missing.txt"],
    }

    problem = shared_fleetlog.problem(
        409,
        "POST",
        f"/api/session-workers/{session}/activate",
        json={"appId": "app", "userLoginName": "ada", "runtimeVersion": "2", "manifest": manifest},
    )

    assert problem["missingRequiredPaths"] == ["/workspace/missing.txt"]
    manifest["requiredPaths"] = ["/workspace/there.txt"]
    again = shared_fleetlog.activate(session, runtimeVersion="2", manifest=manifest)
    assert (again["action"], again["worker"]["generation"]) == ("created_and_started", 2)
    assert (shared_fleetlog.worker_folder(session) / "workspace/there.txt").read_text() == "x"


@pytest.mark.proof
def test_a_workspace_is_read_and_restored_as_of_any_sync(shared_fleetlog: FleetlogServer, session: str) -> None:
    server, path = shared_fleetlog, f"/api/session-workers/{session}"
    server.finished("mkdir d; echo first > d/file; ln -s d/file link; chmod 755 d/file", sessionId=session)
    first = server.ok("POST", f"{path}/sync")["position"]
    synced = server.ok("GET", f"{path}/syncs")["items"][0]["position"]
    assert synced <= first
    server.finished("echo second > d/file; rm link; echo new > new", sessionId=session)
    server.finished("echo unsynced >> d/file", sessionId=session)

    def names(**query: int) -> list[str]:
        listing = server.ok("GET", f"{path}/workspace", params=query)
        return [entry["path"] for entry in listing["entries"] if ".agent_data" not in entry["path"]]

    def content(**query: int) -> bytes:
        query_of_file = {"path": "/workspace/d/file"} | query
        return server.client.get(f"{path}/workspace/file", params=query_of_file).content

    assert names() == ["/workspace/d", "/workspace/d/file", "/workspace/new"]
    assert names(syncPosition=synced) == ["/workspace/d", "/workspace/d/file", "/workspace/link"]
    assert names(atPosition=synced) == names(syncPosition=synced)
    assert (content(), content(syncPosition=synced)) == (b"second\nunsynced\n", b"first\n")
    assert content(atPosition=synced) == b"first\n"
    assert server.command("workspace", "cat", session, "/workspace/d/file", "--at", str(synced)) == "first\n"
    assert "/workspace/link" in server.command("workspace", "ls", session, "--at", str(synced))

    run = server.enqueued("echo started; sleep 60", sessionId=session)
    server.until(run, "message.delta")
    refused = server.problem(409, "POST", f"{path}/restore", json={"syncPosition": synced})
    assert refused["reason"] == "run_attached"
    server.ok("POST", f"/api/runs/{run}/stop")
    server.history(run)

    before = server.ok("GET", f"{path}/syncs")["items"][0]["position"]
    restored = server.ok("POST", f"{path}/restore", json={"syncPosition": synced})["worker"]

    assert (restored["state"], restored["generation"]) == ("running", 2)
    workspace = server.worker_folder(session) / "workspace"
    assert ((workspace / "d/file").read_text(), (workspace / "link").is_symlink()) == ("first\n", True)
    assert content(syncPosition=before) == b"second\nunsynced\n"
    problem = server.problem(400, "POST", f"{path}/restore", json={"syncPosition": 1})
    assert problem["errors"][0]["field"] == "syncPosition"

    assert f"position {before}" in server.command("workspace", "restore", session, "--at", str(before))
    assert (server.worker_folder(session) / "workspace/d/file").read_text() == "second\nunsynced\n"


@pytest.mark.proof
def test_what_no_kept_sync_names_is_collected_and_the_rest_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = FleetlogServer(
        tmp_path_factory.mktemp("collected") / "home", **on_shared_postgres(), WORKSPACE_RETENTION_MS="1"
    )
    path = "/api/session-workers/s"
    with server:
        for text in ("first", "second", "third"):
            server.finished(f"echo {text} > file; echo {text} > only-{text}; rm -f only-first", sessionId="s")
        synced = [event for event in server.stream("s") if event["type"] == "session.synced"]
        (objects,) = server.home.glob("s3/*")
        prefix = objects / server.ok("GET", path)["workspacePrefix"]
        assert server.stop() == 0
        before = {file for folder in ("manifests", "packs", "objects") for file in prefix.glob(f"{folder}/**/*")}
        for file in before:  # two days pass
            os.utime(file, (time.time() - 172_800,) * 2)

        server.start()  # the schedule begins with a round

        ended = server.until_session("s", "session.content_collected")["payload"]
        left = {file for folder in ("manifests", "packs", "objects") for file in prefix.glob(f"{folder}/**/*")}
        assert (ended["keptSyncs"], ended["manifests"] > 0, ended["contents"] > 0) == (1, True, True)
        assert left < before
        assert [file.suffix for file in left if "manifests" in file.parts and file.is_file()] == [".json"]
        refused = server.problem(409, "POST", f"{path}/restore", json={"syncPosition": synced[0]["position"]})
        assert refused["reason"] == "sync_not_kept"
        gone = {"syncPosition": synced[0]["position"], "path": "/workspace/file"}
        assert server.problem(409, "GET", f"{path}/workspace/file", params=gone)["reason"] == "sync_not_kept"
        assert server.client.get(f"{path}/workspace/file", params={"path": "/workspace/file"}).content == b"third\n"
        server.ok("POST", f"{path}/stop")
        server.ok("GET", "/api/session-workers")
        server.ok("POST", "/api/session-workers/cleanup/stopped", json={"removeAfterMs": 0, "limit": 10})
        server.activate("s")
        assert (server.worker_folder("s") / "workspace/file").read_text() == "third\n"


@pytest.mark.proof
def test_a_long_sync_tells_how_far_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    with FleetlogServer(
        tmp_path_factory.mktemp("progress") / "home", **on_shared_postgres(), SYNC_PROGRESS_MS="30"
    ) as server:
        server.activate("s")
        workspace = server.worker_folder("s") / "workspace"
        for number in range(12):
            (workspace / f"large-{number}").write_bytes(os.urandom(12_000_000))
        server.ok("POST", "/api/session-workers/s/sync")

        events = server.ok("GET", "/api/streams/session:s/events", params={"limit": 500})["events"]
        told = [event["payload"] for event in events if event["type"] == "session.sync_progress"]
        assert 1 <= len(told) <= 20
        assert [each["bytesDone"] for each in told] == sorted({each["bytesDone"] for each in told})
        assert all(each["bytesDone"] <= each["bytes"] <= 144_000_000 for each in told)
        seen = server.session_events("s", "session.synced")
        assert seen.count("session.sync_progress") == len(told)


@pytest.mark.proof
def test_idle_workers_are_stopped_and_stopped_ones_removed_on_request(own_fleetlog: FleetlogServer) -> None:
    for name in ("a", "b"):
        own_fleetlog.finished("echo work > file", sessionId=name)
        own_fleetlog.until_session(name, "session.run_detached")
    folder = own_fleetlog.worker_folder("a")
    own_fleetlog.ok("GET", "/api/session-workers")  # the read model, with what was just seen

    busy = own_fleetlog.ok("POST", "/api/session-workers/cleanup/idle", json={"idleTimeoutMs": 600_000, "limit": 10})
    idle = own_fleetlog.ok("POST", "/api/session-workers/cleanup/idle", json={"idleTimeoutMs": 0, "limit": 10})
    own_fleetlog.ok("GET", "/api/session-workers")  # the candidates of the next call are read from this read model
    removed = own_fleetlog.ok("POST", "/api/session-workers/cleanup/stopped", json={"removeAfterMs": 0, "limit": 10})

    assert (busy["total"], idle["total"], idle["succeeded"]) == (0, 2, 2)
    assert (removed["total"], removed["succeeded"]) == (2, 2)
    assert not folder.exists()
    assert own_fleetlog.activate("a")["action"] == "created_and_started"
    assert (own_fleetlog.worker_folder("a") / "workspace/file").read_text() == "work\n"


@pytest.mark.proof
def test_more_sessions_than_max_workers_wait_for_a_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = {**on_shared_postgres(), "MAX_WORKERS": "2", "MAX_STARTING": "1"}
    with FleetlogServer(tmp_path_factory.mktemp("limited") / "home", **settings) as server:
        for name in ("a", "b"):
            server.activate(name)
        body = {"appId": "app", "userLoginName": "ada"}
        waiting = server.ok("POST", "/api/session-workers/c/activate", json=body, params={"waitMs": 500})
        assert waiting["pending"]
        run_id = server.enqueued("echo never", sessionId="d")
        server.until(run_id, "run.phase")
        server.until_session("d", "session.activation_requested")  # its activation follows the run's phase
        server.ok("POST", f"/api/runs/{run_id}/stop")
        assert server.history(run_id)[-1]["data"]["outcome"] == "canceled"

        server.ok("POST", "/api/session-workers/a/stop")

        assert server.activate("c")["worker"]["state"] == "running"
        states = {w["sessionId"]: w["state"] for w in server.ok("GET", "/api/session-workers")["items"]}
        assert states == {"a": "stopped", "b": "running", "c": "running", "d": "deleted"}


def test_a_session_is_read_as_it_was(shared_fleetlog: FleetlogServer, session: str) -> None:
    shared_fleetlog.activate(session)
    shared_fleetlog.ok("POST", f"/api/session-workers/{session}/stop")
    history = shared_fleetlog.ok("GET", f"/api/streams/session:{session}/events")["events"]
    activated = next(event for event in history if event["type"] == "session.activated")

    then = shared_fleetlog.ok("GET", f"/api/session-workers/{session}", params={"atSeq": activated["seq"]})
    at_position = shared_fleetlog.ok(
        "GET", f"/api/session-workers/{session}", params={"atPosition": activated["position"]}
    )

    assert then["state"] == "running"
    assert at_position == then


def push_template(server: FleetlogServer, tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]) -> str:
    """A template of these files, pushed by the command line; its prefix."""
    folder = tmp_path_factory.mktemp("template")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    prefix = f"app/app/templates/{new_id('t')}/"
    server.command("template", "push", str(folder), prefix)
    return prefix
