"""Forks: a new session that begins with a run's files and conversation as they were after one of its events."""

from typing import Literal

import msgspec

from interfaces.http.compatibility.views import SessionWorkerView
from interfaces.http.compatibility.views import worker as shown_worker
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import WaitQuery
from interfaces.http.resources.views import AnswerBody, Pending
from projections.session_workers import SessionOrigin, SessionWorkerRow, view


class ForkBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The fork begins after the run's event `atSeq`. Without `sessionId` an id is generated."""

    at_seq: int
    session_id: str | None = None


class SessionForkedAnswer(AnswerBody, frozen=True, kw_only=True):
    """`worker`: the new session; its container is created by its first activation or run. `origin`: what it was forked
    from; its `warnings` name what could not be carried over. `created`: false if the same fork existed already."""

    session_id: str
    created: bool
    origin: SessionOrigin
    worker: SessionWorkerView
    position: int


class ForkPending(Pending, frozen=True, kw_only=True):
    """202: files are still being copied. The session can be used: its first activation waits for them."""

    session_id: str
    origin: SessionOrigin
    files: Literal["copying"] = "copying"


async def fork(call: ApiCall[ForkBody, WaitQuery]) -> JsonAnswer:
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
        return JsonAnswer(
            ForkPending(session_id=session_id, origin=worker.origin, position=forked.position), status=202
        )
    answer = SessionForkedAnswer(
        session_id=session_id,
        created=forked.created,
        origin=worker.origin,
        worker=shown_worker(worker),
        position=forked.position,
    )
    return JsonAnswer(answer, status=201 if forked.created else 200)


ENDPOINTS = (
    Endpoint(
        name="forkRun",
        method="POST",
        path="/api/runs/{runId}/fork",
        handler=fork,
        tag="history",
        summary="A new session with the run's files and conversation as they were at a seq; the run stays as it is",
        body=ForkBody,
        query=WaitQuery,
        answers={200: SessionForkedAnswer, 201: SessionForkedAnswer, 202: ForkPending},
        command=True,
        errors=(404, 409, 422, 502),
        example=Example(path={"runId": "r1"}, body={"atSeq": 6, "sessionId": "s1-fork"}),
    ),
)
