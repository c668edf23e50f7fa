"""What reads need: the read models, waiting for them, and their administration. Adapters live in infrastructure.

Every answer says how far its read model had got when it was read, `as_of_position`, from the same snapshot as its rows.
Lists are newest first; `cursor` is the `next_cursor` of the page before. Bad cursors, and moments beyond the end, raise
InvalidInput; all else that isn't there is None or empty.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from domain.errors import Conflict
from domain.record import Metadata
from projections.changes import Change, PatchOperation
from projections.condition import Condition
from projections.documents import Document
from projections.human_loop import HumanLoopRequest
from projections.projection import View
from projections.runs import RunSnapshot, RunSummary, StreamEnd
from projections.session_workers import SessionWorkerView
from projections.sync_history import SyncRecord
from projections.todos import TodoChange, TodoView
from projections.usage import Dimension, RunUsage

Item = TypeVar("Item")
MAX_LIMIT = 500


class NotProjectedYet(Exception):
    """The read models of this database are still to be made: the same read will work once a projector runs."""


class NotBuiltYet(Exception):
    """The state of that moment is still being made out of the log: the same read will work soon."""


class AtSeq(msgspec.Struct, frozen=True):
    """After the stream's event with this seq."""

    seq: int


class AtPosition(msgspec.Struct, frozen=True):
    """After the log's event at this position."""

    position: int


class AtTime(msgspec.Struct, frozen=True):
    """After the last event that was recorded at or before this time."""

    time: datetime


Moment = AtSeq | AtPosition | AtTime


class Answer(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """One thing, or None when it isn't known. At a past moment, `as_of_position` is the position that it stands for."""

    value: Item | None
    as_of_position: int


class Page(View, Generic[Item], frozen=True, kw_only=True):
    """`{items, nextCursor, asOfPosition}`; `nextCursor` is null on the last page."""

    items: tuple[Item, ...]
    next_cursor: str | None
    as_of_position: int


class TodoList(View, frozen=True, kw_only=True):
    run_id: str
    total: int
    items: tuple[TodoView, ...]


class TodoHistory(View, frozen=True, kw_only=True):
    """`total` changes in all; `events` those after the asked seq, in order, as many as the limit allows."""

    run_id: str
    total: int
    events: tuple[TodoChange, ...]


class HumanLoopRequests(View, frozen=True, kw_only=True):
    """`total` of all that match; `requests` those of this page."""

    total: int
    requests: tuple[HumanLoopRequest, ...]
    next_cursor: str | None
    as_of_position: int


class UsageReport(View, frozen=True, kw_only=True):
    """Settled usage. Each group has the dimensions asked for, `runs`, `inputTokens`, `outputTokens`,
    `cachedInputTokens` and `costUsd` (null where no run told); `total` has the same over all groups."""

    group_by: tuple[Dimension, ...]
    groups: tuple[dict[str, Any], ...]
    total: dict[str, Any]
    as_of_position: int


class SessionWorkerFilter(msgspec.Struct, frozen=True, kw_only=True):
    state: str | None = None
    app_id: str | None = None
    project_name: str | None = None
    user_login_name: str | None = None
    last_sync_status: str | None = None


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    state: str | None = None
    session_id: str | None = None
    provider: str | None = None
    app_id: str | None = None
    user_login_name: str | None = None


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """`from_day` and `to_day`, both included, such as 2026-03-04 (UTC)."""

    session_id: str | None = None
    app_id: str | None = None
    project_name: str | None = None
    user_login_name: str | None = None
    provider: str | None = None
    model: str | None = None
    from_day: str | None = None
    to_day: str | None = None


class ReadModels(Protocol):
    """`at` asks for the state as it was. AtSeq is a moment of one stream, so of reads that are about one. Reads of
    lists raise NotBuiltYet while a past read model is being made."""

    async def session_worker(self, session_id: str, *, at: Moment | None = None) -> Answer[SessionWorkerView]: ...

    async def session_workers(
        self,
        matching: SessionWorkerFilter,
        *,
        limit: int = 50,
        cursor: str | None = None,
        at: Moment | None = None,
    ) -> Page[SessionWorkerView]: ...

    async def sync_history(
        self, session_id: str, *, limit: int = 50, cursor: str | None = None, at: Moment | None = None
    ) -> Page[SyncRecord]:
        """Raises NotFound for a session that was not known at a moment of the past."""
        ...

    async def end_of_stream(self, stream: str, *, at: Moment) -> Answer[StreamEnd]:
        """The stream's last event at a moment."""
        ...

    async def run(self, run_id: str, *, at: Moment | None = None) -> Answer[RunSnapshot]: ...

    async def runs(
        self, matching: RunFilter, *, limit: int = 50, cursor: str | None = None, at: Moment | None = None
    ) -> Page[RunSummary]: ...

    async def todos(self, run_id: str, *, at: Moment | None = None) -> Answer[TodoList]: ...

    async def todo_history(
        self, run_id: str, *, after_seq: int = 0, limit: int = 500, at: Moment | None = None
    ) -> Answer[TodoHistory]: ...

    async def human_loop_requests(
        self,
        *,
        run_id: str | None = None,
        statuses: Sequence[str] | None = None,
        limit: int = 50,
        cursor: str | None = None,
        at: Moment | None = None,
    ) -> HumanLoopRequests: ...

    async def usage_of_run(self, run_id: str, *, at: Moment | None = None) -> Answer[RunUsage]: ...

    async def usage(
        self, matching: UsageFilter, *, group_by: Sequence[Dimension] = (), at: Moment | None = None
    ) -> UsageReport: ...


HistoryKind = Literal["run", "session"]


class CausingEvent(View, frozen=True, kw_only=True):
    """The last event before the later moment that touched a field."""

    seq: int
    position: int
    type: str
    event_id: str
    occurred_at: datetime


class FieldChange(Change, frozen=True, kw_only=True):
    """`by` is null only where a field follows from none of the events, which no field does today."""

    by: CausingEvent | None


class Difference(View, frozen=True, kw_only=True):
    """From the state after seq `fromSeq` to that after `toSeq`: `changes` for people, `patch` (RFC 6902) turns the
    document `before` into `after`. Before its first event a stream's document is empty."""

    from_seq: int
    to_seq: int
    changes: tuple[FieldChange, ...]
    patch: tuple[PatchOperation, ...]
    before: Document
    after: Document
    as_of_position: int


class Bisection(View, frozen=True, kw_only=True):
    """The first event after which the condition holds, null when it never does up to `lastSeq`. `evaluated`: for how
    many states it was looked at."""

    where: str
    found: bool
    first: CausingEvent | None
    last_seq: int
    evaluated: int
    as_of_position: int


class TooManyEvents(Conflict):
    """More than can be looked at in one answer; ask for a smaller part."""

    reason = "too_many_events"


class History(Protocol):
    """One stream step by step. Raises NotFound for an unknown one, InvalidInput for a seq beyond its end."""

    async def difference(self, kind: HistoryKind, key: str, from_seq: int, to_seq: int | None) -> Difference:
        """`to_seq` is the stream's end by default. Raises TooManyEvents."""
        ...

    async def bisect(
        self,
        kind: HistoryKind,
        key: str,
        condition: Condition,
        *,
        monotone: bool,
        from_seq: int = 1,
        to_seq: int | None = None,
    ) -> Bisection:
        """`monotone`: once it holds it holds for good; then a binary search looks at few states. Else all are looked
        at, in order. Raises TooManyEvents."""
        ...


class HousekeepingReads(Protocol):
    """Candidates, each a session id, the longest waiting first. The session's stream decides; these only point."""

    async def idle_workers(self, *, idle_before: datetime, limit: int) -> list[str]:
        """Running, last active before then; no run attached, no stop under way, no open question of its runs."""
        ...

    async def stopped_workers(self, *, stopped_before: datetime, limit: int) -> list[str]:
        """Stopped before then, no removal under way."""
        ...

    async def sessions_to_collect(
        self, *, now: datetime, retention: timedelta, again_after: timedelta, limit: int
    ) -> list[str]:
        """With a sync; longer than `again_after` after their last collection (before the first: after their creation
        and the retention); and with syncs that may have run out since."""
        ...

    async def unsynced_workers(self, *, synced_before: datetime, limit: int) -> list[str]:
        """Running, last synced successfully (or created) before then, no sync and no stop under way."""
        ...


class ProjectionStatus(View, frozen=True, kw_only=True):
    """`state`: building, active (what readers see) or retired. `status`: running, paused (the event at `errorPosition`
    can't be applied) or waiting (newer code wrote it). `lagEvents` and `lagSeconds` are what it is behind the log;
    `holder` is the process that projects it now, null when none does."""

    projection: str
    version: int
    fold_version: int
    state: Literal["building", "active", "retired"]
    status: Literal["running", "paused", "waiting"]
    position: int
    lag_events: int
    lag_seconds: float
    holder: str | None
    error: str | None
    error_position: int | None
    error_type: str | None


WORK = "work"
"""What ProjectionProgress calls the effect ledger and the run queue, which the process managers move."""
EVENT_INDEX = "event-index"
"""What it calls the index that texts, actors and correlations are searched in."""


class ProjectionProgress(Protocol):
    async def wait_for(self, projection: str, position: int, timeout: float) -> bool:
        """True as soon as the read model that readers see holds everything up to `position`; False after `timeout`
        seconds. Also for WORK and EVENT_INDEX."""
        ...


class ProjectionAdministration(Protocol):
    """All of it is in the log: stream `projection:{name}`, with `by` as metadata; the same `command_id` again changes
    nothing. Unknown names raise NotFound. Each answers with a position but `rebuild`.
    """

    async def status(self) -> list[ProjectionStatus]: ...

    async def retry(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """Try the event again at which each paused version stands. Raises NotPaused (Conflict) when none is."""
        ...

    async def skip(self, name: str, at_position: int, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """Go on without that event, now and in rebuilds by the same fold. Raises NotPaused (Conflict)."""
        ...

    async def rebuild(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """Begin a new version beside the present one (or find it begun); returns its number. Projectors build it, and
        readers see it once it holds all that the present one holds."""
        ...

    async def content_hash(self, name: str, *, version: int | None = None) -> tuple[int, str]:
        """Number of rows, and a hash of them that any difference changes; of the active version by default."""
        ...
