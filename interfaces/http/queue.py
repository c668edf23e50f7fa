"""The run queue: one item, and working it by hand."""

from typing import Annotated

import msgspec
from msgspec import Meta

from application.run_queue import QueueItem
from domain.identifiers import check_id
from interfaces.http.background import wait_at_most
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import YEAR_MS, ReadQuery, WaitQuery
from interfaces.http.reading import found, shown_as, work_caught_up
from interfaces.http.views import Pending, View

GRACE_S = 2.0


class DrainBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`lockMs` and `retryDelayMs` default to the installation's settings, `owner` to a name of the process."""

    owner: str = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    lock_ms: Annotated[int, Meta(ge=1000, le=YEAR_MS)] | None = None
    retry_delay_ms: Annotated[int, Meta(ge=0, le=YEAR_MS)] | None = None


class Drained(View, frozen=True, kw_only=True):
    """What became of the runs that were claimed."""

    claimed: int
    succeeded: int
    retried: int
    failed: int
    canceled: int
    position: int


class QueueItemRead(QueueItem, frozen=True, kw_only=True):
    """An operational row, read as it is now; `asOfPosition` is where the log stood."""

    as_of_position: int


async def drain(call: Call[DrainBody, WaitQuery]) -> Answer:
    body, wait_s = call.body, call.query.wait_ms / 1000
    if body.owner:
        check_id("owner", body.owner)
    counts = await wait_at_most(
        call.deps.queue.drain(
            owner=body.owner,
            limit=body.limit,
            lock_ms=body.lock_ms,
            retry_delay_ms=body.retry_delay_ms,
            wait_s=wait_s,
        ),
        wait_s + GRACE_S,
    )
    position = await call.deps.store.last_position()
    if counts is None:
        return Answer(Pending(position=position), status=202)
    return Answer(
        Drained(
            claimed=counts.claimed,
            succeeded=counts.succeeded,
            retried=counts.retried,
            failed=counts.failed,
            canceled=counts.canceled,
            position=position,
        )
    )


async def get_item(call: Call[None, ReadQuery]) -> Answer:
    run_id = call.path["runId"]
    await work_caught_up(call)
    position = await call.deps.store.last_position()
    item = found(await call.deps.queue.item(run_id), f"no queued run {run_id!r} is known")
    return Answer(shown_as(QueueItemRead, item, position))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/runs/queue/drain",
        handler=drain,
        tag="queue",
        summary="Claim runs and work them to their end; resident workers do this by themselves",
        body=DrainBody,
        body_optional=True,
        query=WaitQuery,
        answers={200: Drained, 202: Pending},
        command=True,
    ),
    Endpoint(
        method="GET",
        path="/api/runs/queue/{runId}",
        handler=get_item,
        tag="queue",
        summary="The queue's item of a run",
        query=ReadQuery,
        answers={200: QueueItemRead},
        errors=(404,),
    ),
)
