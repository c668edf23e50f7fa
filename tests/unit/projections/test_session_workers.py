"""The session workers' read model: given events, the row that reads show."""

import pytest

from domain.event import Event
from domain.session import events as e
from domain.workspace.manifest import RuntimeManifest
from projections.session_workers import SESSION_WORKERS, columns, view
from tests.support.mixed_history import session_closing, session_opening, sync_ref
from tests.support.recorded import as_json, at, recorded

OPENING = session_opening(1, "s1")


def shown(*events: Event) -> dict[str, object]:
    row = SESSION_WORKERS.fold_all(recorded("session:s1", events))["s1"]
    shown: dict[str, object] = as_json(view(row))
    return shown


def test_a_worker_that_runs() -> None:
    assert shown(*OPENING) == {
        "sessionId": "s1",
        "appId": "app-1",
        "projectName": "project-1",
        "userLoginName": "user-1",
        "state": "running",
        "phase": "running",
        "generation": 1,
        "containerId": "c-s1",
        "runtime": "process",
        "bootId": "b-s1",
        "workspacePrefix": "app/app-1/project/project-1/user-1/session/s1/workspace",
        "runtimeVersion": "",
        "lastSyncStatus": "idle",
        "lastSyncAt": None,
        "lastSyncError": "",
        "lastSync": None,
        "lastActiveAt": at(7),
        "stoppedAt": None,
        "createdAt": at(1),
        "attachedRunId": None,
        "restoringSyncPosition": None,
        "lastError": "",
        "origin": None,
        "seq": 7,
        "position": 107,
    }


def test_a_sync_and_its_failure_are_told() -> None:
    requested = e.SyncRequested(generation=1, sync_id="y", reason="manual")
    assert shown(*OPENING, requested)["lastSyncStatus"] == "running"
    synced = e.SessionSynced(generation=1, sync_id="y", reason="manual", sync=sync_ref(4))
    after = shown(*OPENING, requested, synced)
    assert (after["lastSyncStatus"], after["lastSyncAt"]) == ("success", at(9))
    assert after["lastSync"] == {"manifestKey": "manifests/1-4.json", "manifestHash": f"{4:064x}"}
    failed = e.SessionSyncFailed(generation=1, sync_id="y", reason="manual", error="no bucket", attempt=1)
    after = shown(*OPENING, requested, failed)
    assert (after["lastSyncStatus"], after["lastSyncError"]) == ("failed", "no bucket")


def test_phases_of_a_life() -> None:
    closing = session_closing(1)
    phases = [shown(*OPENING[: n + 1])["phase"] for n in range(7)]
    assert phases == ["activating"] * 6 + ["running"]
    assert [shown(*OPENING, *closing[: n + 1])["phase"] for n in range(4)] == [
        "stop_requested",
        "stop_requested",
        "stopping",
        "stopped",
    ]
    removing: list[Event] = [
        e.RemoveRequested(generation=1, sync_id="g"),
        e.SessionSynced(generation=1, sync_id="g", reason="pre.remove", sync=sync_ref(9)),
        e.SessionRemoving(generation=1),
        e.SessionRemoved(generation=1),
    ]
    assert [shown(*OPENING, *closing, *removing[: n + 1])["phase"] for n in range(4)] == [
        "remove_requested",
        "remove_requested",
        "removing",
        "deleted",
    ]
    gone = shown(*OPENING, *closing, *removing)
    assert (gone["state"], gone["containerId"], gone["bootId"]) == ("deleted", None, None)


@pytest.mark.parametrize(
    ("more", "idle", "stopped", "unsynced"),
    [
        ([], 7, None, 1),
        ([e.SessionRunAttached(generation=1, attached_run_id="r")], None, None, 1),
        ([e.SyncRequested(generation=1, sync_id="y", reason="manual")], 7, None, None),
        (session_closing(1)[:1], None, None, None),
        (session_closing(1), None, 11, None),
        ([*session_closing(1), e.RemoveRequested(generation=1, sync_id="g")], None, None, None),
    ],
)
def test_housekeeping_sees_what_it_may_touch(
    more: list[Event], idle: int | None, stopped: int | None, unsynced: int | None
) -> None:
    row = SESSION_WORKERS.fold_all(recorded("session:s1", [*OPENING, *more]))["s1"]
    wanted = [at(seconds) if seconds is not None else None for seconds in (idle, stopped, unsynced)]
    assert as_json(columns(row)[-3:]) == wanted


def test_manifests_and_plans_stay_in_the_log() -> None:
    manifest = RuntimeManifest(app_id="app-1", runtime_version="7", workspace_template_prefix="templates/")
    touched = e.SessionTouched(generation=1, manifest=manifest)
    reactivated = e.ReactivationRequested(generation=1, manifest=manifest)
    row = SESSION_WORKERS.fold_all(recorded("session:s1", [*OPENING, touched, *session_closing(1)[:3], reactivated]))[
        "s1"
    ]
    assert b"templates/" not in SESSION_WORKERS.encode(row)
    assert SESSION_WORKERS.decode(SESSION_WORKERS.encode(row)) == row
