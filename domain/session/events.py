"""The events of a session worker. Wire names are stored data.

A generation is one creation of the session's container, counted from 1. Whatever an effect saw carries the generation
and is refused when that is not the current one.
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
StopReason = Literal["user_close", "idle", "shutdown", "restore"]


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
    """A message came while the worker was already on its way down: it is activated again as soon as it is there."""

    manifest: RuntimeManifest | None = None


@wire("session.container_created")
class ContainerCreated(GenerationEvent, frozen=True, kw_only=True):
    container_id: str
    runtime: str
    daemon_id: str


@wire("session.container_started")
class ContainerStarted(GenerationEvent, frozen=True, kw_only=True):
    """`restored`: this generation's restore had completed before. `maintenance`: no runs, only to sync and remove;
    `revival`: the executor of a running worker had died and was started again; `exit_log` is the end of what it wrote.
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
    """`discard`: the container was new and never activated, so no agent ever wrote into it: it is removed. Else the
    container is stopped again and kept."""

    step: ActivationStep
    error: str
    missing_required_paths: tuple[str, ...] = ()
    discard: bool = False


@wire("session.touched")
class SessionTouched(GenerationEvent, frozen=True, kw_only=True):
    """`manifest`: the one that this call brought; it is remembered for the next container."""

    manifest: RuntimeManifest | None = None


@wire("session.run_attached")
class SessionRunAttached(GenerationEvent, frozen=True, kw_only=True):
    attached_run_id: str


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
    """A long sync has stored so many of the files, and of their bytes, that it had to read; a few per sync at most."""

    sync_id: str
    files: int
    files_done: int
    bytes: int
    bytes_done: int


@wire("session.synced")
class SessionSynced(GenerationEvent, frozen=True, kw_only=True):
    """`sync` is the session's workspace from now on. `unchanged`: it equals the one before, which may be that of a
    later request that answers this one too."""

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
    """`final`: it is not tried again by itself. `attempt` 0: the container was lost before it could be tried."""

    sync_id: str
    reason: SyncReason
    error: str
    attempt: int
    final: bool = False
    for_run_id: str = ""


@wire("session.stop_requested")
class StopRequested(GenerationEvent, frozen=True, kw_only=True):
    """The gate sync `sync_id` comes first."""

    reason: StopReason
    sync_id: str


@wire("session.stop_canceled")
class StopCanceled(GenerationEvent, frozen=True, kw_only=True):
    reason: str


@wire("session.stopping")
class SessionStopping(GenerationEvent, frozen=True, kw_only=True):
    """The gate sync succeeded and nothing came in between: from here the container goes down."""

    reason: StopReason


@wire("session.stopped")
class SessionStopped(GenerationEvent, frozen=True, kw_only=True):
    reason: str = ""


@wire("session.remove_requested")
class RemoveRequested(GenerationEvent, frozen=True, kw_only=True):
    """The container is started in maintenance, then the gate sync `sync_id` comes first. `never_restored`: there is
    nothing to sync.
    """

    sync_id: str
    never_restored: bool = False


@wire("session.remove_canceled")
class RemoveCanceled(GenerationEvent, frozen=True, kw_only=True):
    """`in_maintenance`: the container had been started for the sync and is stopped again."""

    reason: str
    in_maintenance: bool = False


@wire("session.removing")
class SessionRemoving(GenerationEvent, frozen=True, kw_only=True):
    """The gate sync succeeded and nothing came in between: from here the container is removed."""


@wire("session.removed")
class SessionRemoved(GenerationEvent, frozen=True, kw_only=True):
    """`discarded`: it was a container whose activation had failed."""

    discarded: bool = False


@wire("session.container_lost")
class ContainerLost(GenerationEvent, frozen=True, kw_only=True):
    """The very daemon that created the container has none of its id. What the last sync holds is what is left."""

    detail: str
    unsynced: bool = True


@wire("session.orphan_removed")
class OrphanRemoved(Event, frozen=True, kw_only=True):
    """A container of this session that was not its current one was removed: it held nothing that is not synced."""

    of_generation: int
    container_id: str
    detail: str


@wire("session.restore_requested")
class RestoreRequested(GenerationEvent, frozen=True, kw_only=True):
    """Somebody wants `sync`, recorded by the event at `sync_position`, to be the workspace again. First the present one
    passes the gates of the worker's stop and removal, the removal under the sync id `remove_sync_id`. `reactivate`: the
    worker ran, and runs again then."""

    sync: SyncRef
    sync_position: int
    remove_sync_id: str
    reactivate: bool = False


@wire("session.restore_canceled")
class RestoreCanceled(GenerationEvent, frozen=True, kw_only=True):
    """The worker did not go down for it: a message came, or a gate sync failed. The workspace is what it was."""

    reason: str


@wire("session.workspace_rewound")
class WorkspaceRewound(Event, frozen=True, kw_only=True):
    """`sync`, recorded by the event at `sync_position`, is the session's workspace from now on; the next container
    restores it. The one before is still in the log and in the object store."""

    sync: SyncRef
    sync_position: int


@wire("session.collection_requested")
class CollectionRequested(Event, frozen=True, kw_only=True):
    """From here on no sync is kept that stopped being the workspace before `kept_since`; what is kept can be restored.
    Content in the object store that no kept sync names may be deleted."""

    collection_id: str
    kept_since: datetime


@wire("session.content_collected")
class ContentCollected(Event, frozen=True, kw_only=True):
    """What was deleted of the object store below the session's prefix; `contents` counts objects and packs. `more`: the
    round reached its bound, the rest is left for the next one."""

    collection_id: str
    kept_syncs: int
    manifests: int
    contents: int
    bytes: int
    more: bool = False


@wire("session.collection_failed")
class CollectionFailed(Event, frozen=True, kw_only=True):
    """Nothing that is kept was touched; a later collection starts anew."""

    collection_id: str
    error: str


@wire("session.forked")
class SessionForked(Event, frozen=True, kw_only=True):
    """The first event of a session that begins with the past of another one. `sync`: its workspace, the origin's
    manifest under its own prefix, once the content is copied there; None: it begins without files. `warnings`: what of
    that past could not be taken along; its first run tells them."""

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
    """All content of the origin's sync lies under the fork's own prefix. `files` and `bytes` of the workspace;
    `contents` counts the objects and packs that hold them."""

    files: int
    contents: int
    bytes: int


@wire("session.fork_failed")
class ForkFailed(Event, frozen=True, kw_only=True):
    """The content could not be copied: this session never becomes one with a workspace. The origin is as it was."""

    error: str
