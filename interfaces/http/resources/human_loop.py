"""Questions of agents to people, and the answers."""

from typing import Any, Literal

import msgspec

from domain.errors import InvalidInput
from domain.identifiers import check_id
from interfaces.http.compatibility.views import human_loop_request
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import AsOfQuery, PageLimit, Text, WaitQuery
from interfaces.http.edge.stored_values import check_free_form
from interfaces.http.resources.reading import as_of, caught_up
from interfaces.http.resources.views import AnswerBody
from projections.human_loop import HUMAN_LOOP, PENDING, RequestStatus
from projections.ports import HumanLoopRequests


class RequestsQuery(AsOfQuery, frozen=True, kw_only=True):
    """`atSeq` needs a `runId`: it is a seq of that run's stream. `status`: `pending` means `open`; empty: any."""

    run_id: Text | None = None
    status: Literal["open", "answering", "resolved", "canceled", "expired", "pending", ""] = ""
    limit: PageLimit = 100
    cursor: Text | None = None


class ReplyBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`answer`: any JSON value that the provider understands, usually a string."""

    run_id: str
    question_id: str
    answer: Any


class Replied(AnswerBody, frozen=True, kw_only=True):
    """`status`: `answering` until the agent has the answer, then `resolved`. `duplicate`: another reply came first.
    `answer`: the answer that counts, that of the first reply; null in a duplicate if it has more than 16 KiB."""

    ok: Literal[True] = True
    duplicate: bool
    status: RequestStatus
    answer: Any
    position: int


async def pending(call: ApiCall[None, RequestsQuery]) -> JsonAnswer:
    wanted = _wanted(call.query)
    return await _listed(call, PENDING if wanted is None else PENDING & wanted)


async def requests(call: ApiCall[None, RequestsQuery]) -> JsonAnswer:
    return await _listed(call, _wanted(call.query))


def _wanted(query: RequestsQuery) -> frozenset[str] | None:
    if not query.status:
        return None
    return frozenset({"open" if query.status == "pending" else query.status})


async def _listed(call: ApiCall[None, RequestsQuery], statuses: frozenset[str] | None) -> JsonAnswer:
    query, at = call.query, as_of(call.query)
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
        at=at,
    )
    return JsonAnswer(
        HumanLoopRequests(
            total=listed.total,
            requests=tuple(map(human_loop_request, listed.requests)),
            next_cursor=listed.next_cursor,
            as_of_position=listed.as_of_position,
        )
    )


async def reply(call: ApiCall[ReplyBody, WaitQuery]) -> JsonAnswer:
    body = call.body
    check_id("runId", body.run_id)
    check_free_form("answer", body.answer)
    replied = await call.deps.runs.reply(
        body.run_id, body.question_id, body.answer, call.context, wait_s=call.query.wait_ms / 1000
    )
    return JsonAnswer(
        Replied(
            duplicate=replied.duplicate,
            status=replied.status,  # type: ignore[arg-type]  # a question's status
            answer=replied.answer,
            position=replied.position,
        )
    )


ENDPOINTS = (
    Endpoint(
        name="listPendingQuestions",
        method="GET",
        path="/api/human-loop/pending",
        handler=pending,
        tag="human loop",
        summary="Questions that wait for an answer",
        query=RequestsQuery,
        answers={200: HumanLoopRequests},
        errors=(404, 503),
        example=Example(query={"runId": "r2"}),
    ),
    Endpoint(
        name="listQuestions",
        method="GET",
        path="/api/human-loop/requests",
        handler=requests,
        tag="human loop",
        summary="All questions",
        query=RequestsQuery,
        answers={200: HumanLoopRequests},
        errors=(404, 503),
        example=Example(query={"runId": "r2", "limit": 10}),
    ),
    Endpoint(
        name="answerQuestion",
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
        example=Example(body={"runId": "r2", "questionId": "q1", "answer": "yes"}),
    ),
)
