"""The events of a session worker. Wire names are stored data.

`generation`: the number of the session's container, counted from 1. What an effect reports carries it, and is refused
unless it is the current one.
"""

from datetime import datetime
from typing import Literal

from domain.event import Event, wire
from domain.run.values import Warn
from domain.session.origin import ForkOrigin
from domain.workspace.manifest import RuntimeManifest
from domain.workspace.plan import RestorePlan
from domain.workspace.sync import SyncReason, SyncRef

ActivationKind = Literal["create", "start"]
ActivationAction = Literal["created_and_started", "started", "already_running"]
ActivationStep = Literal["create", "start", "restore", "link", "validate"]
StartPurpose = Literal["activation", "maintenance", "revival"]
StopReason = Literal["user_close", "idle", "shutdown", "restore", "disk_limit"]


class GenerationEvent(Event, frozen=True, kw_only=True):
    generation: int


@wire("session.activation_requested")
class ActivationRequested(GenerationEvent, frozen=True, kw_only=True):
    """`create`: a new container, with the plan to restore into it; `start`: this generation's stopped container."""

    kind: ActivationKind
    app_id: str
    project_name: str
    user_login_name: str
    workspace_prefix: str
    manifest: RuntimeManifest | None = None
    plan: RestorePlan


@wire("session.reactivation_requested")
class ReactivationRequested(GenerationEvent, frozen=True, kw_only=True):
    """The worker was already going down: it is activated again as soon as it is down."""

    manifest: RuntimeManifest | None = None


@wire("session.container_created")
class ContainerCreated(GenerationEvent, frozen=True, kw_only=True):
    container_id: str
    runtime: str
    daemon_id: str


@wire("session.container_started")
class ContainerStarted(GenerationEvent, frozen=True, kw_only=True):
    """`restored`: the workspace of this generation was restored earlier. `purpose`: `maintenance` runs no agents and is
    for a gate sync before the removal; `revival` replaces a dead executor, of whose output `exit_log` is the end.
    """

    boot_id: str
    url: str
    purpose: StartPurpose = "activation"
    restored: bool = False
    exit_log: str = ""


@wire("session.workspace_restored")
class WorkspaceRestored(GenerationEvent, frozen=True, kw_only=True):
    files: int = 0
    bytes: int = 0
    sync: SyncRef | None = None


@wire("session.agent_data_linked")
class AgentDataLinked(GenerationEvent, frozen=True, kw_only=True):
    linked: tuple[str, ...] = ()
    migrated: tuple[str, ...] = ()


@wire("session.workspace_validated")
class WorkspaceValidated(GenerationEvent, frozen=True, kw_only=True):
    required_paths: tuple[str, ...] = ()


@wire("session.activated")
class SessionActivated(GenerationEvent, frozen=True, kw_only=True):
    action: ActivationAction


@wire("session.activation_failed")
class ActivationFailed(GenerationEvent, frozen=True, kw_only=True):
    """`discard`: the container is removed, as no agent ever ran in it. Otherwise it is stopped and kept."""

    step: ActivationStep
    error: str
    missing_required_paths: tuple[str, ...] = ()
    discard: bool = False


@wire("session.touched")
class SessionTouched(GenerationEvent, frozen=True, kw_only=True):
    """An activation of a running worker. `manifest`: the one it brought, for the next container."""

    manifest: RuntimeManifest | None = None


@wire("session.run_attached")
class SessionRunAttached(GenerationEvent, frozen=True, kw_only=True):
    """`outside`: an external run, which other runs need not wait for; it may be attached to a worker that is not up."""

    attached_run_id: str
    outside: bool = False


@wire("session.run_detached")
class SessionRunDetached(GenerationEvent, frozen=True, kw_only=True):
    detached_run_id: str


@wire("session.sync_requested")
class SyncRequested(GenerationEvent, frozen=True, kw_only=True):
    sync_id: str
    reason: SyncReason
    for_run_id: str = ""


@wire("session.sync_progress")
class SyncProgressed(GenerationEvent, frozen=True, kw_only=True):
    """A long sync has stored `files_done` of `files`, and `bytes_done` of `bytes`, at most 20 times per sync."""

    sync_id: str
    files: int
    files_done: int
    bytes: int
    bytes_done: int


@wire("session.synced")
class SessionSynced(GenerationEvent, frozen=True, kw_only=True):
    """`sync` is the session's workspace from now on. `unchanged`: it is the same as before; also in the events of
    further requests that one sync completes."""

    sync_id: str
    reason: SyncReason
    sync: SyncRef
    unchanged: bool = False
    files: int = 0
    bytes: int = 0
    uploaded_files: int = 0
    uploaded_bytes: int = 0
    unstable_paths: tuple[str, ...] = ()
    skipped_paths: tuple[str, ...] = ()
    for_run_id: str = ""


@wire("session.sync_failed")
class SessionSyncFailed(GenerationEvent, frozen=True, kw_only=True):
    """`final`: it is not retried automatically. `attempt`: 0 if the container was lost before the sync was tried."""

    sync_id: str
    reason: SyncReason
    error: str
    attempt: int
    final: bool = False
    for_run_id: str = ""


@wire("session.disk_limit_exceeded")
class DiskLimitExceeded(GenerationEvent, frozen=True, kw_only=True):
    """The container has written `used_bytes`, more than `limit_bytes`. It is stopped with the gate sync `sync_id`, once
    the attached run, which is ended for it, is detached."""

    used_bytes: int
    limit_bytes: int
    sync_id: str
    attached_run_id: str = ""


@wire("session.stop_requested")
class StopRequested(GenerationEvent, frozen=True, kw_only=True):
    """The worker is to be stopped, after the gate sync `sync_id`."""

    reason: StopReason
    sync_id: str


@wire("session.stop_canceled")
class StopCanceled(GenerationEvent, frozen=True, kw_only=True):
    reason: str


@wire("session.stopping")
class SessionStopping(GenerationEvent, frozen=True, kw_only=True):
    """The gate sync of the stop succeeded: from now on the container is stopped, without return."""

    reason: StopReason


@wire("session.stopped")
class SessionStopped(GenerationEvent, frozen=True, kw_only=True):
    reason: str = ""


@wire("session.remove_requested")
class RemoveRequested(GenerationEvent, frozen=True, kw_only=True):
    """The container is to be removed, after it was started in maintenance for the gate sync `sync_id`.
    `never_restored`: without that, there is nothing to sync.
    """

    sync_id: str
    never_restored: bool = False


@wire("session.remove_canceled")
class RemoveCanceled(GenerationEvent, frozen=True, kw_only=True):
    """`in_maintenance`: the container may have been started for the gate sync, and is stopped again."""

    reason: str
    in_maintenance: bool = False


@wire("session.workspace_discarded")
class WorkspaceDiscarded(GenerationEvent, frozen=True, kw_only=True):
    """An operator gave up what is in the container, for this reason: it is removed without a gate sync. What is kept is
    `last_sync`; `last_sync_error`: why a later sync failed."""

    reason: str
    last_sync: SyncRef | None = None
    last_sync_error: str = ""


@wire("session.removing")
class SessionRemoving(GenerationEvent, frozen=True, kw_only=True):
    """The gate sync of the removal succeeded, there was nothing to sync, or the workspace was discarded: from now on
    the container is removed."""


@wire("session.removed")
class SessionRemoved(GenerationEvent, frozen=True, kw_only=True):
    """`discarded`: it was removed because its activation failed."""

    discarded: bool = False


@wire("session.container_lost")
class ContainerLost(GenerationEvent, frozen=True, kw_only=True):
    """The Docker daemon that created the container has none with its id. The last recorded sync is all that is left;
    `unsynced`: the worker was running, so later changes may be lost."""

    detail: str
    unsynced: bool = True


@wire("session.orphan_removed")
class OrphanRemoved(Event, frozen=True, kw_only=True):
    """A container of this session that is not its current one was removed: it held nothing unsynced."""

    of_generation: int
    container_id: str
    detail: str


@wire("session.restore_requested")
class RestoreRequested(GenerationEvent, frozen=True, kw_only=True):
    """`sync`, recorded by the event at `sync_position`, is to be the workspace again; a worker is stopped and removed
    through its gate syncs first, that of the removal with the id `remove_sync_id`. `reactivate`: the worker was
    running, and is activated afterwards."""

    sync: SyncRef
    sync_position: int
    remove_sync_id: str
    reactivate: bool = False


@wire("session.restore_canceled")
class RestoreCanceled(GenerationEvent, frozen=True, kw_only=True):
    """The restore was given up because of an activation, an attached run or a failed gate sync; the workspace is the
    same as before."""

    reason: str


@wire("session.workspace_rewound")
class WorkspaceRewound(Event, frozen=True, kw_only=True):
    """`sync`, recorded by the event at `sync_position`, is the session's workspace from now on; the next container
    restores it. The one before stays in the history."""

    sync: SyncRef
    sync_position: int


@wire("session.collection_requested")
class CollectionRequested(Event, frozen=True, kw_only=True):
    """From now on, syncs that were replaced before `kept_since` are not kept and can't be restored. Content in the
    object store that no kept sync names may be deleted."""

    collection_id: str
    kept_since: datetime


@wire("session.content_collected")
class ContentCollected(Event, frozen=True, kw_only=True):
    """The numbers of what was deleted in the object store below the session's prefix; `contents`: objects and packs.
    `more`: the round reached its limit, the rest is left to the next one."""

    collection_id: str
    kept_syncs: int
    manifests: int
    contents: int
    bytes: int
    more: bool = False


@wire("session.collection_failed")
class CollectionFailed(Event, frozen=True, kw_only=True):
    """No kept content was deleted; a later collection starts from the beginning."""

    collection_id: str
    error: str


@wire("session.forked")
class SessionForked(Event, frozen=True, kw_only=True):
    """The first event of a fork. `sync`: its workspace, once the content is copied: the origin's manifest under the
    fork's prefix; None: it begins without files. `warnings`: what could not be taken over; the run that continues the
    conversation records them as `run.warning`."""

    origin: ForkOrigin
    app_id: str
    project_name: str
    user_login_name: str
    workspace_prefix: str
    manifest: RuntimeManifest | None = None
    sync: SyncRef | None = None
    warnings: tuple[Warn, ...] = ()


@wire("session.workspace_copied")
class WorkspaceCopied(Event, frozen=True, kw_only=True):
    """All content of the origin's sync is copied under the fork's prefix. `files`, `bytes`: of the workspace;
    `contents`: the number of objects and packs."""

    files: int
    contents: int
    bytes: int


@wire("session.fork_failed")
class ForkFailed(Event, frozen=True, kw_only=True):
    """The content could not be copied: this session can't be activated. The origin is unaffected."""

    error: str


@wire("session.titled")
class SessionTitled(Event, frozen=True, kw_only=True):
    """The session has a new title. It may be the first event of its session, which has no worker then: `app_id`,
    `project_name` and `user_login_name` say whose it is until a run or an activation does."""

    title: str
    app_id: str
    project_name: str
    user_login_name: str
