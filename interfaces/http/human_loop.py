"""Questions that agents ask people, and the answers."""

from typing import Any, Literal

import msgspec

from domain.errors import InvalidInput
from domain.identifiers import check_id
from interfaces.http.bodies import check_free_form
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import AsOfQuery, PageLimit, Text, WaitQuery
from interfaces.http.reading import caught_up, moment_of
from interfaces.http.views import View
from projections.human_loop import HUMAN_LOOP, PENDING, RequestStatus
from projections.ports import HumanLoopRequests


class RequestsQuery(AsOfQuery, frozen=True, kw_only=True):
    """The state as it was at a seq can be read for one run alone."""

    run_id: Text | None = None
    status: RequestStatus | None = None
    limit: PageLimit = 100
    cursor: Text | None = None


class ReplyBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`answer` is any JSON value that the provider understands; mostly a text."""

    run_id: str
    question_id: str
    answer: Any


class Replied(View, frozen=True, kw_only=True):
    """`status`: `answering` while the answer is on its way into the agent, then `resolved`. `answer`: the one that
    counts. `duplicate`: another reply came first, and its answer is the one."""

    ok: Literal[True] = True
    duplicate: bool
    status: RequestStatus
    answer: Any
    position: int


async def pending(call: Call[None, RequestsQuery]) -> Answer:
    return await _listed(call, PENDING & {call.query.status} if call.query.status else PENDING)


async def requests(call: Call[None, RequestsQuery]) -> Answer:
    return await _listed(call, frozenset({call.query.status}) if call.query.status else None)


async def _listed(call: Call[None, RequestsQuery], statuses: frozenset[str] | None) -> Answer:
    query, moment = call.query, moment_of(call.query)
    run_id = query.run_id or None
    if run_id is not None:
        check_id("runId", run_id)
    await caught_up(call, HUMAN_LOOP.name)
    if run_id is None and query.at_seq is not None:
        raise InvalidInput("runId", "is required to read the state as it was at a seq: each run counts its own")
    listed = await call.deps.reads.human_loop_requests(
        run_id=run_id,
        statuses=None if statuses is None else sorted(statuses),
        limit=query.limit,
        cursor=query.cursor,
        at=moment,
    )
    return Answer(listed)


async def reply(call: Call[ReplyBody, WaitQuery]) -> Answer:
    body = call.body
    check_id("runId", body.run_id)
    check_free_form("answer", body.answer)
    replied = await call.deps.runs.reply(
        body.run_id, body.question_id, body.answer, call.context, wait_s=call.query.wait_ms / 1000
    )
    return Answer(
        Replied(
            duplicate=replied.duplicate,
            status=replied.status,  # type: ignore[arg-type]  # a question's status
            answer=replied.answer,
            position=replied.position,
        )
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/human-loop/pending",
        handler=pending,
        tag="human loop",
        summary="Questions that wait for an answer",
        query=RequestsQuery,
        answers={200: HumanLoopRequests},
        errors=(404, 503),
    ),
    Endpoint(
        method="GET",
        path="/api/human-loop/requests",
        handler=requests,
        tag="human loop",
        summary="All questions",
        query=RequestsQuery,
        answers={200: HumanLoopRequests},
        errors=(404, 503),
    ),
    Endpoint(
        method="POST",
        path="/api/human-loop/reply",
        handler=reply,
        tag="human loop",
        summary="Answer a question; the first answer counts",
        body=ReplyBody,
        query=WaitQuery,
        answers={200: Replied},
        command=True,
        errors=(404, 409),
    ),
)
