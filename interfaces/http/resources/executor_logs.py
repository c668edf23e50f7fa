"""The log of a session worker's executor."""

from typing import Any

import msgspec

from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.queries import Limit, Query
from interfaces.http.resources.views import AnswerBody


class LogQuery(Query, frozen=True, kw_only=True):
    limit: Limit = 200


class ExecutorLog(AnswerBody, frozen=True, kw_only=True):
    """`lines`: the oldest first, as the executor has written them: `time`, `level`, `message` and the ids that a line
    is about, such as `traceId` and `runId`. `left_out`: how many more there were before them."""

    lines: tuple[dict[str, Any], ...]
    left_out: int


async def read_log(call: ApiCall[None, LogQuery]) -> JsonAnswer:
    found = await call.deps.executor_logs.last(call.path["sessionId"], call.query.limit)
    lines = tuple(msgspec.json.decode(line, type=dict[str, Any]) for line in found.lines)
    return JsonAnswer(ExecutorLog(lines=lines, left_out=found.lost))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/session-workers/{sessionId}/logs",
        handler=read_log,
        tag="session workers",
        summary="The last lines of its executor's log",
        query=LogQuery,
        answers={200: ExecutorLog},
        errors=(404, 409, 503),
    ),
)
