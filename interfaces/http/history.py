"""What changed in a run or a session between two points, and the first point at which a condition holds."""

import msgspec

from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import Number, Query, ReadQuery
from interfaces.http.reading import within_log
from projections.condition import Condition
from projections.ports import Bisection, Difference, HistoryKind


class DiffQuery(ReadQuery, frozen=True, kw_only=True):
    """Two seqs of the stream; `to` is its end by default, `from` 0 is before its first event."""

    from_: Number = msgspec.field(name="from", default=0)
    to: Number | None = None


class BisectBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`where`: a condition on the state, such as `state == "failed"`; docs/reference/conditions.md. `monotone`: once it
    holds it holds for good, so that a binary search finds it. `from` and `to` are seqs."""

    where: str
    monotone: bool = False
    from_: int = msgspec.field(name="from", default=1)
    to: int | None = None


async def diff_runs(call: Call[None, DiffQuery]) -> Answer:
    return await _difference(call, "run", call.path["runId"])


async def diff_sessions(call: Call[None, DiffQuery]) -> Answer:
    return await _difference(call, "session", call.path["sessionId"])


async def bisect_run(call: Call[BisectBody, Query]) -> Answer:
    return await _bisect(call, "run", call.path["runId"])


async def bisect_session(call: Call[BisectBody, Query]) -> Answer:
    return await _bisect(call, "session", call.path["sessionId"])


async def _difference(call: Call[None, DiffQuery], kind: HistoryKind, key: str) -> Answer:
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    return Answer(await call.deps.history.difference(kind, key, call.query.from_, call.query.to))


async def _bisect(call: Call[BisectBody, Query], kind: HistoryKind, key: str) -> Answer:
    body = call.body
    found = await call.deps.history.bisect(
        kind, key, Condition(body.where), monotone=body.monotone, from_seq=body.from_, to_seq=body.to
    )
    return Answer(found)


def _endpoints(path: str, what: str, kind: str) -> tuple[Endpoint, Endpoint]:
    diff, bisect = (diff_runs, bisect_run) if kind == "run" else (diff_sessions, bisect_session)
    return (
        Endpoint(
            method="GET",
            path=f"{path}/diff",
            handler=diff,
            tag="history",
            summary=f"What changed in a {what} between two seqs, by which events, and as JSON Patch",
            query=DiffQuery,
            answers={200: Difference},
            errors=(404, 409),
        ),
        Endpoint(
            method="POST",
            path=f"{path}/bisect",
            handler=bisect,
            tag="history",
            summary=f"The first event of a {what} after which a condition on its state holds",
            body=BisectBody,
            answers={200: Bisection},
            errors=(404, 409),
        ),
    )


ENDPOINTS = (
    *_endpoints("/api/runs/{runId}", "run", "run"),
    *_endpoints("/api/session-workers/{sessionId}", "session", "session"),
)
