"""What changed in a run or session between two seqs, and the first seq at which a condition holds."""

import msgspec

from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import Number, Query, ReadQuery
from interfaces.http.resources.reading import within_log
from projections.condition import Condition
from projections.ports import Bisection, Difference, HistoryKind


class DiffQuery(ReadQuery, frozen=True, kw_only=True):
    """Seqs of the stream. `from` 0 is the state before the first event; `to` defaults to the last one."""

    from_: Number = msgspec.field(name="from", default=0)
    to: Number | None = None


class BisectBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`where`: a condition on the state, such as `state == "failed"`; see docs/reference/conditions.md. `monotone`:
    once true it stays true, so a binary search is used. `from` and `to` are seqs, inclusive."""

    where: str
    monotone: bool = False
    from_: int = msgspec.field(name="from", default=1)
    to: int | None = None


async def diff_runs(call: ApiCall[None, DiffQuery]) -> JsonAnswer:
    return await _difference(call, "run", call.path["runId"])


async def diff_sessions(call: ApiCall[None, DiffQuery]) -> JsonAnswer:
    return await _difference(call, "session", call.path["sessionId"])


async def bisect_run(call: ApiCall[BisectBody, Query]) -> JsonAnswer:
    return await _bisect(call, "run", call.path["runId"])


async def bisect_session(call: ApiCall[BisectBody, Query]) -> JsonAnswer:
    return await _bisect(call, "session", call.path["sessionId"])


async def _difference(call: ApiCall[None, DiffQuery], kind: HistoryKind, key: str) -> JsonAnswer:
    if call.query.min_position is not None:
        await within_log(call, "minPosition", call.query.min_position)
    return JsonAnswer(await call.deps.history.difference(kind, key, call.query.from_, call.query.to))


async def _bisect(call: ApiCall[BisectBody, Query], kind: HistoryKind, key: str) -> JsonAnswer:
    body = call.body
    found = await call.deps.history.bisect(
        kind, key, Condition(body.where), monotone=body.monotone, from_seq=body.from_, to_seq=body.to
    )
    return JsonAnswer(found)


def _endpoints(path: str, what: str, kind: str) -> tuple[Endpoint, Endpoint]:
    diff, bisect = (diff_runs, bisect_run) if kind == "run" else (diff_sessions, bisect_session)
    return (
        Endpoint(
            name=f"diff{what.title()}",
            method="GET",
            path=f"{path}/diff",
            handler=diff,
            tag="history",
            summary=f"What changed in a {what} between two seqs, by which events, and as JSON Patch",
            query=DiffQuery,
            answers={200: Difference},
            errors=(404, 409),
            example=Example(query={"from": 3, "to": 4}),
        ),
        Endpoint(
            name=f"bisect{what.title()}",
            method="POST",
            path=f"{path}/bisect",
            handler=bisect,
            tag="history",
            summary=f"The first event of a {what} after which a condition on its state holds",
            body=BisectBody,
            answers={200: Bisection},
            errors=(404, 409),
            example=Example(body={"where": 'state == "running"'}),
        ),
    )


ENDPOINTS = (
    *_endpoints("/api/runs/{runId}", "run", "run"),
    *_endpoints("/api/session-workers/{sessionId}", "session", "session"),
)
