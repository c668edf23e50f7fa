"""Runs: start, read, cancel, bind."""

from typing import Any, Literal

import msgspec
from starlette.responses import Response

from application.aggregates.aggregates import CommandResult
from domain.identifiers import run_stream
from domain.run.events import RunWarning
from domain.run.state import Blocked, Run
from domain.run.values import Warn
from interfaces.http.compatibility.run_frames import accepted, with_todo_updates
from interfaces.http.compatibility.views import RunSnapshot, RunSummary, run_page, run_snapshot
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import AsOfQuery, ListAsOfQuery, Number, PageLimit, Query, Speed, Text, WaitQuery
from interfaces.http.edge.sse import RunStreamWire, replay_run, stream_run, unchanged
from interfaces.http.resources.events import EventView, event_view
from interfaces.http.resources.reading import as_of, caught_up, found, shown_as
from interfaces.http.resources.run_requests import EnqueueBody, StartBody, run_request
from interfaces.http.resources.views import AnswerBody, Pending
from interfaces.http_conventions.problems import Problem
from projections.ports import AtSeq, Page, RunFilter
from projections.runs import RUNS

MAX_EVENTS = 10_000
RunState = Literal[
    "queued",
    "claimed",
    "restoring",
    "linking",
    "preparing",
    "running",
    "waiting_human",
    "syncing",
    "exported",
    "succeeded",
    "failed",
    "canceled",
    "blocked",
]


class BindBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    session_id: str


class StopBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`reason` is recorded."""

    reason: Text = ""


class StartQuery(WaitQuery, frozen=True, kw_only=True):
    """`waitMs`: how long to wait for the end; after that the answer is 202 with `pending: true`. `compat`: of a stream,
    see there."""

    compat: bool = False


class StreamQuery(Query, frozen=True, kw_only=True):
    """`cursor`: the seq of the last event seen; a `Last-Event-ID` header takes precedence. At the end of a run that is
    over the header gets a 204, so that a browser stops, and `cursor` alone the closing frames. `replay`: send a
    finished run again at its original pace, `speed` times as fast; 0: at once. `compat`: each `todo.snapshot` is
    followed by a `todo.update` frame without id for each of its items."""

    cursor: Number = 0
    compat: bool = False
    replay: bool = False
    speed: Speed = 1.0


class Started(AnswerBody, frozen=True, kw_only=True):
    """`events`: the run's first events, 10,000 and about 8 MiB at most, as in `/api/streams/run:{runId}/events`;
    `eventsTruncated`: there are more."""

    run_id: str
    accepted: bool
    warnings: tuple[Warn, ...]
    events: tuple[EventView, ...]
    events_truncated: bool
    snapshot: RunSnapshot
    position: int


class StartPending(Pending, frozen=True, kw_only=True):
    """202: the run has not ended yet; follow it on its stream."""

    run_id: str
    accepted: bool
    warnings: tuple[Warn, ...]


class Enqueued(AnswerBody, frozen=True, kw_only=True):
    """`state`: `queued`, or the current state if a run of this id existed already."""

    accepted: bool
    run_id: str
    session_id: str
    state: RunState
    warnings: tuple[Warn, ...]
    position: int


class RunChanged(AnswerBody, frozen=True, kw_only=True):
    """`changed`: false if the command had no effect; `ok`: it was accepted, with or without one."""

    ok: bool
    run_id: str
    session_id: str
    state: RunState
    changed: bool
    position: int


class RunRead(RunSnapshot, frozen=True, kw_only=True):
    as_of_position: int


class ListRunsQuery(ListAsOfQuery, frozen=True, kw_only=True):
    session_id: Text | None = None
    state: RunState | None = None
    provider: Text | None = None
    app_id: Text | None = None
    user_login_name: Text | None = None
    limit: PageLimit = 100
    cursor: Text | None = None


async def start(call: ApiCall[StartBody, StartQuery]) -> JsonAnswer | Response:
    run_id, spec = run_request(call.body, actor=call.context.actor, new_run_id=call.context.command_id)
    handled = await call.deps.runs.queue(run_id, spec, call.context)
    if isinstance(handled.state.stage, Blocked):
        raise _blocked(run_id, handled.state.stage, handled.position)
    if call.wants_events:
        (first,) = await call.deps.store.read_stream(run_stream(run_id), limit=1)
        wire = RunStreamWire(
            first=accepted(run_id, spec.provider, first.occurred_at),
            translate=with_todo_updates if call.query.compat else unchanged,
        )
        return await stream_run(call.request, call.deps.streams, run_id, wire)
    ended = await call.deps.runs.wait_for_end(run_id, call.query.wait_ms / 1000)
    if ended is None:
        warnings = await _warnings(call, run_id)
        return JsonAnswer(
            StartPending(run_id=run_id, accepted=True, warnings=warnings, position=handled.position), status=202
        )
    read = await call.deps.reads.run(run_id, at=AtSeq(ended.seq))
    snapshot = run_snapshot(found(read.value, f"no run {run_id!r} is known"))
    page = await call.deps.store.read_page(run_stream(run_id), up_to_seq=ended.seq, limit=MAX_EVENTS)
    return JsonAnswer(
        Started(
            run_id=run_id,
            accepted=True,
            warnings=snapshot.warnings,
            events=tuple(event_view(event) for event in page.events),
            events_truncated=len(page.events) < ended.seq,
            snapshot=snapshot,
            position=read.as_of_position,
        )
    )


async def enqueue(call: ApiCall[EnqueueBody, Query]) -> JsonAnswer:
    run_id, spec = run_request(call.body, actor=call.context.actor, new_run_id=call.context.command_id)
    handled = await call.deps.runs.queue(run_id, spec, call.context)
    if isinstance(handled.state.stage, Blocked):
        raise _blocked(run_id, handled.state.stage, handled.position)
    return JsonAnswer(
        Enqueued(
            accepted=True,
            run_id=run_id,
            session_id=handled.state.session_id,
            state=handled.state.public_state,  # type: ignore[arg-type]  # the property's words are those of the Literal
            warnings=await _warnings(call, run_id),
            position=handled.position,
        ),
        status=202,
    )


async def _warnings(call: ApiCall[Any, Any], run_id: str) -> tuple[Warn, ...]:
    """The warnings among the first events of the stream: they are recorded when the run is queued."""
    begin = await call.deps.store.read_stream(run_stream(run_id), limit=10)
    return tuple(event.event.warning for event in begin if isinstance(event.event, RunWarning))


def _blocked(run_id: str, stage: Blocked, position: int) -> Problem:
    return Problem(
        409,
        "conflict",
        "Run blocked",
        stage.reason,
        extra={"reason": "blocked", "runId": run_id, "accepted": False, "position": position},
    )


async def get_run(call: ApiCall[None, AsOfQuery]) -> JsonAnswer:
    run_id = call.path["runId"]
    await caught_up(call, RUNS.name)
    read = await call.deps.reads.run(run_id, at=as_of(call.query))
    run = run_snapshot(found(read.value, f"no run {run_id!r} is known"))
    return JsonAnswer(shown_as(RunRead, run, read.as_of_position))


async def list_runs(call: ApiCall[None, ListRunsQuery]) -> JsonAnswer:
    query = call.query
    await caught_up(call, RUNS.name)
    matching = RunFilter(
        state=query.state,
        session_id=query.session_id,
        provider=query.provider,
        app_id=query.app_id,
        user_login_name=query.user_login_name,
    )
    at = as_of(query)
    return JsonAnswer(run_page(await call.deps.reads.runs(matching, limit=query.limit, cursor=query.cursor, at=at)))


async def stream(call: ApiCall[None, StreamQuery]) -> Response:
    wire = RunStreamWire(translate=with_todo_updates if call.query.compat else unchanged)
    if call.query.replay:
        return await replay_run(call.request, call.deps.streams, call.path["runId"], call.query.speed, wire)
    return await stream_run(call.request, call.deps.streams, call.path["runId"], wire)


async def stop(call: ApiCall[StopBody, Query]) -> JsonAnswer:
    handled = await call.deps.runs.cancel(call.path["runId"], call.context, call.body.reason)
    return _changed(call.path["runId"], handled)


async def bind(call: ApiCall[BindBody, Query]) -> JsonAnswer:
    handled = await call.deps.runs.bind(call.path["runId"], call.body.session_id, call.context)
    return _changed(call.path["runId"], handled)


def _changed(run_id: str, handled: CommandResult[Run]) -> JsonAnswer:
    return JsonAnswer(
        RunChanged(
            ok=True,
            run_id=run_id,
            session_id=handled.state.session_id,
            state=handled.state.public_state,  # type: ignore[arg-type]  # the property's words are those of the Literal
            changed=bool(handled.events),
            position=handled.position,
        )
    )


ASKING_SCRIPT = """\
echo '::fleetlog {"type":"todo.update","todo":{"todoId":"t1","content":"Ask","status":"doing"}}'
echo '::fleetlog {"type":"question","questionId":"q1","prompt":"Go on?"}'
read -r answer; echo "you said $answer"
"""
_TAG = "runs"
_PATH = "/api/runs/{runId}"
ENDPOINTS = (
    Endpoint(
        name="startRun",
        method="POST",
        path="/api/runs/start",
        handler=start,
        tag=_TAG,
        summary="Queue a run and wait for its end, or follow it live",
        body=StartBody,
        query=StartQuery,
        answers={200: Started, 202: StartPending},
        command=True,
        streams=True,
        errors=(403, 409),
        example=Example(
            body={
                "runId": "r1",
                "sessionId": "s1",
                "appId": "shop",
                "userLoginName": "ada",
                "provider": "scripted",
                "messages": [{"role": "user", "content": "echo hello | tee greeting.txt"}],
            }
        ),
    ),
    Endpoint(
        name="enqueueRun",
        method="POST",
        path="/api/runs/queue/enqueue",
        handler=enqueue,
        tag="queue",
        summary="Queue a run",
        body=EnqueueBody,
        answers={202: Enqueued},
        command=True,
        errors=(403, 409),
        example=Example(
            body={
                "runId": "r2",
                "sessionId": "s1",
                "appId": "shop",
                "userLoginName": "ada",
                "provider": "scripted",
                "messages": [{"role": "user", "content": "Ask before you go on."}],
                "providerOptions": {"interactive": True, "script": ASKING_SCRIPT},
                "maxAttempts": 3,
            }
        ),
    ),
    Endpoint(
        name="listRuns",
        method="GET",
        path="/api/runs",
        handler=list_runs,
        tag=_TAG,
        summary="Runs, newest first, now or as they were",
        query=ListRunsQuery,
        answers={200: Page[RunSummary]},
        errors=(503,),
        example=Example(query={"sessionId": "s1", "limit": 1}),
    ),
    Endpoint(
        name="getRun",
        method="GET",
        path=_PATH,
        handler=get_run,
        tag=_TAG,
        summary="A run's snapshot, now or as it was",
        query=AsOfQuery,
        answers={200: RunRead},
        errors=(404,),
    ),
    Endpoint(
        name="streamRun",
        method="GET",
        path=f"{_PATH}/stream",
        handler=stream,
        tag=_TAG,
        summary="A run's events, stored ones first, then live; or the replay of a finished run",
        query=StreamQuery,
        answers={204: None},
        streams=True,
        errors=(404, 409, 503),
        example=Example(path={"runId": "r1"}, query={"cursor": 0}),
    ),
    Endpoint(
        name="stopRun",
        method="POST",
        path=f"{_PATH}/stop",
        handler=stop,
        tag=_TAG,
        summary="Cancel a run, whatever state it is in",
        body=StopBody,
        body_optional=True,
        answers={200: RunChanged},
        command=True,
        errors=(404,),
        example=Example(path={"runId": "r3"}, body={"reason": "not needed any more"}),
    ),
    Endpoint(
        name="bindRun",
        method="POST",
        path=f"{_PATH}/bind",
        handler=bind,
        tag=_TAG,
        summary="Bind an external run to a session",
        body=BindBody,
        answers={200: RunChanged},
        command=True,
        errors=(409,),
        example=Example(path={"runId": "r3"}, body={"sessionId": "s3"}),
    ),
)
