"""The commands of a session worker. `Record…` commands report what an effect observed, with the generation of the
container that it was about."""

from datetime import datetime

import msgspec

from domain.run.values import Warn
from domain.session.events import ActivationStep, StartPurpose, StopReason
from domain.session.origin import ForkOrigin
from domain.session.state import Boot, Container
from domain.workspace.manifest import RuntimeManifest
from domain.workspace.sync import SyncReason, SyncRef


class _Command(msgspec.Struct, frozen=True, kw_only=True):
    pass


class ActivateSession(_Command, frozen=True, kw_only=True):
    """Bring up the worker for a message or call, whatever state it is in. An empty `project_name` means `default`."""

    session_id: str
    app_id: str
    project_name: str
    user_login_name: str
    runtime_version: str | None = None
    manifest: RuntimeManifest | None = None


class RecordContainerCreated(_Command, frozen=True, kw_only=True):
    generation: int
    container: Container


class RecordContainerStarted(_Command, frozen=True, kw_only=True):
    generation: int
    boot: Boot
    purpose: StartPurpose
    exit_log: str = ""


class RecordWorkspaceRestored(_Command, frozen=True, kw_only=True):
    generation: int
    files: int
    bytes: int
    sync: SyncRef | None


class RecordAgentDataLinked(_Command, frozen=True, kw_only=True):
    generation: int
    linked: tuple[str, ...] = ()
    migrated: tuple[str, ...] = ()


class RecordWorkspaceValidated(_Command, frozen=True, kw_only=True):
    generation: int
    missing_required_paths: tuple[str, ...] = ()


class FailActivation(_Command, frozen=True, kw_only=True):
    generation: int
    step: ActivationStep
    error: str


class AttachRun(_Command, frozen=True, kw_only=True):
    """`outside`: it is an external run. Once it is attached, the worker is neither stopped nor removed."""

    run_id: str
    outside: bool = False


class DetachRun(_Command, frozen=True, kw_only=True):
    run_id: str


class RequestSync(_Command, frozen=True, kw_only=True):
    """`sync_id` must be new in this session; so must the ids of gate syncs in the commands below."""

    sync_id: str
    reason: SyncReason
    run_id: str = ""


class RecordSyncProgress(_Command, frozen=True, kw_only=True):
    generation: int
    sync_id: str
    files: int
    files_done: int
    bytes: int
    bytes_done: int


class RecordSynced(_Command, frozen=True, kw_only=True):
    generation: int
    sync_id: str
    sync: SyncRef
    unchanged: bool = False
    files: int = 0
    bytes: int = 0
    uploaded_files: int = 0
    uploaded_bytes: int = 0
    unstable_paths: tuple[str, ...] = ()
    skipped_paths: tuple[str, ...] = ()


class RecordSyncFailed(_Command, frozen=True, kw_only=True):
    generation: int
    sync_id: str
    error: str
    attempt: int
    final: bool


class StopSession(_Command, frozen=True, kw_only=True):
    """`idle_before`: no stop unless the worker was last active before this time (the idle stop)."""

    reason: StopReason
    sync_id: str
    idle_before: datetime | None = None


class LimitDisk(_Command, frozen=True, kw_only=True):
    """The container has written more than it may."""

    generation: int
    used_bytes: int
    limit_bytes: int
    sync_id: str


class RecordStopped(_Command, frozen=True, kw_only=True):
    generation: int


class RemoveSession(_Command, frozen=True, kw_only=True):
    """`stopped_before`: no removal unless the worker was stopped before this time (the scheduled removal)."""

    sync_id: str
    stopped_before: datetime | None = None


class CancelRemove(_Command, frozen=True, kw_only=True):
    """Give up the pending removal: the container could not be started in maintenance."""

    generation: int
    reason: str


class RecordRemoved(_Command, frozen=True, kw_only=True):
    generation: int


class RecordContainerLost(_Command, frozen=True, kw_only=True):
    generation: int
    detail: str


class RecordOrphanRemoved(_Command, frozen=True, kw_only=True):
    """A container that is not the current one was removed, whatever generation the session is at."""

    of_generation: int
    container_id: str
    detail: str


class DiscardWorkspace(_Command, frozen=True, kw_only=True):
    """Remove the container without a gate sync. `reason`: kept in the log."""

    reason: str


class RequestRestore(_Command, frozen=True, kw_only=True):
    """Make a sync of this session, recorded by the event at `sync_position`, its workspace again. `superseded_at`: when
    another sync last replaced it, None if it is the workspace. `sync_id`: of the gate sync of the stop; that of the
    removal adds `-remove`."""

    sync: SyncRef
    sync_position: int
    superseded_at: datetime | None
    sync_id: str


class RequestCollection(_Command, frozen=True, kw_only=True):
    """Stop keeping syncs that were replaced before `kept_since`, and delete content that no kept one names."""

    collection_id: str
    kept_since: datetime


class RecordCollected(_Command, frozen=True, kw_only=True):
    collection_id: str
    kept_syncs: int
    manifests: int
    contents: int
    bytes: int
    more: bool


class FailCollection(_Command, frozen=True, kw_only=True):
    collection_id: str
    error: str


class ForkSession(_Command, frozen=True, kw_only=True):
    """Begin a session as a fork. Its app, project, user and manifest are those of the origin, whose workspace has the
    key prefix `origin_prefix`."""

    session_id: str
    origin: ForkOrigin
    origin_prefix: str
    app_id: str
    project_name: str
    user_login_name: str
    manifest: RuntimeManifest | None = None
    warnings: tuple[Warn, ...] = ()


class RecordWorkspaceCopied(_Command, frozen=True, kw_only=True):
    files: int
    contents: int
    bytes: int


class FailFork(_Command, frozen=True, kw_only=True):
    error: str


SessionCommand = (
    ActivateSession
    | ForkSession
    | RecordWorkspaceCopied
    | FailFork
    | RecordContainerCreated
    | RecordContainerStarted
    | RecordWorkspaceRestored
    | RecordAgentDataLinked
    | RecordWorkspaceValidated
    | FailActivation
    | AttachRun
    | DetachRun
    | RequestSync
    | RecordSyncProgress
    | RecordSynced
    | RecordSyncFailed
    | StopSession
    | LimitDisk
    | RecordStopped
    | RemoveSession
    | CancelRemove
    | RecordRemoved
    | RecordContainerLost
    | RecordOrphanRemoved
    | DiscardWorkspace
    | RequestRestore
    | RequestCollection
    | RecordCollected
    | FailCollection
)
