"""Calls of one executor over HTTP: trace headers, circuit breaker, retries, and every failure as an ExecutorError."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from application.circuit_breaker import CircuitBreaker, CircuitOpen, Permit
from application.executor_protocol import WITH_STORE, AnswerT, ExecutorCall, ExecutorProblem
from application.ports.executor import ExecutorError
from application.store_credentials import CREDENTIALS_HEADER
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.journal_stream import StreamCut
from infrastructure.executor_client.observed_calls import ObservedCall, ObservedCalls
from infrastructure.executor_client.trace_headers import trace_headers

_LONGEST_DETAIL = 2000
LONGEST_ANSWER = 32 * 1024 * 1024
"""Bytes of the longest answer that is accepted; a journal is streamed instead and limited by the line."""
StoreHeaders = Callable[[], Awaitable[dict[str, str]]]
"""What the executor needs for the object store now; empty when it has all. Raises nothing."""
_UNSPECIFIC_REASONS = frozenset({"", "internal"})


class AnswerTooLong(Exception):
    """An answer is longer than LONGEST_ANSWER."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Which executor is called, and what for. `executor_id`: its name in traces, the container's name."""

    base_url: str
    token: str = field(repr=False)
    session_id: str
    executor_id: str
    run_id: str = ""


class ExecutorCalls:
    """Methods raise ExecutorError for every failure, with the number of the last attempt."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        target: Target,
        policy: CallPolicy,
        breaker: CircuitBreaker,
        store: StoreHeaders | None = None,
        observed: ObservedCalls | None = None,
    ) -> None:
        self._observed = observed or ObservedCalls()
        self.passes_credentials = store is not None
        self._store = store
        self._client = client
        self._target = target
        self._policy = policy
        self._breaker = breaker

    async def has_credentials_to_pass(self) -> bool:
        """Whether a call made now would bring any that expire."""
        return self._store is not None and CREDENTIALS_HEADER in await self._store()

    async def ask(
        self,
        call: ExecutorCall[AnswerT],
        *,
        body: msgspec.Struct | None = None,
        timeout_s: float | None = None,
        run_id: str = "",
    ) -> AnswerT:
        """Call and decode the JSON answer; unknown fields in it are ignored. `timeout_s`: the policy's by default."""
        content = msgspec.json.encode(body) if body is not None else None
        limits = self._timeout(timeout_s or self._policy.timeout_s)
        path = call.path_of(run_id)
        async with self._answered(call, path, content=content, limits=limits, run_id=run_id) as (response, attempt):
            try:
                return msgspec.json.decode(response.content, type=call.answer)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise self._error(
                    f"{call.operation}: the executor's answer is not understood: {error}",
                    path=path,
                    attempt=attempt,
                    kind="http",
                    status=response.status_code,
                    reason="bad_answer",
                ) from error

    @asynccontextmanager
    async def stream(
        self, call: ExecutorCall[bytes], *, params: Mapping[str, int], run_id: str
    ) -> AsyncIterator[tuple[httpx.Response, int]]:
        """The response with its body unread, and the number of the attempt. Failures of the body are not retried."""
        limits = self._timeout(self._policy.silence_s)
        path = f"{call.path_of(run_id)}?{'&'.join(f'{name}={value}' for name, value in params.items())}"
        async with self._answered(call, path, content=None, limits=limits, run_id=run_id, stream=True) as answered:
            yield answered

    @asynccontextmanager
    async def _answered(
        self,
        call: ExecutorCall[Any],
        path: str,
        *,
        content: bytes | None,
        limits: httpx.Timeout,
        run_id: str,
        stream: bool = False,
    ) -> AsyncIterator[tuple[httpx.Response, int]]:
        response, attempt = await self._repeat(
            call.operation,
            call.method,
            path,
            content=content,
            limits=limits,
            run_id=run_id,
            stream=stream,
            with_store=call in WITH_STORE,
        )
        try:
            yield response, attempt
        finally:
            await response.aclose()

    async def _repeat(self, operation: str, method: str, path: str, **options: Any) -> tuple[httpx.Response, int]:
        failure: ExecutorError | None = None
        for attempt in range(1, self._policy.max_attempts + 1):
            if failure is not None:
                await asyncio.sleep(self._policy.pause_s(attempt - 1, failure.retry_after_s))
            try:
                permit = self._breaker.permit()
            except CircuitOpen as error:
                before = f"; before that: {self._breaker.last_failure}" if self._breaker.last_failure else ""
                refused = self._error(
                    f"{operation}: not called, {error}{before}",
                    path=path,
                    attempt=attempt,
                    kind="network",
                    reason="circuit_open",
                )
                raise (failure or refused) from error
            try:
                with self._observed.attempt(operation, method, self._target.base_url, attempt) as call:
                    response = await self._attempt(
                        operation, method, path, attempt=attempt, permit=permit, call=call, **options
                    )
                    call.status = response.status_code
            except ExecutorError as error:
                if error.is_refusal or (error.status is not None and not self._policy.repeats(error.status)):
                    raise
                failure = error
                self._breaker.last_failure = str(error)
            else:
                return response, attempt
            finally:
                permit.abandoned()
        assert failure is not None
        raise failure

    async def _attempt(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        attempt: int,
        permit: Permit,
        call: ObservedCall,
        content: bytes | None,
        limits: httpx.Timeout,
        run_id: str,
        stream: bool,
        with_store: bool,
    ) -> httpx.Response:
        target = self._target
        headers = trace_headers(
            session_id=target.session_id,
            executor_id=target.executor_id,
            run_id=run_id or target.run_id,
            operation=operation,
            trace_id=call.trace_id,
            span_id=call.span_id,
        )
        headers["accept-encoding"] = "identity"  # a compressed answer could expand past LONGEST_ANSWER
        headers["authorization"] = f"Bearer {target.token}"
        if with_store and self._store is not None:
            headers |= await self._store()
        if content is not None:
            headers["content-type"] = "application/json"
        try:
            request = self._client.build_request(
                method, f"{target.base_url}{path}", headers=headers, content=content, timeout=limits
            )
            # A limit for the whole answer: httpx limits only the time between two reads.
            async with asyncio.timeout((limits.read or 0) + (limits.connect or 0)):
                response = await self._client.send(request, stream=True)
                if response.status_code >= 300 or not stream:
                    response = await _read(response)
        except httpx.PoolTimeout as error:
            # Our own connections are all in use: so the executor has not failed, and its breaker counts nothing.
            raise self._error(f"{operation}: no free connection", path=path, attempt=attempt, kind="timeout") from error
        except AnswerTooLong as error:
            permit.failed()
            raise self._error(
                f"{operation}: {error}", path=path, attempt=attempt, kind="http", status=200, reason="bad_answer"
            ) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            permit.failed()
            raise self._error(
                f"{operation}: no answer in time ({type(error).__name__})", path=path, attempt=attempt, kind="timeout"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            permit.failed()
            raise self._error(
                f"{operation}: {type(error).__name__}: {error}", path=path, attempt=attempt, kind="network"
            ) from error
        refused = self._refused(operation, path, attempt, response) if response.status_code >= 300 else None
        if refused is not None and response.status_code >= 500 and refused.reason in _UNSPECIFIC_REASONS:
            permit.failed()
        else:
            # An executor that names what failed (its object store, a full disk) works itself.
            permit.succeeded()
        if refused is not None:
            raise refused
        return response

    def _refused(self, operation: str, path: str, attempt: int, response: httpx.Response) -> ExecutorError:
        try:
            problem = msgspec.json.decode(response.content, type=ExecutorProblem)
        except (msgspec.MsgspecError, RecursionError):
            problem = ExecutorProblem(detail=response.content[:_LONGEST_DETAIL].decode(errors="replace"))
        said = (problem.error or problem.detail)[:_LONGEST_DETAIL]
        return self._error(
            f"{operation}: the executor answered {response.status_code}: {said}",
            path=path,
            attempt=attempt,
            kind="http",
            status=response.status_code,
            reason=problem.reason,
            retry_after_s=_retry_after_s(response),
        )

    def _error(self, message: str, *, path: str, attempt: int, **details: Any) -> ExecutorError:
        return ExecutorError(
            f"{message} [{path}, attempt {attempt} of {self._policy.max_attempts}]",
            path=path,
            attempt=attempt,
            max_attempts=self._policy.max_attempts,
            **details,
        )

    def cut(self, call: ExecutorCall[bytes], run_id: str, attempt: int, error: StreamCut) -> ExecutorError:
        """The ExecutorError for a journal stream that was cut."""
        return self._error(
            f"{call.operation}: {error}",
            path=call.path_of(run_id),
            attempt=attempt,
            kind="timeout" if error.timed_out else "network",
            reason="stream_garbled" if error.garbled else "stream_cut",
        )

    def _timeout(self, read_s: float) -> httpx.Timeout:
        return httpx.Timeout(read_s, connect=min(read_s, self._policy.connect_timeout_s))


def _retry_after_s(response: httpx.Response) -> float:
    """The seconds that the header Retry-After names; 0 without one, and for a date, which no executor sends."""
    said = response.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < 7 else 0.0


async def _read(response: httpx.Response) -> httpx.Response:
    """The same response with its body read. Raises AnswerTooLong, httpx.HTTPError."""
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > LONGEST_ANSWER:
                raise AnswerTooLong(f"the executor's answer is longer than {LONGEST_ANSWER >> 20} MiB")
    finally:
        await response.aclose()
    kept = {name: value for name, value in response.headers.items() if name == "retry-after"}
    return httpx.Response(response.status_code, headers=kept, content=bytes(body), request=response.request)
