"""Runs: start, read, cancel, bind."""

from typing import Any, Literal

import msgspec
from starlette.responses import Response

from application.aggregates import Handled
from domain.identifiers import run_stream
from domain.run.events import RunWarning
from domain.run.state import Blocked, Run
from domain.run.values import Warn
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.events import EventView, event_view
from interfaces.http.problems import Problem
from interfaces.http.queries import AsOfQuery, ListAsOfQuery, Number, PageLimit, Query, Speed, Text, WaitQuery
from interfaces.http.reading import caught_up, found, moment_of, shown_as
from interfaces.http.run_requests import EnqueueBody, StartBody, run_request
from interfaces.http.sse import replay_run, stream_run
from interfaces.http.views import Pending, View
from projections.ports import AtSeq, Page, RunFilter
from projections.runs import RUNS, RunSnapshot, RunSummary

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


class StreamQuery(Query, frozen=True, kw_only=True):
    """`cursor`: the seq of the last event seen; a `Last-Event-ID` header wins over it. `replay`: send a finished run
    again in its own rhythm, `speed` times as fast; 0: at once."""

    cursor: Number = 0
    replay: bool = False
    speed: Speed = 1.0


class Started(View, frozen=True, kw_only=True):
    """`events`: the run's events as `/api/streams/run:{runId}/events` shows them, the first 10,000; `eventsTruncated`
    when there are more."""

    run_id: str
    accepted: bool
    warnings: tuple[Warn, ...]
    events: tuple[EventView, ...]
    events_truncated: bool
    snapshot: RunSnapshot
    position: int


class StartPending(Pending, frozen=True, kw_only=True):
    """202: the run goes on; follow it on its stream."""

    run_id: str
    accepted: bool
    warnings: tuple[Warn, ...]


class Enqueued(View, frozen=True, kw_only=True):
    """`state`: where the run is by now: `queued`, or further when the run was known."""

    accepted: bool
    run_id: str
    session_id: str
    state: RunState
    warnings: tuple[Warn, ...]
    position: int


class RunChanged(View, frozen=True, kw_only=True):
    """`changed` is false when the command found nothing to do."""

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


async def start(call: Call[StartBody, WaitQuery]) -> Answer | Response:
    run_id, spec = run_request(call.body, actor=call.context.actor, new_run_id=call.context.command_id)
    handled = await call.deps.runs.queue(run_id, spec, call.context)
    if isinstance(handled.state.stage, Blocked):
        raise _blocked(run_id, handled.state.stage, handled.position)
    if call.wants_events:
        return await stream_run(call.request, call.deps.streams, run_id)
    ended = await call.deps.runs.wait_for_end(run_id, call.query.wait_ms / 1000)
    if ended is None:
        warnings = await _warnings(call, run_id)
        return Answer(
            StartPending(run_id=run_id, accepted=True, warnings=warnings, position=handled.position), status=202
        )
    read = await call.deps.reads.run(run_id, at=AtSeq(ended.seq))
    snapshot = found(read.value, f"no run {run_id!r} is known")
    events = await call.deps.store.read_stream(run_stream(run_id), up_to_seq=ended.seq, limit=MAX_EVENTS)
    return Answer(
        Started(
            run_id=run_id,
            accepted=True,
            warnings=snapshot.warnings,
            events=tuple(event_view(event) for event in events),
            events_truncated=ended.seq > MAX_EVENTS,
            snapshot=snapshot,
            position=read.as_of_position,
        )
    )


async def enqueue(call: Call[EnqueueBody, Query]) -> Answer:
    run_id, spec = run_request(call.body, actor=call.context.actor, new_run_id=call.context.command_id)
    handled = await call.deps.runs.queue(run_id, spec, call.context)
    if isinstance(handled.state.stage, Blocked):
        raise _blocked(run_id, handled.state.stage, handled.position)
    return Answer(
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


async def _warnings(call: Call[Any, Any], run_id: str) -> tuple[Warn, ...]:
    """The warnings right at the beginning of the stream: what the run goes on without."""
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


async def get_run(call: Call[None, AsOfQuery]) -> Answer:
    run_id = call.path["runId"]
    await caught_up(call, RUNS.name)
    read = await call.deps.reads.run(run_id, at=moment_of(call.query))
    run = found(read.value, f"no run {run_id!r} is known")
    return Answer(shown_as(RunRead, run, read.as_of_position))


async def list_runs(call: Call[None, ListRunsQuery]) -> Answer:
    query = call.query
    await caught_up(call, RUNS.name)
    matching = RunFilter(
        state=query.state,
        session_id=query.session_id,
        provider=query.provider,
        app_id=query.app_id,
        user_login_name=query.user_login_name,
    )
    at = moment_of(query)
    return Answer(await call.deps.reads.runs(matching, limit=query.limit, cursor=query.cursor, at=at))


async def stream(call: Call[None, StreamQuery]) -> Response:
    if call.query.replay:
        return await replay_run(call.request, call.deps.streams, call.path["runId"], call.query.speed)
    return await stream_run(call.request, call.deps.streams, call.path["runId"])


async def stop(call: Call[StopBody, Query]) -> Answer:
    handled = await call.deps.runs.cancel(call.path["runId"], call.context, call.body.reason)
    return _changed(call.path["runId"], handled)


async def bind(call: Call[BindBody, Query]) -> Answer:
    handled = await call.deps.runs.bind(call.path["runId"], call.body.session_id, call.context)
    return _changed(call.path["runId"], handled)


def _changed(run_id: str, handled: Handled[Run]) -> Answer:
    return Answer(
        RunChanged(
            run_id=run_id,
            session_id=handled.state.session_id,
            state=handled.state.public_state,  # type: ignore[arg-type]  # the property's words are those of the Literal
            changed=bool(handled.events),
            position=handled.position,
        )
    )


_TAG = "runs"
_PATH = "/api/runs/{runId}"
ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/runs/start",
        handler=start,
        tag=_TAG,
        summary="Queue a run and wait for its end, or follow it live",
        body=StartBody,
        query=WaitQuery,
        answers={200: Started, 202: StartPending},
        command=True,
        streams=True,
        errors=(409,),
    ),
    Endpoint(
        method="POST",
        path="/api/runs/queue/enqueue",
        handler=enqueue,
        tag="queue",
        summary="Queue a run",
        body=EnqueueBody,
        answers={202: Enqueued},
        command=True,
        errors=(409,),
    ),
    Endpoint(
        method="GET",
        path="/api/runs",
        handler=list_runs,
        tag=_TAG,
        summary="Runs, newest first, now or as they were",
        query=ListRunsQuery,
        answers={200: Page[RunSummary]},
        errors=(503,),
    ),
    Endpoint(
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
        method="GET",
        path=f"{_PATH}/stream",
        handler=stream,
        tag=_TAG,
        summary="A run's events, stored ones first, then live; or a finished run again in its own rhythm",
        query=StreamQuery,
        answers={204: None},
        streams=True,
        errors=(404, 409, 503),
    ),
    Endpoint(
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
    ),
    Endpoint(
        method="POST",
        path=f"{_PATH}/bind",
        handler=bind,
        tag=_TAG,
        summary="Tie an outside run to a session",
        body=BindBody,
        answers={200: RunChanged},
        command=True,
        errors=(409,),
    ),
)
