"""Histories of session s1, up to each state of its life, for specifications to start from."""

from domain.event import Event
from domain.identifiers import workspace_prefix
from domain.session import events as e
from domain.session.commands import ActivateSession
from domain.session.decide import decide
from domain.session.evolve import evolve
from domain.session.state import Boot, Container
from domain.workspace.manifest import RuntimeManifest
from domain.workspace.plan import build_restore_plan
from domain.workspace.sync import SyncReason, SyncRef
from tests.support.specification import Specification

session = Specification(decide, evolve)

PREFIX = workspace_prefix("shop", "web", "ann", "s1")
ACTIVATE = ActivateSession(session_id="s1", app_id="shop", project_name="web", user_login_name="ann")
MANIFEST = RuntimeManifest(app_id="shop", runtime_version="1", workspace_template_prefix="templates/shop/")
NEWER = RuntimeManifest(app_id="shop", runtime_version="2", workspace_template_prefix="templates/shop-2/")
CONTAINER = Container(container_id="c1", runtime="process", daemon_id="d1")
BOOT = Boot(boot_id="b1", url="http://127.0.0.1:1")
NEXT_BOOT = Boot(boot_id="b2", url="http://127.0.0.1:2")


def sync_ref(number: int, generation: int = 1) -> SyncRef:
    return SyncRef(manifest_key=f"{PREFIX}/manifests/{generation}-{number}-0.json", manifest_hash=f"{number:064x}")


def activation(
    kind: e.ActivationKind = "create",
    *,
    generation: int = 1,
    manifest: RuntimeManifest | None = None,
    last_sync: SyncRef | None = None,
) -> e.ActivationRequested:
    return e.ActivationRequested(
        generation=generation,
        kind=kind,
        app_id="shop",
        project_name="web",
        user_login_name="ann",
        workspace_prefix=PREFIX,
        manifest=manifest,
        plan=build_restore_plan(
            app_id="shop",
            project_name="web",
            user_login_name="ann",
            session_prefix=PREFIX,
            manifest=manifest,
            session_sync=last_sync,
        ),
    )


def created(generation: int = 1) -> e.ContainerCreated:
    return e.ContainerCreated(generation=generation, container_id="c1", runtime="process", daemon_id="d1")


def started(
    boot: Boot = BOOT, *, purpose: e.StartPurpose = "activation", restored: bool = False, generation: int = 1
) -> e.ContainerStarted:
    return e.ContainerStarted(
        generation=generation, boot_id=boot.boot_id, url=boot.url, purpose=purpose, restored=restored
    )


def synced(
    sync_id: str, reason: SyncReason, number: int = 1, *, unchanged: bool = False, run_id: str = ""
) -> e.SessionSynced:
    return e.SessionSynced(
        generation=1, sync_id=sync_id, reason=reason, sync=sync_ref(number), unchanged=unchanged, for_run_id=run_id
    )


def sync_failed(
    sync_id: str, reason: SyncReason, *, attempt: int = 1, final: bool = False, error: str = "S3 is away"
) -> e.SessionSyncFailed:
    return e.SessionSyncFailed(generation=1, sync_id=sync_id, reason=reason, error=error, attempt=attempt, final=final)


RESTORED = e.WorkspaceRestored(generation=1)
LINKED = e.AgentDataLinked(generation=1)
VALIDATED = e.WorkspaceValidated(generation=1)
UP = e.SessionActivated(generation=1, action="created_and_started")
ATTACHED = e.SessionRunAttached(generation=1, attached_run_id="r1")
DETACHED = e.SessionRunDetached(generation=1, detached_run_id="r1")
STOP_REQUESTED = e.StopRequested(generation=1, reason="user_close", sync_id="gate")
IDLE_STOP_REQUESTED = e.StopRequested(generation=1, reason="idle", sync_id="gate")
STOPPING_NOW = e.SessionStopping(generation=1, reason="user_close")
STOPPED_NOW = e.SessionStopped(generation=1, reason="user_close")
REMOVE_REQUESTED = e.RemoveRequested(generation=1, sync_id="remove-gate")
REMOVING_NOW = e.SessionRemoving(generation=1)
BACK_DOWN = e.RemoveCanceled(generation=1, reason="sync_failed", in_maintenance=True)
LOST = e.ContainerLost(generation=1, detail="no such container", unsynced=False)

ACTIVATING: tuple[Event, ...] = (activation(),)
STARTED: tuple[Event, ...] = (*ACTIVATING, created(), started())
READY: tuple[Event, ...] = (*STARTED, RESTORED, LINKED)
RUNNING: tuple[Event, ...] = (*READY, VALIDATED, UP)
BUSY: tuple[Event, ...] = (*RUNNING, ATTACHED)
STOP_PENDING: tuple[Event, ...] = (*RUNNING, STOP_REQUESTED)
STOPPING: tuple[Event, ...] = (*STOP_PENDING, synced("gate", "pre.stop"), STOPPING_NOW)
STOPPED: tuple[Event, ...] = (*STOPPING, STOPPED_NOW)
STARTING_AGAIN: tuple[Event, ...] = (*STOPPED, activation("start", last_sync=sync_ref(1)))
REMOVE_PENDING: tuple[Event, ...] = (*STOPPED, REMOVE_REQUESTED)
IN_MAINTENANCE: tuple[Event, ...] = (*REMOVE_PENDING, started(NEXT_BOOT, purpose="maintenance", restored=True))
GOING_BACK_DOWN: tuple[Event, ...] = (*IN_MAINTENANCE, BACK_DOWN)
REMOVING: tuple[Event, ...] = (*IN_MAINTENANCE, synced("remove-gate", "pre.remove", 2), REMOVING_NOW)
DELETED: tuple[Event, ...] = (*REMOVING, e.SessionRemoved(generation=1))
FAILED: tuple[Event, ...] = (
    *STARTED,
    e.ActivationFailed(generation=1, step="restore", error="S3 is away", discard=True),
)

HISTORIES: dict[str, tuple[Event, ...]] = {
    "activating": ACTIVATING,
    "started": STARTED,
    "running": RUNNING,
    "busy": BUSY,
    "stop pending": STOP_PENDING,
    "stopping": STOPPING,
    "stopped": STOPPED,
    "starting again": STARTING_AGAIN,
    "remove pending": REMOVE_PENDING,
    "in maintenance": IN_MAINTENANCE,
    "going back down": GOING_BACK_DOWN,
    "removing": REMOVING,
    "deleted": DELETED,
    "failed": FAILED,
}
