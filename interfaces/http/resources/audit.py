"""Tamper evidence: verification of the log, signed checkpoints, and an export for offline checks."""

import msgspec
from starlette.responses import Response, StreamingResponse

from application.ports.log_audit import BrokenLog, Checkpoint, CheckpointStatement, Verification
from domain.errors import Conflict
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import Number, Query
from interfaces.http.resources.reading import within_log


class CheckpointRead(Checkpoint, frozen=True, kw_only=True):
    as_of_position: int


class VerifyQuery(Query, frozen=True, kw_only=True):
    """`read_models`: whether the read models are compared with a fresh rebuild, too."""

    read_models: bool = True


class VerifyBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`checkpoint`: one that this installation signed earlier; the log must still match it."""

    checkpoint: Checkpoint | None = None


class ExportQuery(Query, frozen=True, kw_only=True):
    """Positions: events after `after`, up to and including `up_to`; all by default."""

    after: Number = 0
    up_to: Number | None = None


async def verify(call: ApiCall[None, VerifyQuery]) -> JsonAnswer:
    return JsonAnswer(await call.deps.audit.verify(read_models=call.query.read_models))


async def verify_checkpoint(call: ApiCall[VerifyBody, VerifyQuery]) -> JsonAnswer:
    verified = await call.deps.audit.verify(checkpoint=call.body.checkpoint, read_models=call.query.read_models)
    return JsonAnswer(verified)


async def checkpoint(call: ApiCall[None, Query]) -> JsonAnswer:
    try:
        made = await call.deps.audit.checkpoint()
    except BrokenLog as error:
        raise Conflict(str(error), "broken_log") from error
    position = msgspec.json.decode(made.statement, type=CheckpointStatement).position
    return JsonAnswer(CheckpointRead(**msgspec.structs.asdict(made), as_of_position=position))


async def export(call: ApiCall[None, ExportQuery]) -> Response:
    query = call.query
    await within_log(call, "after", query.after)
    lines = call.deps.audit.export(after=query.after, up_to=query.up_to)
    headers = {"content-disposition": 'attachment; filename="fleetlog.jsonl"', "cache-control": "no-store"}
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)


_TAG = "audit"
A_CHECKPOINT = {
    "statement": '{"format":"fleetlog-checkpoint/1","installation":"6f1c","position":96,"events":96,"streams":12,'
    '"root":"9d1f0c2b","recordedAt":"2026-03-04T05:06:07Z","createdAt":"2026-03-04T05:06:08Z"}',
    "signature": "c2lnbmVkIGJ5IHRoaXMgaW5zdGFsbGF0aW9u",
    "publicKey": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
}
"""What `GET /api/audit/checkpoint` answered earlier, in short."""
ENDPOINTS = (
    Endpoint(
        name="verifyLog",
        method="GET",
        path="/api/audit/verify",
        handler=verify,
        costly=True,
        tag=_TAG,
        summary="Verify the log's hash chain, name the first broken event; compare read models with a fresh rebuild",
        query=VerifyQuery,
        answers={200: Verification},
        errors=(503,),
        example=Example(query={"readModels": False}),
    ),
    Endpoint(
        name="verifyCheckpoint",
        method="POST",
        path="/api/audit/verify",
        handler=verify_checkpoint,
        tag=_TAG,
        summary="Verify the log, and that it matches a checkpoint signed earlier",
        body=VerifyBody,
        body_optional=True,
        query=VerifyQuery,
        answers={200: Verification},
        errors=(503,),
        example=Example(query={"readModels": False}, body={"checkpoint": A_CHECKPOINT}),
    ),
    Endpoint(
        name="makeCheckpoint",
        method="GET",
        path="/api/audit/checkpoint",
        handler=checkpoint,
        costly=True,
        tag=_TAG,
        summary="A signed checkpoint of the log as it is now; keep it outside this installation",
        answers={200: CheckpointRead},
        errors=(409, 503),
    ),
    Endpoint(
        name="exportLog",
        method="GET",
        path="/api/audit/export",
        handler=export,
        costly=True,
        tag=_TAG,
        summary="The log as JSON Lines, for script/verify-log",
        query=ExportQuery,
        answers={200: None},
        text_type="application/x-ndjson",
        example=Example(query={"after": 0, "upTo": 1}),
    ),
)
