"""The log of a session worker's executor."""

from typing import Any

import msgspec

from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import Limit, ReadQuery
from interfaces.http.resources.reading import caught_up
from interfaces.http.resources.views import AnswerBody
from projections.session_workers import SESSION_WORKERS


class LogQuery(ReadQuery, frozen=True, kw_only=True):
    limit: Limit = 200


class ExecutorLog(AnswerBody, frozen=True, kw_only=True):
    """`lines`: the oldest first, as the executor has written them: `time`, `level`, `message` and the ids that a line
    is about, such as `traceId` and `runId`. `leftOut`: how many more there were before them."""

    lines: tuple[dict[str, Any], ...]
    left_out: int
    as_of_position: int


async def read_log(call: ApiCall[None, LogQuery]) -> JsonAnswer:
    await caught_up(call, SESSION_WORKERS.name)
    session_id = call.path["sessionId"]
    session = await call.deps.sessions.get(session_id)
    found = await call.deps.executor_logs.last(session_id, call.query.limit)
    lines = tuple(msgspec.json.decode(line, type=dict[str, Any]) for line in found.lines)
    return JsonAnswer(ExecutorLog(lines=lines, left_out=found.lost, as_of_position=session.position))


ENDPOINTS = (
    Endpoint(
        name="getSessionLogs",
        method="GET",
        path="/api/session-workers/{sessionId}/logs",
        handler=read_log,
        tag="session workers",
        summary="The last lines of its executor's log",
        query=LogQuery,
        answers={200: ExecutorLog},
        errors=(404, 503),
        example=Example(query={"limit": 2}),
    ),
)
