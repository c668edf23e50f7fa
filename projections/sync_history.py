"""The recorded syncs of each session: the states of its workspace that may be restored."""

from datetime import datetime

from domain.record import RecordedEvent
from domain.session import events as e
from domain.workspace.sync import SyncReason, SyncRef
from projections.projection import Column, Projection, RowStruct, View, id_of_stream


class SyncRow(RowStruct, frozen=True, kw_only=True):
    """One `session.synced` event. Key: `{sessionId} {seq}`."""

    session_id: str
    seq: int
    position: int
    at: datetime
    event: e.SessionSynced


class SyncRecord(View, frozen=True, kw_only=True):
    """`unchanged`: same manifest as the sync before. `files`, `bytes`: of the whole workspace."""

    session_id: str
    seq: int
    position: int
    at: datetime
    sync_id: str
    reason: SyncReason
    generation: int
    run_id: str | None
    sync: SyncRef
    unchanged: bool
    files: int
    bytes: int
    uploaded_files: int
    uploaded_bytes: int
    unstable_paths: tuple[str, ...]
    skipped_paths: tuple[str, ...]


def key(recorded: RecordedEvent) -> str:
    return f"{id_of_stream(recorded)} {recorded.seq}"


def fold(row: SyncRow | None, recorded: RecordedEvent) -> SyncRow | None:
    if not isinstance(recorded.event, e.SessionSynced) or row is not None:
        return row
    return SyncRow(
        session_id=id_of_stream(recorded),
        seq=recorded.seq,
        position=recorded.position,
        at=recorded.occurred_at,
        event=recorded.event,
    )


def columns(row: SyncRow) -> tuple[Column, ...]:
    return (row.session_id, row.position)


def view(row: SyncRow) -> SyncRecord:
    synced = row.event
    return SyncRecord(
        session_id=row.session_id,
        seq=row.seq,
        position=row.position,
        at=row.at,
        sync_id=synced.sync_id,
        reason=synced.reason,
        generation=synced.generation,
        run_id=synced.for_run_id or None,
        sync=synced.sync,
        unchanged=synced.unchanged,
        files=synced.files,
        bytes=synced.bytes,
        uploaded_files=synced.uploaded_files,
        uploaded_bytes=synced.uploaded_bytes,
        unstable_paths=synced.unstable_paths,
        skipped_paths=synced.skipped_paths,
    )


SYNC_HISTORY: Projection[SyncRow] = Projection(
    name="sync_history",
    version=1,
    row_type=SyncRow,
    events=[e.SessionSynced],
    key=key,
    fold=fold,
    columns=columns,
)
