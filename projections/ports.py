"""The Protocols of reads: read models, waiting for them, administering them. Adapters are in infrastructure/postgres.

Every result has `as_of_position`, the checkpoint of its read model in the database snapshot that the rows came from.
Lists are newest first; `cursor` is the `next_cursor` of the page before. A bad cursor, or a point beyond the end of the
log or stream, raises InvalidInput; what does not exist is None or empty.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from domain.errors import Conflict
from domain.record import Metadata
from projections.changes import Change, PatchOperation
from projections.chats import ChatSummary
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
    """This database has no read models yet: the same read will work once a projector has run."""


class NotBuiltYet(Exception):
    """The past read model is still being built from the log: the same read will work soon."""


class AtSeq(msgspec.Struct, frozen=True):
    """As of the event with this seq in the stream that is read."""

    seq: int


class AtPosition(msgspec.Struct, frozen=True):
    """As of the event at this position of the log."""

    position: int


class AtTime(msgspec.Struct, frozen=True):
    """As of the last event that was recorded at or before this time."""

    time: datetime


AsOf = AtSeq | AtPosition | AtTime
"""A point in the log, for time travel; its event is included."""


class ReadResult(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """One value, or None if it is not known. In time travel, `as_of_position` is the position that was read as of."""

    value: Item | None
    as_of_position: int


class Page(View, Generic[Item], frozen=True, kw_only=True):
    """One page of a list. `nextCursor` is null on the last page."""

    items: tuple[Item, ...]
    next_cursor: str | None
    as_of_position: int


class TodoList(View, frozen=True, kw_only=True):
    """`leftOut`: how many items of the agent's list, and changes since, found no room; 0: `items` is all of it."""

    run_id: str
    total: int
    items: tuple[TodoView, ...]
    left_out: int


class TodoHistory(View, frozen=True, kw_only=True):
    """`total`: the number of all changes; `events`: those after the given seq, in order, up to the limit."""

    run_id: str
    total: int
    events: tuple[TodoChange, ...]


class HumanLoopRequests(View, frozen=True, kw_only=True):
    """`total`: the number of all matches; `requests`: those of this page."""

    total: int
    requests: tuple[HumanLoopRequest, ...]
    next_cursor: str | None
    as_of_position: int


class UsageReport(View, frozen=True, kw_only=True):
    """Usage of ended runs. Each group has the requested dimensions, `runs`, `inputTokens`, `outputTokens`,
    `cachedInputTokens` and `costUsd` (both null if no run reported them); `total` has the same numbers over all."""

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


class ChatFilter(msgspec.Struct, frozen=True, kw_only=True):
    user_login_name: str | None = None
    project_name: str | None = None


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """`from_day`, `to_day`: days in UTC such as 2026-03-04, both included."""

    session_id: str | None = None
    app_id: str | None = None
    project_name: str | None = None
    user_login_name: str | None = None
    provider: str | None = None
    model: str | None = None
    from_day: str | None = None
    to_day: str | None = None


class ReadModels(Protocol):
    """`at`: time travel, None for the present. AtSeq is for reads of one stream only. Time travel of lists raises
    NotBuiltYet while the past read model is being built."""

    async def session_worker(self, session_id: str, *, at: AsOf | None = None) -> ReadResult[SessionWorkerView]: ...

    async def session_workers(
        self,
        matching: SessionWorkerFilter,
        *,
        limit: int = 50,
        cursor: str | None = None,
        at: AsOf | None = None,
    ) -> Page[SessionWorkerView]: ...

    async def sync_history(
        self, session_id: str, *, limit: int = 50, cursor: str | None = None, at: AsOf | None = None
    ) -> Page[SyncRecord]:
        """With `at`, raises NotFound for a session that did not exist then."""
        ...

    async def end_of_stream(self, stream: str, *, at: AsOf) -> ReadResult[StreamEnd]:
        """The stream's last event as of `at`."""
        ...

    async def run(self, run_id: str, *, at: AsOf | None = None) -> ReadResult[RunSnapshot]: ...

    async def runs(
        self, matching: RunFilter, *, limit: int = 50, cursor: str | None = None, at: AsOf | None = None
    ) -> Page[RunSummary]: ...

    async def chat(self, session_id: str) -> ReadResult[ChatSummary]: ...

    async def chats(self, matching: ChatFilter, *, limit: int = 50, cursor: str | None = None) -> Page[ChatSummary]:
        """The latest first."""
        ...

    async def todos(self, run_id: str, *, at: AsOf | None = None) -> ReadResult[TodoList]: ...

    async def todo_history(
        self, run_id: str, *, after_seq: int = 0, limit: int = 500, at: AsOf | None = None
    ) -> ReadResult[TodoHistory]: ...

    async def human_loop_requests(
        self,
        *,
        run_id: str | None = None,
        statuses: Sequence[str] | None = None,
        limit: int = 50,
        cursor: str | None = None,
        at: AsOf | None = None,
    ) -> HumanLoopRequests: ...

    async def usage_of_run(self, run_id: str, *, at: AsOf | None = None) -> ReadResult[RunUsage]: ...

    async def usage(
        self, matching: UsageFilter, *, group_by: Sequence[Dimension] = (), at: AsOf | None = None
    ) -> UsageReport: ...


HistoryKind = Literal["run", "session"]


class CausingEvent(View, frozen=True, kw_only=True):
    """The last event, up to the later of two points, that changed a field."""

    seq: int
    position: int
    type: str
    event_id: str
    occurred_at: datetime


class FieldChange(Change, frozen=True, kw_only=True):
    """`by`: the event that changed the field; null for one that no event changes, of which there is none today."""

    by: CausingEvent | None


class Difference(View, frozen=True, kw_only=True):
    """The difference between the states as of `fromSeq` and `toSeq`: `changes` for people, and `patch` (RFC 6902),
    which turns the document `before` into `after`. At seq 0 the document is empty."""

    from_seq: int
    to_seq: int
    changes: tuple[FieldChange, ...]
    patch: tuple[PatchOperation, ...]
    before: Document
    after: Document
    as_of_position: int


class Bisection(View, frozen=True, kw_only=True):
    """`first`: the first event as of which the condition holds; null if it does not, up to `lastSeq`. `evaluated`: the
    number of states that it was evaluated for."""

    where: str
    found: bool
    first: CausingEvent | None
    last_seq: int
    evaluated: int
    as_of_position: int


class TooManyEvents(Conflict):
    """The range has more events than one request may process; ask for a smaller one."""

    reason = "too_many_events"


class History(Protocol):
    """The states of one stream, event by event. Raises NotFound for an unknown stream, InvalidInput for a seq beyond
    its end."""

    async def difference(self, kind: HistoryKind, key: str, from_seq: int, to_seq: int | None) -> Difference:
        """`to_seq`: None for the stream's end. Raises TooManyEvents."""
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
        """`monotone`: once the condition holds, it holds in all later states, so a binary search evaluates few of them.
        Otherwise all are evaluated in order. Raises TooManyEvents."""
        ...


class ProjectionStatus(View, frozen=True, kw_only=True):
    """`state`: building, active (readers use it) or retired. `status`: running, paused (the event at `errorPosition`
    can't be applied) or waiting (newer code wrote it). `lagEvents`, `lagSeconds`: how far it is behind the log's end.
    `holder`: the process that updates it now, null if none does."""

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
"""The name in ProjectionProgress of the process managers, which write the effect ledger and the run queue."""
EVENT_INDEX = "event-index"
"""The name in ProjectionProgress of the index for searches by text, actor and correlation."""


class ProjectionProgress(Protocol):
    async def wait_for(self, projection: str, position: int, timeout: float) -> bool:
        """True as soon as the checkpoint of the active version is at or after `position`; False after `timeout`
        seconds. `projection` may also be WORK or EVENT_INDEX."""
        ...


class ProjectionAdministration(Protocol):
    """Names are those of Fleetlog's projections; `retry` and `skip` also take those of users,
    `forget` those alone.

    Every command is recorded in the stream `projection:{name}` (or `user_projection:{name}`), with `by` as its
    metadata; a repeated `command_id` changes nothing. Unknown names raise NotFound. Commands but `rebuild` return the
    position of their event.
    """

    async def status(self) -> list[ProjectionStatus]: ...

    async def retry(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """Let each stopped version try its event again. Raises NotStopped (a Conflict) if none is stopped."""
        ...

    async def skip(self, name: str, at_position: int, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """Skip the event, now and in rebuilds with the same fold version. Raises NotStopped (a Conflict)."""
        ...

    async def forget(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """Show a user's projection no more, until it runs again. Its view, stops and skips stand. Raises ProjectionRuns
        (a Conflict)."""
        ...

    async def rebuild(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """Begin a new version, unless one is being built already; returns its number. Projectors build it while readers
        use the active one, which it replaces once it has caught up."""
        ...

    async def content_hash(self, name: str, *, version: int | None = None) -> tuple[int, str]:
        """The number of rows and a hash over them, of the active version by default."""
        ...
