"""Housekeeping on request: stop idle workers, remove stopped ones; and the reconcilers."""

from collections.abc import Coroutine
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from application.operations import ReconcileCounts
from application.session_commands import CleanupCounts
from interfaces.http.background import wait_at_most
from interfaces.http.endpoint import Answer, Call, Endpoint, Nothing
from interfaces.http.queries import Limit, WaitQuery
from interfaces.http.views import Pending, View

TEN_YEARS_MS = 315_360_000_000
DurationMs = Annotated[int, Meta(ge=0, le=TEN_YEARS_MS)]


class CleanupIdleBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The default is the installation's IDLE_TIMEOUT_MS."""

    idle_timeout_ms: DurationMs | None = None
    limit: Limit = 100


class CleanupStoppedBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The default is the installation's REMOVE_AFTER_MS."""

    remove_after_ms: DurationMs | None = None
    limit: Limit = 100


class CleanedUp(View, frozen=True, kw_only=True):
    """`total` = `succeeded` + `skipped` (not idle any more, or busy) + `failed` (its sync failed: it stays)."""

    total: int
    succeeded: int
    skipped: int
    failed: int
    position: int


class Reconciled(View, frozen=True, kw_only=True):
    """`examined` candidates, of which `acted` were acted on and `failed` could not be."""

    examined: int
    acted: int
    failed: int
    position: int


async def cleanup_idle(call: Call[CleanupIdleBody, WaitQuery]) -> Answer:
    wait_s = call.query.wait_ms / 1000
    timeout_ms = call.body.idle_timeout_ms
    if timeout_ms is None:
        timeout_ms = call.deps.idle_timeout_ms
    work = call.deps.sessions.cleanup_idle(
        idle_timeout=timedelta(milliseconds=timeout_ms), limit=call.body.limit, context=call.context, wait_s=wait_s
    )
    return await _cleaned_up(call, work)


async def cleanup_stopped(call: Call[CleanupStoppedBody, WaitQuery]) -> Answer:
    wait_s = call.query.wait_ms / 1000
    after_ms = call.body.remove_after_ms
    if after_ms is None:
        after_ms = call.deps.remove_after_ms
    work = call.deps.sessions.cleanup_stopped(
        remove_after=timedelta(milliseconds=after_ms), limit=call.body.limit, context=call.context, wait_s=wait_s
    )
    return await _cleaned_up(call, work)


async def reconcile_runs(call: Call[Nothing, WaitQuery]) -> Answer:
    wait_s = call.query.wait_ms / 1000
    return await _reconciled(call, call.deps.reconcilers.runs(call.context, wait_s=wait_s))


async def reconcile_sync(call: Call[Nothing, WaitQuery]) -> Answer:
    wait_s = call.query.wait_ms / 1000
    return await _reconciled(call, call.deps.reconcilers.sync(call.context, wait_s=wait_s))


async def reconcile_effects(call: Call[Nothing, WaitQuery]) -> Answer:
    wait_s = call.query.wait_ms / 1000
    return await _reconciled(call, call.deps.reconcilers.effects(call.context, wait_s=wait_s))


async def reconcile_containers(call: Call[Nothing, WaitQuery]) -> Answer:
    wait_s = call.query.wait_ms / 1000
    return await _reconciled(call, call.deps.reconcilers.containers(call.context, wait_s=wait_s))


async def _cleaned_up(call: Call[Any, WaitQuery], work: Coroutine[Any, Any, CleanupCounts]) -> Answer:
    counts = await wait_at_most(work, call.query.wait_ms / 1000)
    position = await call.deps.store.last_position()
    if counts is None:
        return Answer(Pending(position=position), status=202)
    return Answer(
        CleanedUp(
            total=counts.total,
            succeeded=counts.succeeded,
            skipped=counts.skipped,
            failed=counts.failed,
            position=counts.position or position,
        )
    )


async def _reconciled(call: Call[Any, WaitQuery], work: Coroutine[Any, Any, ReconcileCounts]) -> Answer:
    counts = await wait_at_most(work, call.query.wait_ms / 1000)
    position = await call.deps.store.last_position()
    if counts is None:
        return Answer(Pending(position=position), status=202)
    return Answer(
        Reconciled(
            examined=counts.examined, acted=counts.acted, failed=counts.failed, position=counts.position or position
        )
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/session-workers/cleanup/idle",
        handler=cleanup_idle,
        tag="housekeeping",
        summary="Stop the workers that have been idle for too long",
        body=CleanupIdleBody,
        body_optional=True,
        query=WaitQuery,
        answers={200: CleanedUp, 202: Pending},
        command=True,
    ),
    Endpoint(
        method="POST",
        path="/api/session-workers/cleanup/stopped",
        handler=cleanup_stopped,
        tag="housekeeping",
        summary="Remove the workers that have been stopped for too long",
        body=CleanupStoppedBody,
        body_optional=True,
        query=WaitQuery,
        answers={200: CleanedUp, 202: Pending},
        command=True,
    ),
    Endpoint(
        method="POST",
        path="/api/reconcile/runs",
        handler=reconcile_runs,
        tag="housekeeping",
        summary="Reconcile stale runs now",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: Reconciled, 202: Pending},
        command=True,
    ),
    Endpoint(
        method="POST",
        path="/api/reconcile/sync",
        handler=reconcile_sync,
        tag="housekeeping",
        summary="Sync the workers whose last sync is too old",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: Reconciled, 202: Pending},
        command=True,
    ),
    Endpoint(
        method="POST",
        path="/api/reconcile/effects",
        handler=reconcile_effects,
        tag="housekeeping",
        summary="Give the effects of workers that are gone to others now",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: Reconciled, 202: Pending},
        command=True,
    ),
    Endpoint(
        method="POST",
        path="/api/reconcile/containers",
        handler=reconcile_containers,
        tag="housekeeping",
        summary="Remove the containers that no session names and that hold nothing",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: Reconciled, 202: Pending},
        command=True,
    ),
)
