"""Liveness, readiness and metrics. The probes need no API key, metrics do."""

import asyncio
import time

import msgspec
from starlette.responses import Response

from application.ports.operations import ReadinessCheck
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.queries import Query
from interfaces.http.resources.views import AnswerBody

CHECK_TIMEOUT_S = 5.0


class Health(AnswerBody, frozen=True, kw_only=True):
    status: str


class DependencyState(AnswerBody, frozen=True, kw_only=True):
    """`latencyMs`: duration of the check. `detail`: empty for callers without a key."""

    name: str
    ok: bool
    detail: str
    latency_ms: float


class Ready(AnswerBody, frozen=True, kw_only=True):
    """200 if every dependency is ok, else 503."""

    ready: bool
    dependencies: tuple[DependencyState, ...]


async def health(_call: ApiCall[None, Query]) -> JsonAnswer:
    return JsonAnswer(Health(status="ok"))


async def ready(call: ApiCall[None, Query]) -> JsonAnswer:
    states = await asyncio.gather(*(_state(check) for check in call.deps.readiness))
    if call.exchange.actor is None:
        # Details can name hosts and databases: only for callers with a key.
        states = [msgspec.structs.replace(state, detail="") for state in states]
    everything = all(state.ok for state in states)
    return JsonAnswer(Ready(ready=everything, dependencies=tuple(states)), status=200 if everything else 503)


async def _state(check: ReadinessCheck) -> DependencyState:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            ok, detail = True, await check.check()
    except TimeoutError:
        ok, detail = False, f"no answer within {CHECK_TIMEOUT_S:g} s"
    except Exception as error:  # noqa: BLE001  # any error means: not ready
        ok, detail = False, f"{type(error).__name__}: {error}"[:500]
    return DependencyState(
        name=check.name, ok=ok, detail=detail, latency_ms=round((time.perf_counter() - started) * 1000, 1)
    )


async def metrics(call: ApiCall[None, Query]) -> Response:
    body, content_type = await call.deps.request_metrics.render(
        call.deps.metrics, call.request.headers.get("accept", "")
    )
    return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})


ENDPOINTS = (
    Endpoint(
        name="getHealth",
        method="GET",
        path="/health",
        handler=health,
        tag="probes",
        summary="The process lives",
        answers={200: Health},
        access="open",
    ),
    Endpoint(
        name="getReadiness",
        method="GET",
        path="/ready",
        handler=ready,
        tag="probes",
        summary="Whether each dependency works",
        answers={200: Ready, 503: Ready},
        access="open",
    ),
    Endpoint(
        name="getMetrics",
        method="GET",
        path="/metrics",
        handler=metrics,
        tag="probes",
        summary="Metrics in Prometheus text format",
        answers={200: None},
    ),
)
