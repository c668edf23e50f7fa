"""The API's answers with the older names beside its own. Each type has the name of the one that it adds to."""

from datetime import datetime
from typing import Any

import msgspec

from domain.workspace import plan
from domain.workspace.manifest import ConflictPolicy
from projections import human_loop, runs, session_workers, todos
from projections.ports import Page


class RunSummary(runs.RunSummary, frozen=True, kw_only=True):
    """`state`: queued, blocked, claimed, restoring, linking, preparing, running, waiting_human, syncing, exported,
    succeeded, failed or canceled; `status` is the same. `error`: of the run, or else of its last attempt.
    `availableAt`: the earliest time of the next attempt, while it is queued for one. `endedAt`: `finishedAt`. `seq` (a
    cursor for the live stream), `position`, `updatedAt`: of the last event of its stream."""

    status: str
    ended_at: datetime | None


class RunSnapshot(runs.RunSnapshot, frozen=True, kw_only=True):
    """A summary, with the text of the last message so far. `textTruncated`: `text` is only the end of it."""

    status: str
    ended_at: datetime | None


class SessionWorkerView(session_workers.SessionWorkerView, frozen=True, kw_only=True):
    """`state`: running, stopped or deleted; `phase` is finer. `workspaceS3Prefix`: `workspacePrefix`. `lastError`: why
    the last activation failed, else "". `restoringSyncPosition`: of the sync that is being restored, else null.
    `origin`: null unless the session is a fork. `seq`, `position`: of the session's last event."""

    workspace_s3_prefix: str


class TodoChange(todos.TodoChange, frozen=True, kw_only=True):
    """One event of the history: `todo`, if one item changed, or `todos`, if the whole list was replaced. `leftOut`: how
    many items found no room in the list. `todoId`, `status`, `content`: those of `todo`, null if the whole list was
    replaced; `eventTs`: `ts`."""

    todo_id: str | None
    status: str | None
    content: str | None
    event_ts: datetime


class RestorePlan(plan.RestorePlan, frozen=True, kw_only=True):
    """The steps that fill a workspace, in order. `conflictPolicy` is always there."""

    conflict_policy: ConflictPolicy  # without a default, so that it is never left out


def run_summary(run: runs.RunSummary) -> RunSummary:
    return RunSummary(**_fields(run), status=run.state, ended_at=run.finished_at)


def run_snapshot(run: runs.RunSnapshot) -> RunSnapshot:
    return RunSnapshot(**_fields(run), status=run.state, ended_at=run.finished_at)


def run_page(page: Page[runs.RunSummary]) -> Page[RunSummary]:
    return Page(
        items=tuple(map(run_summary, page.items)), next_cursor=page.next_cursor, as_of_position=page.as_of_position
    )


def worker(view: session_workers.SessionWorkerView) -> SessionWorkerView:
    return SessionWorkerView(**_fields(view), workspace_s3_prefix=view.workspace_prefix)


def worker_page(page: Page[session_workers.SessionWorkerView]) -> Page[SessionWorkerView]:
    return Page(items=tuple(map(worker, page.items)), next_cursor=page.next_cursor, as_of_position=page.as_of_position)


def todo_change(change: todos.TodoChange) -> TodoChange:
    todo = change.todo
    return TodoChange(
        **_fields(change),
        todo_id=todo.todo_id if todo else None,
        status=todo.status if todo else None,
        content=todo.content if todo else None,
        event_ts=change.ts,
    )


def human_loop_request(request: human_loop.HumanLoopRequest) -> human_loop.HumanLoopRequest:
    own = request.metadata.get("deadlineAt")
    deadline = request.expires_at if own is None else own
    metadata = {name: value for name, value in request.metadata.items() if name != "deadlineAt"}
    return msgspec.structs.replace(request, metadata=metadata | ({} if deadline is None else {"deadlineAt": deadline}))


def restore_plan(built: plan.RestorePlan) -> RestorePlan:
    return RestorePlan(**_fields(built))


def _fields(view: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(view)
