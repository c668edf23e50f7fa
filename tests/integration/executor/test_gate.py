"""Syncs over HTTP: refused before the restore, the gate, one at a time."""

import json
import os
import resource
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.integration.executor.worker import PREFIX, is_alive, text_of
from tests.support.fault_proxy import FaultProxy


def test_a_sync_before_the_restore_is_refused_and_writes_nothing(make_worker, store):
    worker = make_worker().start()
    (worker.workspace / "half").write_text("x")
    refused = worker.try_sync(gate=True)
    assert (refused.status_code, refused.json()["reason"]) == (409, "workspace_not_restored")
    assert (
        worker.http.put("/workspace/file?path=/workspace/f", content=b"x").json()["reason"] == "workspace_not_restored"
    )
    assert list(store.list_objects("")) == []


def test_a_restore_that_failed_leaves_syncs_refused(make_worker):
    worker = make_worker().start()
    failed = worker.try_restore([{"level": "L0", "name": "registry_base", "from": "none/", "to": "/workspace"}])
    assert (failed.status_code, failed.json()["reason"]) == (422, "layer_missing")
    assert failed.json()["type"] == "urn:fleetlog:problem:stored-workspace-unreadable"
    assert "'none/'" in failed.json()["detail"]
    assert worker.try_sync().json()["reason"] == "workspace_not_restored"
    worker.restore()
    assert worker.sync()["files"] == 0


def test_an_object_store_that_is_away_is_a_passing_error(make_worker, location):
    with FaultProxy(location.endpoint) as proxy:
        worker = make_worker(s3Endpoint=proxy.url).start()
        with proxy.refusing():
            failed = worker.try_restore()
        worker.restore()
    assert (failed.status_code, failed.json()["reason"]) == (503, "object_store_unavailable")
    assert failed.headers["retry-after"] == "1"


def test_an_object_store_that_refuses_is_told_apart(make_worker):
    failed = make_worker(s3SecretKey="another").start().try_restore()
    assert (failed.status_code, failed.json()["reason"]) == (502, "object_store_refused")


def test_a_bucket_that_is_missing_is_told_apart(make_worker):
    failed = make_worker(s3Bucket="no-such").start().try_restore()
    assert (failed.status_code, failed.json()["reason"]) == (502, "bucket_missing")


def test_a_gate_ends_every_process_first(worker):
    worker.start_run("(setsid sh -c 'while true; do date +%N > busy; done' & echo $!); sleep 600")
    with worker.following() as entries:
        pid = int(next(entries)["payload"]["text"])
        result = worker.sync(gate=True, reason="pre.stop")
        last = list(entries)[-1]
    assert last["payload"]["outcome"] == "failed"
    assert not is_alive(pid)
    assert result["unstablePaths"] == []
    assert worker.http.get("/health").json()["activeRuns"] == []


def test_a_gate_that_was_asked_for_before_an_agent_started_leaves_it_alone(worker):
    worker.start_run("read line; echo $line", session_seq=9, interactive=True)

    late = worker.try_sync(gate=True, reason="pre.stop", sessionSeq=8)

    assert (late.status_code, late.json()["reason"]) == (409, "gate_overtaken")
    assert worker.http.get("/health").json()["activeRuns"] == [worker.run_id]
    assert worker.sync(gate=True, reason="pre.stop", sessionSeq=10)["unstablePaths"] == []
    assert worker.http.get("/health").json()["activeRuns"] == []


def test_a_file_that_keeps_changing_shuts_the_gate_but_no_other_sync(worker):
    path = worker.workspace / "busy"
    path.write_bytes(b"0" * 5_000_000)
    stop = threading.Event()

    def change():
        with path.open("r+b") as file:
            while not stop.is_set():
                file.seek(0)
                file.write(os.urandom(32))
                file.flush()

    changer = threading.Thread(target=change)
    changer.start()
    try:
        refused = worker.try_sync(gate=True)
        other = worker.sync()
    finally:
        stop.set()
        changer.join()
    assert (refused.status_code, refused.json()["reason"]) == (409, "files_not_stable")
    assert refused.json()["paths"] == ["busy"]
    assert set(other["unstablePaths"]) <= {"busy"}
    assert worker.sync(gate=True)["unstablePaths"] == []


def test_a_gate_reads_everything_again(worker):
    path = worker.workspace / "f"
    path.write_bytes(b"one")
    first = worker.sync()
    (index,) = worker.state.glob("index.msgpack")
    index.write_bytes(b"garbage")
    assert worker.sync(gate=True, previous=first["sync"])["sync"] == first["sync"]


def test_a_gate_does_not_rely_on_a_manifest_that_is_gone(worker, store):
    (worker.workspace / "f").write_bytes(b"content")
    first = worker.sync()
    store.delete([item.key for item in store.list_objects(f"{PREFIX}/")])
    second = worker.sync(gate=True, previous=first["sync"])
    assert second["uploadedFiles"] == 1
    assert second["sync"] != first["sync"]


def test_syncs_wait_in_line(worker):
    for number in range(200):
        (worker.workspace / str(number)).write_bytes(os.urandom(20_000))
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: worker.sync(), range(6)))
    assert len({json.dumps(result["sync"]) for result in results}) == 1
    assert sum(result["uploadedFiles"] for result in results) == 200


def test_a_sync_while_a_run_writes_does_not_hold_it_up(worker):
    worker.start_run("for i in $(seq 300); do echo $i > f$i; done; echo done")
    while "done" not in text_of(worker.journal()):
        worker.sync()
    assert worker.sync()["files"] == 300


def test_another_session_generation_or_prefix_is_refused(worker):
    assert worker.post("/workspace/sync", generation=2, **_sync()).json()["reason"] == "fenced"
    assert worker.post("/workspace/sync", sessionId="s2", **_sync()).json()["reason"] == "fenced"
    assert worker.post("/workspace/validate", generation=2).json()["reason"] == "fenced"
    assert worker.try_start("echo", spec={"sessionId": "other"}).json()["reason"] == "fenced"
    assert worker.try_sync(workspaceS3Prefix="app/other").json()["reason"] == "other_prefix"


def _sync():
    return {"workspaceS3Prefix": PREFIX, "syncId": "x", "reason": "manual"}


def test_maintenance_syncs_what_an_earlier_boot_restored(make_worker):
    worker = make_worker().start()
    worker.restore()
    (worker.workspace / "f").write_text("x")
    worker.process.terminate()
    worker.wait_for_exit(10)
    worker.config["maintenance"] = True
    worker.start()
    assert worker.http.get("/health").json()["maintenance"] is True
    assert worker.restore()["already"] is True
    assert worker.sync(gate=True, reason="pre.remove")["files"] == 1


def test_a_workspace_folder_that_is_gone_never_passes_for_one_that_was_emptied(worker, store):
    (worker.workspace / "f").write_bytes(b"content")
    first = worker.sync()
    shutil.rmtree(worker.workspace)

    refused = [worker.try_sync(gate=gate, previous=first["sync"]) for gate in (False, True)]

    assert [answer.json()["reason"] for answer in refused] == ["workspace_gone", "workspace_gone"]
    assert [answer.status_code for answer in refused] == [409, 409]
    assert len(list(store.list_objects(f"{PREFIX}/manifests/"))) == 1


def test_a_link_in_the_place_of_the_workspace_is_not_followed(worker, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    worker.workspace.rename(tmp_path / "moved")
    worker.workspace.symlink_to(tmp_path / "elsewhere")

    assert worker.try_sync(gate=True).json()["reason"] == "workspace_gone"


def test_a_workspace_folder_that_was_made_anew_is_the_workspace(worker):
    worker.workspace.rename(worker.folder / "old")
    worker.workspace.mkdir()
    (worker.workspace / "new").write_bytes(b"content")

    assert worker.sync(gate=True)["files"] == 1
    worker.start_run("cat new")
    assert text_of(worker.journal()) == "content"


def test_a_full_disk_does_not_keep_a_workspace_from_its_sync(worker, store):
    (worker.workspace / "f").write_bytes(b"content")
    first = worker.sync()
    (worker.workspace / "g").write_bytes(b"more")
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (0, 0))

    second = worker.sync(gate=True, previous=first["sync"])
    again = worker.sync(gate=True, previous=second["sync"])

    assert (second["files"], second["uploadedFiles"]) == (2, 1)
    assert again["files"] == 2
    manifest = json.loads(store.get(again["sync"]["manifestKey"]))
    assert [entry["path"] for entry in manifest["entries"] if entry["kind"] == "file"] == ["f", "g"]
