"""Forks: a new session that begins with a run's files and conversation, as they were at one of its events."""

from typing import Literal

import msgspec

from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import WaitQuery
from interfaces.http.views import Pending, View
from projections.session_workers import SessionOrigin, SessionWorkerRow, SessionWorkerView, view


class ForkBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The fork begins after the run's event `atSeq`. Without `sessionId` the new session gets an id of its own."""

    at_seq: int
    session_id: str | None = None


class SessionForkedAnswer(View, frozen=True, kw_only=True):
    """`worker`: the new session, whose first activation, by a call or by its first run, makes its worker. `origin`:
    where it comes from, with what could not be carried over as `warnings`. `created`: false when this very fork was
    known."""

    session_id: str
    created: bool
    origin: SessionOrigin
    worker: SessionWorkerView
    position: int


class ForkPending(Pending, frozen=True, kw_only=True):
    """202: its files are still being copied. It can be used right away: whatever needs them waits for them."""

    session_id: str
    origin: SessionOrigin
    files: Literal["copying"] = "copying"


async def fork(call: Call[ForkBody, WaitQuery]) -> Answer:
    session_id = f"fork-{call.context.command_id}" if call.body.session_id is None else call.body.session_id
    forked = await call.deps.forks.fork(
        call.path["runId"], call.body.at_seq, session_id, call.context, wait_s=call.query.wait_ms / 1000
    )
    worker = view(
        SessionWorkerRow(
            session_id=session_id,
            worker=forked.state,
            created_position=0,
            seq=forked.seq,
            position=forked.position,
        )
    )
    assert worker.origin is not None
    if forked.pending:
        return Answer(ForkPending(session_id=session_id, origin=worker.origin, position=forked.position), status=202)
    answer = SessionForkedAnswer(
        session_id=session_id,
        created=forked.created,
        origin=worker.origin,
        worker=worker,
        position=forked.position,
    )
    return Answer(answer, status=201 if forked.created else 200)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/runs/{runId}/fork",
        handler=fork,
        tag="history",
        summary="A new session with the run's files and conversation as they were at a seq; the run stays as it is",
        body=ForkBody,
        query=WaitQuery,
        answers={200: SessionForkedAnswer, 201: SessionForkedAnswer, 202: ForkPending},
        command=True,
        errors=(404, 409),
    ),
)
