"""Finds the executor of a session worker: one HTTP client for all executors, one circuit breaker for each."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import httpx

from application.circuit_breaker import CircuitBreaker, CircuitState
from domain.identifiers import container_name, worker_token
from domain.workspace.storage import StorageScope
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.calls import ExecutorCalls, Target
from infrastructure.executor_client.http_executor import HttpExecutor
from infrastructure.executor_client.observed_calls import ObservedCalls

StoreHeaders = Callable[[str, int, StorageScope | None], Awaitable[dict[str, str]]]
"""What a call to the executor of a session, a generation and a scope carries for the object store. Raises nothing."""
_REMEMBERED_BREAKERS = 2000


@dataclass(frozen=True, kw_only=True)
class SharedExecutor:
    """One executor for all sessions, run outside of Fleetlog (EXECUTOR_BASE_URL, EXECUTOR_AUTH_TOKEN)."""

    base_url: str
    token: str = field(repr=False)


class HttpExecutorDirectory:
    """Implements ExecutorDirectory. Close it when done.

    The bearer token of an executor is derived from `secret`, the session and the generation. With `shared`, all
    sessions use that one executor, whatever address their worker has; its credentials for the object store are its own.
    The others get the headers of `store` with each call that may use the store.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        policy: CallPolicy | None = None,
        shared: SharedExecutor | None = None,
        max_connections: int = 1000,
        clock: Callable[[], float] = time.monotonic,
        store: StoreHeaders | None = None,
        observed: ObservedCalls | None = None,
    ) -> None:
        self._observed = observed
        self._secret = secret
        self._store = None if shared else store
        self._clock = clock
        self._policy = policy or CallPolicy()
        self._shared = shared
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()
        self._client = httpx.AsyncClient(
            # Executors of earlier releases close idle connections after 5 seconds, uvicorn's default; those of this
            # one after KEEP_ALIVE_S (interfaces/http_conventions/server.py).
            limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=200, keepalive_expiry=4.0),
            trust_env=False,
            follow_redirects=False,
        )

    def executor(
        self, *, session_id: str, generation: int, url: str, run_id: str = "", storage: StorageScope | None = None
    ) -> HttpExecutor:
        name = container_name(session_id, generation)
        if self._shared:
            base_url, token = self._shared.base_url, self._shared.token
        else:
            base_url, token = url, worker_token(self._secret, session_id, generation, "executor")
        target = Target(
            base_url=base_url.rstrip("/"), token=token, session_id=session_id, executor_id=name, run_id=run_id
        )
        breaker = self._breaker("shared" if self._shared else f"{name} {target.base_url}")
        store = partial(self._store, session_id, generation, storage) if self._store is not None else None
        calls = ExecutorCalls(self._client, target, self._policy, breaker, store, self._observed)
        return HttpExecutor(calls, self._policy)

    def circuit_states(self) -> Mapping[str, CircuitState]:
        """The state of each executor's breaker, by its key, for metrics; the most recently called executors only."""
        return {key: breaker.state for key, breaker in self._breakers.items()}

    async def close(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _breaker(self, key: str) -> CircuitBreaker:
        breaker = self._breakers.get(key)
        if breaker is None:
            policy = self._policy
            breaker = CircuitBreaker(threshold=policy.failures_to_open, pause_s=policy.open_pause_s, clock=self._clock)
            self._breakers[key] = breaker
            if len(self._breakers) > _REMEMBERED_BREAKERS:
                self._breakers.popitem(last=False)
        self._breakers.move_to_end(key)
        return breaker
