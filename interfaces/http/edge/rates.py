"""How much one caller may ask for: requests and new streams a second, and streams that are open at once.

A caller is an API key, whoever it speaks for; without keys, everybody together. Callers who bring another token, as
session workers do, are told apart by it, those without any by their address. Beyond a limit the answer is a 429 with
Retry-After; `/health` and `/ready` have no limit.
"""

import hashlib
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from interfaces.http.edge.exchange import Exchange, exchange_of
from interfaces.http_conventions.problems import Problem, problem_response

BURST_S = 4.0
"""A caller that was quiet may send what comes together in so many seconds at once."""
MOST_CALLERS = 10_000
"""Callers that are remembered, the last ones: a stranger could invent any number of tokens."""
WITHOUT_LIMIT = frozenset({"/health", "/ready"})
STREAM_RETRY_AFTER_S = 5


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """Of each caller. `open_streams`: at once."""

    requests_per_s: int = 500
    new_streams_per_s: int = 100
    open_streams: int = 500


class _Bucket:
    """Tokens that come back at a rate, up to `BURST_S` seconds' worth."""

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s, self._tokens, self._at = per_s, per_s * BURST_S, now

    def wait_s(self, now: float) -> float:
        """Takes a token: 0. Without one: the seconds until there is one."""
        self._tokens = min(self._per_s * BURST_S, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_s
        self._tokens -= 1
        return 0.0


class CallerRates:
    """The limits of all callers of this process."""

    def __init__(self, limits: RateLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits or RateLimits(), clock
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._open: Counter[str] = Counter()

    def request(self, caller: str) -> None:
        """Count a request. Raises Problem 429."""
        self._take(caller, "requests", self._limits.requests_per_s)

    def stream(self, caller: str) -> Callable[[], None]:
        """Count a stream until what is returned is called, once. Raises Problem 429."""
        if self._open[caller] >= self._limits.open_streams:
            raise too_many(
                f"{self._limits.open_streams} streams of this caller are open, as many as may be; close some",
                "too_many_streams",
                STREAM_RETRY_AFTER_S,
            )
        self._take(caller, "new streams", self._limits.new_streams_per_s)
        self._open[caller] += 1
        return lambda: self._closed(caller)

    def _closed(self, caller: str) -> None:
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]

    def _take(self, caller: str, what: str, per_s: int) -> None:
        now = self._clock()
        bucket = self._buckets.get((caller, what))
        if bucket is None:
            bucket = self._buckets[caller, what] = _Bucket(per_s, now)
            if len(self._buckets) > 2 * MOST_CALLERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end((caller, what))
        if wait_s := bucket.wait_s(now):
            raise too_many(
                f"more than {per_s} {what} a second come from this caller", "rate_limited", math.ceil(wait_s)
            )


def too_many(detail: str, reason: str, retry_after_s: int) -> Problem:
    """Problem 429: the caller may come again after `retry_after_s` seconds."""
    return Problem(
        429,
        "too-many-requests",
        "Too many requests",
        detail,
        extra={"reason": reason},
        headers={"retry-after": str(retry_after_s)},
    )


class LimitRates:
    """Middleware, inside of Authenticate: counts requests by their caller, and refuses those beyond its limit."""

    def __init__(self, app: ASGIApp, rates: CallerRates) -> None:
        self._app, self._rates = app, rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            exchange = exchange_of(scope)
            caller = _caller(scope, exchange)
            exchange.count_stream = partial(self._rates.stream, caller)
            if scope["path"] not in WITHOUT_LIMIT:
                try:
                    self._rates.request(caller)
                except Problem as problem:
                    await problem_response(problem, exchange.trace_id)(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def _caller(scope: Scope, exchange: Exchange) -> str:
    if exchange.key_name:
        return f"key {exchange.key_name}"
    if exchange.actor is not None:
        return "anybody"
    if exchange.token:
        return f"token {hashlib.sha256(exchange.token.encode()).hexdigest()}"
    address, _ = scope.get("client") or ("", 0)
    return f"address {address}"
