"""The state of a session worker: its identity and history, and where in its life the container is."""

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
    """Tagged, so that a read model can store a state and find its stage again."""


class Container(_Value, frozen=True, kw_only=True):
    """`daemon_id` is that of the daemon that made it: only its word that the container is gone counts."""

    container_id: str
    runtime: str
    daemon_id: str


class Boot(_Value, frozen=True, kw_only=True):
    """One start of the executor: its id, and where it listens."""

    boot_id: str
    url: str


class PendingStop(_Value, frozen=True, kw_only=True):
    reason: StopReason
    sync_id: str


class PendingRemove(_Value, frozen=True, kw_only=True):
    """`boot` once the container runs in maintenance."""

    sync_id: str
    boot: Boot | None = None


class Reactivation(_Value, frozen=True, kw_only=True):
    """A message waits for a worker that is on its way down. What manifest it brought, the session remembers."""


class Activating(_Value, frozen=True, kw_only=True):
    """`linked`: the agent data is linked, since this boot."""

    kind: ActivationKind
    boot: Boot | None = None
    linked: bool = False


class Running(_Value, frozen=True, kw_only=True):
    boot: Boot
    stop: PendingStop | None = None


class Stopping(_Value, frozen=True, kw_only=True):
    """The container goes down. `stopped_since`: it ran in maintenance or a failed activation, and counts as stopped."""

    reason: str
    stopped_since: datetime | None = None
    reactivation: Reactivation | None = None


class Stopped(_Value, frozen=True, kw_only=True):
    since: datetime
    remove: PendingRemove | None = None


class Removing(_Value, frozen=True, kw_only=True):
    """The container is being removed. `discarded`: its activation had failed, so it counts as deleted already."""

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
    """A recorded sync that becomes the workspace as soon as the worker is gone; it runs again then if `reactivate`."""

    sync: SyncRef
    sync_position: int
    remove_sync_id: str
    reactivate: bool = False


class SettledSync(_Value, frozen=True, kw_only=True):
    """How a sync ended: `sync` is None when it failed for good, with the `error`."""

    sync_id: str
    sync: SyncRef | None
    error: str = ""


class Fork(_Value, frozen=True, kw_only=True):
    """Of a session that was forked. `content`: whether the files of the origin lie under its own prefix; `error` when
    that failed. `runs`: the first runs that were attached to it, in order; one of them takes up the conversation."""

    origin: ForkOrigin
    content: Literal["none", "copying", "copied", "failed"]
    error: str = ""
    warnings: tuple[Warn, ...] = ()
    runs: tuple[str, ...] = ()


FORK_RUNS_KEPT = 20
SETTLED_SYNCS_KEPT = 20


class SessionWorker(_Value, frozen=True, kw_only=True):
    """All times are the events' times of occurrence. `last_sync` is the workspace as the log knows it; `restored` and
    `ever_active` speak of the current generation. Syncs that stopped being the workspace before `kept_since` are not
    kept; `collection_id`: content is being collected. `fork`: the session began with another one's past.
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
    pending_syncs: tuple[PendingSync, ...] = ()
    settled_syncs: tuple[SettledSync, ...] = ()
    last_sync: SyncRef | None = None
    last_sync_at: datetime | None = None
    last_sync_status: str = "idle"
    last_sync_error: str = ""
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

    def settled_sync(self, sync_id: str) -> SettledSync | None:
        """How the sync of this id ended, if it was one of the last few."""
        return next((sync for sync in self.settled_syncs if sync.sync_id == sync_id), None)

    @property
    def public_state(self) -> str:
        """`running`, `stopped` or `deleted`, as the API names it."""
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
    def on_the_way_up(self) -> bool:
        """Whether the worker is being activated, or will be as soon as it is down."""
        match self.lifecycle:
            case Activating():
                return True
            case Stopping(reactivation=wish) | Removing(reactivation=wish):
                return wish is not None
            case _:
                return False

    @property
    def boot(self) -> Boot | None:
        """The executor that runs now, as far as the log knows."""
        match self.lifecycle:
            case Running(boot=boot) | Activating(boot=boot):
                return boot
            case Stopped(remove=PendingRemove(boot=boot)):
                return boot
            case _:
                return None
