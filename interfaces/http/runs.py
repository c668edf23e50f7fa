"""Runs: start, read, cancel, bind."""

from typing import Literal

import msgspec
from starlette.responses import Response

from domain.errors import InvalidInput
from domain.identifiers import run_stream
from domain.run.state import Blocked
from domain.run.values import Warn
from interfaces.http.endpoint import Answer, Call, Endpoint, Nothing
from interfaces.http.events import stored_event_json
from interfaces.http.history import as_of, run_as_of
from interfaces.http.problems import Problem
from interfaces.http.queries import AsOfQuery, Limit, Query, ReadQuery, Text, WaitQuery
from interfaces.http.reading import found, shown_as
from interfaces.http.run_requests import EnqueueBody, StartBody, run_request
from interfaces.http.run_stream import run_stream_response
from interfaces.http.views import Pending, View
from projections.runs import RunSnapshot, RunSummary

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


class Started(View, frozen=True, kw_only=True):
    """`events`: the run's events as `/api/streams/run:{runId}/events` shows them, the first 10,000; `eventsTruncated`
    when there are more."""

    run_id: str
    accepted: bool
    warnings: tuple[Warn, ...]
    events: tuple[msgspec.Raw, ...]
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


class RunPage(View, frozen=True, kw_only=True):
    items: tuple[RunSummary, ...]
    next_cursor: str | None
    as_of_position: int


class ListRunsQuery(ReadQuery, frozen=True, kw_only=True):
    session_id: Text | None = None
    state: RunState | None = None
    provider: Text | None = None
    app_id: Text | None = None
    user_login_name: Text | None = None
    limit: Limit = 100
    cursor: Text | None = None
