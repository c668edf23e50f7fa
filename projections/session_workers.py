"""Session workers, for the API and for the idle stop, scheduled removal and sync reconciler."""

from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from domain.record import RecordedEvent
from domain.run.values import Warn
from domain.session import events as e
from domain.session.evolve import evolve
from domain.session.state import (
    Activating,
    Container,
    Deleted,
    Fork,
    Removing,
    Running,
    SessionWorker,
    Stopped,
    Stopping,
)
from domain.workspace.plan import RestorePlan
from domain.workspace.sync import SyncRef
from projections.projection import Column, Projection, RowStruct, View, id_of_stream

Phase = Literal[
    "activating",
    "running",
    "stop_requested",
    "stopping",
    "stopped",
    "remove_requested",
    "removing",
    "deleted",
]


class SessionWorkerRow(RowStruct, frozen=True, kw_only=True):
    """`worker`: the aggregate's state, without plan, manifest and settled syncs. `created_position`: of the session's
    first event; `seq`, `position`: of its last one."""

    session_id: str
    worker: SessionWorker
    created_position: int
    seq: int
    position: int


class SessionOrigin(View, frozen=True, kw_only=True):
    """The fork point of a forked session: event `atSeq` of run `runId`, at `position` in the log. `syncPosition`: of
    the sync whose files are copied, null if none. `files`: how far the copying is; `error`: why it failed.
    `conversation`: whether the agent of the first run, with the same provider, resumes its own conversation (`resumed`)
    or gets a transcript (`retold`). `warnings`: what could not be taken over."""

    run_id: str
    session_id: str
    at_seq: int
    position: int
    sync_position: int | None
    files: Literal["none", "copying", "copied", "failed"]
    error: str
    conversation: Literal["resumed", "retold"]
    warnings: tuple[Warn, ...]


class SessionWorkerView(View, frozen=True, kw_only=True):
    """`state`: running, stopped or deleted; `phase` is finer. `lastError`: why the last activation failed, else "".
    `restoringSyncPosition`: of the sync that is being restored, else null. `origin`: null unless the session is a fork.
    `seq`, `position`: of the session's last event."""

    session_id: str
    app_id: str
    project_name: str
    user_login_name: str
    state: str
    phase: Phase
    generation: int
    container_id: str | None
    runtime: str | None
    boot_id: str | None
    workspace_prefix: str
    runtime_version: str
    last_sync_status: str
    last_sync_at: datetime | None
    last_sync_error: str
    last_sync: SyncRef | None
    last_active_at: datetime
    stopped_at: datetime | None
    created_at: datetime
    attached_run_id: str | None
    restoring_sync_position: int | None
    last_error: str
    origin: SessionOrigin | None
    seq: int
    position: int


def fold(row: SessionWorkerRow | None, recorded: RecordedEvent) -> SessionWorkerRow | None:
    worker = evolve(row.worker if row else None, recorded)
    if worker is None:
        return None
    if isinstance(recorded.event, e.ActivationRequested | e.SessionForked | e.SessionTouched | e.ReactivationRequested):
        worker = _slim(worker)
    if row is None:
        return SessionWorkerRow(
            session_id=id_of_stream(recorded),
            worker=worker,
            created_position=recorded.position,
            seq=recorded.seq,
            position=recorded.position,
        )
    return replace(row, worker=worker, seq=recorded.seq, position=recorded.position)


def _slim(worker: SessionWorker) -> SessionWorker:
    plan = RestorePlan(layers=(), runtime_version=worker.plan.runtime_version)
    return replace(worker, plan=plan, manifest=None, settled_syncs=())


def columns(row: SessionWorkerRow) -> tuple[Column, ...]:
    """In the order of the table. The last three: since when the worker is idle (null while a run is attached or it is
    not running), since when it is stopped (null while a run is attached or a removal is pending), and the time of its
    last sync or else its creation (null while a sync is pending or it is not running)."""
    worker = row.worker
    return (
        row.created_position,
        worker.public_state,
        worker.app_id,
        worker.project_name,
        worker.user_login_name,
        worker.last_sync_status,
        _idle_since(worker),
        _stopped_since(worker),
        _unsynced_since(worker),
    )


def _idle_since(worker: SessionWorker) -> datetime | None:
    match worker.lifecycle:
        case Running(stop=None) if not worker.attached_runs:
            return worker.last_active_at
        case _:
            return None


def _stopped_since(worker: SessionWorker) -> datetime | None:
    match worker.lifecycle:
        case Stopped(remove=None, since=since) if not worker.attached_runs:
            return since
        case _:
            return None


def _unsynced_since(worker: SessionWorker) -> datetime | None:
    match worker.lifecycle:
        case Running(stop=None) if not worker.pending_syncs:
            return worker.last_sync_at or worker.created_at
        case _:
            return None


def view(row: SessionWorkerRow) -> SessionWorkerView:
    """The view of a row."""
    worker = row.worker
    container = worker.container or Container(container_id="", runtime="", daemon_id="")
    return SessionWorkerView(
        session_id=row.session_id,
        app_id=worker.app_id,
        project_name=worker.project_name,
        user_login_name=worker.user_login_name,
        state=worker.public_state,
        phase=_phase(worker),
        generation=worker.generation,
        container_id=container.container_id or None,
        runtime=container.runtime or None,
        boot_id=(worker.boot.boot_id or None) if worker.boot else None,
        workspace_prefix=worker.workspace_prefix,
        runtime_version=worker.plan.runtime_version,
        last_sync_status=worker.last_sync_status,
        last_sync_at=worker.last_sync_at,
        last_sync_error=worker.last_sync_error,
        last_sync=worker.last_sync,
        last_active_at=worker.last_active_at,
        stopped_at=_stopped_at(worker),
        created_at=worker.created_at,
        attached_run_id=worker.attached_runs[0] if worker.attached_runs else None,
        restoring_sync_position=worker.restoring.sync_position if worker.restoring else None,
        last_error=worker.last_error,
        origin=_origin(worker.fork),
        seq=row.seq,
        position=row.position,
    )


def _origin(fork: Fork | None) -> SessionOrigin | None:
    if fork is None:
        return None
    origin = fork.origin
    return SessionOrigin(
        run_id=origin.run_id,
        session_id=origin.session_id,
        at_seq=origin.at_seq,
        position=origin.position,
        sync_position=origin.sync_position or None,
        files=fork.content,
        error=fork.error,
        conversation="resumed" if origin.provider_session_id else "retold",
        warnings=fork.warnings,
    )


def _phase(worker: SessionWorker) -> Phase:
    match worker.lifecycle:
        case Activating():
            return "activating"
        case Running(stop=stop):
            return "running" if stop is None else "stop_requested"
        case Stopping():
            return "stopping"
        case Stopped(remove=remove):
            return "stopped" if remove is None else "remove_requested"
        case Removing():
            return "removing"
        case Deleted():
            return "deleted"


def _stopped_at(worker: SessionWorker) -> datetime | None:
    match worker.lifecycle:
        case Stopped(since=since):
            return since
        case Stopping(stopped_since=since):
            return since
        case _:
            return None


SESSION_WORKERS: Projection[SessionWorkerRow] = Projection(
    name="session_workers",
    version=7,
    row_type=SessionWorkerRow,
    events=[
        e.ActivationRequested,
        e.ReactivationRequested,
        e.ContainerCreated,
        e.ContainerStarted,
        e.WorkspaceRestored,
        e.AgentDataLinked,
        e.WorkspaceValidated,
        e.SessionActivated,
        e.ActivationFailed,
        e.SessionTouched,
        e.SessionRunAttached,
        e.SessionRunDetached,
        e.SyncRequested,
        e.SessionSynced,
        e.SessionSyncFailed,
        e.DiskLimitExceeded,
        e.StopRequested,
        e.StopCanceled,
        e.SessionStopping,
        e.SessionStopped,
        e.RemoveRequested,
        e.RemoveCanceled,
        e.SessionRemoving,
        e.SessionRemoved,
        e.ContainerLost,
        e.RestoreRequested,
        e.RestoreCanceled,
        e.WorkspaceRewound,
        e.CollectionRequested,
        e.ContentCollected,
        e.CollectionFailed,
        e.SessionForked,
        e.WorkspaceCopied,
        e.ForkFailed,
        e.SessionTitled,
    ],
    key=id_of_stream,
    fold=fold,
    columns=columns,
    row_per_stream=True,
)
