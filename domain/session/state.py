"""The state of a session worker: identity, lifecycle of its container, syncs, restore, fork."""

from datetime import datetime
from typing import Literal

import msgspec

from domain.run.values import Warn
from domain.session.events import ActivationAction, ActivationKind, StopReason
from domain.session.origin import ForkOrigin
from domain.workspace.manifest import RuntimeManifest
from domain.workspace.plan import RestorePlan
from domain.workspace.sync import SyncReason, SyncRef


class _Value(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Tagged, so that stored JSON says which lifecycle it holds. The tag is the class's name, and stored in read
    models: give a renamed class its old tag."""


class Container(_Value, frozen=True, kw_only=True):
    """`daemon_id`: of the Docker daemon that created it, the only one that can tell that the container is gone."""

    container_id: str
    runtime: str
    daemon_id: str


class Boot(_Value, frozen=True, kw_only=True):
    """One life of an executor process: its id, and the URL where it listens."""

    boot_id: str
    url: str


class PendingStop(_Value, frozen=True, kw_only=True):
    reason: StopReason
    sync_id: str


class PendingRemove(_Value, frozen=True, kw_only=True):
    """`boot`: None until the container runs in maintenance."""

    sync_id: str
    boot: Boot | None = None


class Reactivation(_Value, frozen=True, kw_only=True):
    """An activation was requested while the worker was going down; it follows as soon as the worker is down."""


class Activating(_Value, frozen=True, kw_only=True):
    """`linked`: the agent data was linked since the start of this boot."""

    kind: ActivationKind
    boot: Boot | None = None
    linked: bool = False


class Running(_Value, frozen=True, kw_only=True):
    boot: Boot
    stop: PendingStop | None = None


class Stopping(_Value, frozen=True, kw_only=True):
    """The container is being stopped. `stopped_since`: set if it was up for maintenance or a failed activation only;
    the worker counts as stopped since then."""

    reason: str
    stopped_since: datetime | None = None
    reactivation: Reactivation | None = None


class Stopped(_Value, frozen=True, kw_only=True):
    since: datetime
    remove: PendingRemove | None = None


class Removing(_Value, frozen=True, kw_only=True):
    """The container is being removed. `discarded`: because its activation failed; it counts as deleted already."""

    discarded: bool = False
    reactivation: Reactivation | None = None


class Deleted(_Value, frozen=True, kw_only=True):
    since: datetime


Lifecycle = Activating | Running | Stopping | Stopped | Removing | Deleted


class PendingSync(_Value, frozen=True, kw_only=True):
    sync_id: str
    reason: SyncReason
    run_id: str = ""


class PendingRestore(_Value, frozen=True, kw_only=True):
    """The sync that becomes the workspace as soon as the container is removed. `reactivate`: the worker is activated
    then."""

    sync: SyncRef
    sync_position: int
    remove_sync_id: str
    reactivate: bool = False


class SettledSync(_Value, frozen=True, kw_only=True):
    """How a sync ended. `sync`: None if it failed for good, for the reason `error`."""

    sync_id: str
    sync: SyncRef | None
    error: str = ""


class Fork(_Value, frozen=True, kw_only=True):
    """Set in a session that is a fork. `content`: whether the origin's files are copied; `error`: why copying failed.
    `runs`: the first FORK_RUNS_KEPT runs that were attached, in order; one of them continues the conversation."""

    origin: ForkOrigin
    content: Literal["none", "copying", "copied", "failed"]
    error: str = ""
    warnings: tuple[Warn, ...] = ()
    runs: tuple[str, ...] = ()


FORK_RUNS_KEPT = 20
SETTLED_SYNCS_KEPT = 20


class SessionWorker(_Value, frozen=True, kw_only=True):
    """All times are `occurred_at` of events. `last_sync`: the session's workspace. `sync_failures`: how many syncs have
    failed for good since the last that succeeded, the last one at `sync_failed_at`. `restored` and `ever_active` are
    about the current generation. `outside_runs`: those of `attached_runs` that are external. `kept_since`: syncs that
    were replaced before that time are not kept. `collection_id`: of the collection under way, else empty. `fork`: set
    if the session is a fork. `disk_stop`: the gate sync of the stop that follows the detachment of a run, since the
    container has written too much.
    """

    app_id: str
    project_name: str
    user_login_name: str
    workspace_prefix: str
    generation: int
    lifecycle: Lifecycle
    plan: RestorePlan
    manifest: RuntimeManifest | None = None
    container: Container | None = None
    restored: bool = False
    ever_active: bool = False
    attached_runs: tuple[str, ...] = ()
    outside_runs: tuple[str, ...] = ()
    pending_syncs: tuple[PendingSync, ...] = ()
    settled_syncs: tuple[SettledSync, ...] = ()
    last_sync: SyncRef | None = None
    last_sync_at: datetime | None = None
    last_sync_status: str = "idle"
    last_sync_error: str = ""
    sync_failures: int = 0
    sync_failed_at: datetime | None = None
    last_active_at: datetime
    created_at: datetime
    last_error: str = ""
    last_missing_paths: tuple[str, ...] = ()
    last_action: ActivationAction | None = None
    restoring: PendingRestore | None = None
    restore_error: str = ""
    kept_since: datetime | None = None
    collection_id: str = ""
    collected_at: datetime | None = None
    fork: Fork | None = None
    disk_stop: str = ""

    def settled_sync(self, sync_id: str) -> SettledSync | None:
        """How the sync of this id ended; None if it is not among the last SETTLED_SYNCS_KEPT."""
        return next((sync for sync in self.settled_syncs if sync.sync_id == sync_id), None)

    @property
    def executing_runs(self) -> tuple[str, ...]:
        """The attached runs that are executed in this worker, one at most."""
        return tuple(run for run in self.attached_runs if run not in self.outside_runs)

    @property
    def public_state(self) -> str:
        """The `state` of the session worker in the API: `running`, `stopped` or `deleted`."""
        match self.lifecycle:
            case Running() | Stopping(stopped_since=None):
                return "running"
            case Stopping() | Stopped():
                return "stopped"
            case Activating(kind="start"):
                return "stopped"
            case Removing(discarded=False):
                return "stopped"
            case _:
                return "deleted"

    @property
    def activation_pending(self) -> bool:
        """Whether the worker is being activated, or will be as soon as it has gone down."""
        match self.lifecycle:
            case Activating():
                return True
            case Stopping(reactivation=reactivation) | Removing(reactivation=reactivation):
                return reactivation is not None
            case _:
                return False

    @property
    def boot(self) -> Boot | None:
        """The executor that is running according to the log; None if none is."""
        match self.lifecycle:
            case Running(boot=boot) | Activating(boot=boot):
                return boot
            case Stopped(remove=PendingRemove(boot=boot)):
                return boot
            case _:
                return None
