"""Liveness, readiness and metrics. The two probes are open, because whoever probes has no key; metrics want one."""

import asyncio
import time

import msgspec
from starlette.responses import Response

from application.operations import ReadinessCheck
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import Query
from interfaces.http.views import View

CHECK_TIMEOUT_S = 5.0


class Health(View, frozen=True, kw_only=True):
    status: str


class DependencyState(View, frozen=True, kw_only=True):
    """`latencyMs` is how long the check took; `detail` is empty for callers without a key."""

    name: str
    ok: bool
    detail: str
    latency_ms: float


class Ready(View, frozen=True, kw_only=True):
    """503 when not every dependency is ok."""

    ready: bool
    dependencies: tuple[DependencyState, ...]


async def health(_call: Call[None, Query]) -> Answer:
    return Answer(Health(status="ok"))


async def ready(call: Call[None, Query]) -> Answer:
    states = await asyncio.gather(*(_state(check) for check in call.deps.readiness))
    if call.exchange.actor is None:
        # Where and what the dependencies are is nobody's business who has no key.
        states = [msgspec.structs.replace(state, detail="") for state in states]
    everything = all(state.ok for state in states)
    return Answer(Ready(ready=everything, dependencies=tuple(states)), status=200 if everything else 503)


async def _state(check: ReadinessCheck) -> DependencyState:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            ok, detail = True, await check.check()
    except TimeoutError:
        ok, detail = False, f"no answer within {CHECK_TIMEOUT_S:g} s"
    except Exception as error:  # noqa: BLE001  # whatever a check raises is the news
        ok, detail = False, f"{type(error).__name__}: {error}"[:500]
    return DependencyState(
        name=check.name, ok=ok, detail=detail, latency_ms=round((time.perf_counter() - started) * 1000, 1)
    )


async def metrics(call: Call[None, Query]) -> Response:
    body, content_type = await call.deps.request_metrics.render(call.deps.metrics)
    return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/health",
        handler=health,
        tag="probes",
        summary="The process lives",
        answers={200: Health},
        access="open",
    ),
    Endpoint(
        method="GET",
        path="/ready",
        handler=ready,
        tag="probes",
        summary="Each dependency works",
        answers={200: Ready, 503: Ready},
        access="open",
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        handler=metrics,
        tag="probes",
        summary="Metrics in Prometheus text format",
        answers={200: None},
    ),
)
