"""Housekeeping on request: stop idle session workers, remove stopped ones, run the reconcilers."""

from collections.abc import Coroutine
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from application.ports.operations import ReconcileCounts
from application.sessions.commands import CleanupCounts
from interfaces.http.edge.background import wait_at_most
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer, Nothing
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import Limit, WaitQuery
from interfaces.http.resources.views import AnswerBody, Pending

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


class CleanedUp(AnswerBody, frozen=True, kw_only=True):
    """`total` = `succeeded` + `skipped` (busy, or no longer idle) + `failed` (the sync failed, so the worker stays)."""

    total: int
    succeeded: int
    skipped: int
    failed: int
    position: int


class Reconciled(AnswerBody, frozen=True, kw_only=True):
    """Numbers of candidates: `examined`, `acted` (something was done), `failed`."""

    examined: int
    acted: int
    failed: int
    position: int


async def cleanup_idle(call: ApiCall[CleanupIdleBody, WaitQuery]) -> JsonAnswer:
    wait_s = call.query.wait_ms / 1000
    timeout_ms = call.body.idle_timeout_ms
    if timeout_ms is None:
        timeout_ms = call.deps.idle_timeout_ms
    work = call.deps.sessions.cleanup_idle(
        idle_timeout=timedelta(milliseconds=timeout_ms), limit=call.body.limit, context=call.context, wait_s=wait_s
    )
    return await _cleaned_up(call, work)


async def cleanup_stopped(call: ApiCall[CleanupStoppedBody, WaitQuery]) -> JsonAnswer:
    wait_s = call.query.wait_ms / 1000
    after_ms = call.body.remove_after_ms
    if after_ms is None:
        after_ms = call.deps.remove_after_ms
    work = call.deps.sessions.cleanup_stopped(
        remove_after=timedelta(milliseconds=after_ms), limit=call.body.limit, context=call.context, wait_s=wait_s
    )
    return await _cleaned_up(call, work)


async def reconcile_runs(call: ApiCall[Nothing, WaitQuery]) -> JsonAnswer:
    wait_s = call.query.wait_ms / 1000
    return await _reconciled(call, call.deps.reconcilers.reconcile_runs(call.context, wait_s=wait_s))


async def reconcile_sync(call: ApiCall[Nothing, WaitQuery]) -> JsonAnswer:
    return await _reconciled(call, call.deps.reconcilers.compensate_syncs(call.context))


async def reconcile_effects(call: ApiCall[Nothing, WaitQuery]) -> JsonAnswer:
    return await _reconciled(call, call.deps.reconcilers.free_effects(call.context))


async def reconcile_containers(call: ApiCall[Nothing, WaitQuery]) -> JsonAnswer:
    return await _reconciled(call, call.deps.reconcilers.clean_orphans(call.context))


async def _cleaned_up(call: ApiCall[Any, WaitQuery], work: Coroutine[Any, Any, CleanupCounts]) -> JsonAnswer:
    counts = await wait_at_most(work, call.query.wait_ms / 1000)
    position = await call.deps.store.last_position()
    if counts is None:
        return JsonAnswer(Pending(position=position), status=202)
    return JsonAnswer(
        CleanedUp(
            total=counts.total,
            succeeded=counts.succeeded,
            skipped=counts.skipped,
            failed=counts.failed,
            position=counts.position or position,
        )
    )


async def _reconciled(call: ApiCall[Any, WaitQuery], work: Coroutine[Any, Any, ReconcileCounts]) -> JsonAnswer:
    counts = await wait_at_most(work, call.query.wait_ms / 1000)
    position = await call.deps.store.last_position()
    if counts is None:
        return JsonAnswer(Pending(position=position), status=202)
    return JsonAnswer(
        Reconciled(
            examined=counts.examined, acted=counts.acted, failed=counts.failed, position=counts.position or position
        )
    )


ENDPOINTS = (
    Endpoint(
        name="stopIdleSessions",
        method="POST",
        path="/api/session-workers/cleanup/idle",
        handler=cleanup_idle,
        tag="housekeeping",
        summary="Stop the session workers that have been idle for too long",
        body=CleanupIdleBody,
        body_optional=True,
        query=WaitQuery,
        answers={200: CleanedUp, 202: Pending},
        command=True,
        example=Example(body={"idleTimeoutMs": 900_000, "limit": 10}),
    ),
    Endpoint(
        name="removeStoppedSessions",
        method="POST",
        path="/api/session-workers/cleanup/stopped",
        handler=cleanup_stopped,
        tag="housekeeping",
        summary="Remove the session workers that have been stopped for too long",
        body=CleanupStoppedBody,
        body_optional=True,
        query=WaitQuery,
        answers={200: CleanedUp, 202: Pending},
        command=True,
        example=Example(body={"removeAfterMs": 86_400_000, "limit": 10}),
    ),
    Endpoint(
        name="reconcileRuns",
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
        name="reconcileSyncs",
        method="POST",
        path="/api/reconcile/sync",
        handler=reconcile_sync,
        tag="housekeeping",
        summary="Sync the session workers whose last sync is too old",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: Reconciled, 202: Pending},
        command=True,
    ),
    Endpoint(
        name="reconcileEffects",
        method="POST",
        path="/api/reconcile/effects",
        handler=reconcile_effects,
        tag="housekeeping",
        summary="Release the effects whose lease has expired",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: Reconciled, 202: Pending},
        command=True,
    ),
    Endpoint(
        name="reconcileContainers",
        method="POST",
        path="/api/reconcile/containers",
        handler=reconcile_containers,
        tag="housekeeping",
        summary="Remove orphaned containers that hold no unsynced data",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: Reconciled, 202: Pending},
        command=True,
    ),
)
