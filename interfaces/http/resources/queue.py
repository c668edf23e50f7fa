"""The run queue: one item, and executing queued runs on request."""

from datetime import timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from application.ports.run_queue import QueueItem
from domain.identifiers import check_id
from interfaces.http.edge.background import wait_at_most
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import YEAR_MS, ReadQuery, WaitQuery
from interfaces.http.resources.reading import found, shown_as, work_caught_up
from interfaces.http.resources.views import AnswerBody, Pending

GRACE_S = 2.0


class DrainBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`lockMs` (the lease) and `retryDelayMs` default to the settings, `owner` to a name of this process."""

    owner: str = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    lock_ms: Annotated[int, Meta(ge=1000, le=YEAR_MS)] | None = None
    retry_delay_ms: Annotated[int, Meta(ge=0, le=YEAR_MS)] | None = None


class Drained(AnswerBody, frozen=True, kw_only=True):
    """Number of claimed runs, by outcome."""

    claimed: int
    succeeded: int
    retried: int
    failed: int
    canceled: int
    position: int


class QueueItemRead(QueueItem, frozen=True, kw_only=True):
    """The queue's row as it is now; `asOfPosition` is the end of the log at that time."""

    as_of_position: int


async def drain(call: ApiCall[DrainBody, WaitQuery]) -> JsonAnswer:
    body, wait_s = call.body, call.query.wait_ms / 1000
    if body.owner:
        check_id("owner", body.owner)
    counts = await wait_at_most(
        call.deps.queue_drain.drain(
            owner=body.owner,
            limit=body.limit,
            lease=_milliseconds(body.lock_ms),
            retry_delay=_milliseconds(body.retry_delay_ms),
            wait_s=wait_s,
        ),
        wait_s + GRACE_S,
    )
    position = await call.deps.store.last_position()
    if counts is None:
        return JsonAnswer(Pending(position=position), status=202)
    return JsonAnswer(
        Drained(
            claimed=counts.claimed,
            succeeded=counts.succeeded,
            retried=counts.retried,
            failed=counts.failed,
            canceled=counts.canceled,
            position=position,
        )
    )


def _milliseconds(number: int | None) -> timedelta | None:
    return None if number is None else timedelta(milliseconds=number)


async def get_item(call: ApiCall[None, ReadQuery]) -> JsonAnswer:
    run_id = call.path["runId"]
    await work_caught_up(call)
    position = await call.deps.store.last_position()
    item = found(await call.deps.queue.item(run_id), f"no queued run {run_id!r} is known")
    return JsonAnswer(shown_as(QueueItemRead, item, position))


ENDPOINTS = (
    Endpoint(
        name="drainQueue",
        method="POST",
        path="/api/runs/queue/drain",
        handler=drain,
        tag="queue",
        summary="Claim queued runs and execute them to their end, as the run workers do by themselves",
        body=DrainBody,
        body_optional=True,
        query=WaitQuery,
        answers={200: Drained, 202: Pending},
        command=True,
        example=Example(body={"limit": 10}),
    ),
    Endpoint(
        name="getQueueItem",
        method="GET",
        path="/api/runs/queue/{runId}",
        handler=get_item,
        tag="queue",
        summary="A run's item in the queue",
        query=ReadQuery,
        answers={200: QueueItemRead},
        errors=(404,),
    ),
)
