"""Calls of an executor over real connections: what is repeated, what is not, what an error tells."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from application.diagnostic_context import diagnostic_context
from application.executor_protocol import ReplyRequest, ValidateRequest
from application.ports.executor import ExecutorError
from domain.identifiers import worker_token
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory, SharedExecutor
from infrastructure.executor_client.http_executor import HttpExecutor
from tests.support.async_run import run
from tests.support.memory import resident_bytes
from tests.support.scripted_executor import Reply, ScriptedExecutor, scripted_executor

SECRET = b"installation-secret"
HEALTH = {"protocolVersion": 1, "bootId": "b1", "sessionId": "s", "generation": 3, "news": {"unknown": True}}
STATE = {"runId": "r1", "attempt": 1, "bootId": "b1", "entries": 4, "finished": False}
QUICK = CallPolicy(timeout_s=0.3, max_retries=3, retry_delay_s=0.01, failures_to_open=100)


def executor_of(directory: HttpExecutorDirectory, url: str, run_id: str = "") -> HttpExecutor:
    return directory.executor(session_id="s", generation=3, url=url, run_id=run_id)


def with_executor(
    test: Callable[[ScriptedExecutor, HttpExecutor], Awaitable[Any]], policy: CallPolicy = QUICK
) -> ScriptedExecutor:
    async def scene() -> ScriptedExecutor:
        async with scripted_executor() as scripted, HttpExecutorDirectory(SECRET, policy=policy) as directory:
            await test(scripted, executor_of(directory, scripted.url))
            return scripted

    return run(scene())


@asynccontextmanager
async def failing(kind: str) -> AsyncIterator[pytest.ExceptionInfo[ExecutorError]]:
    with pytest.raises(ExecutorError) as raised:
        yield raised
    assert raised.value.kind == kind


def test_unknown_fields_of_an_answer_are_ignored() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(body=HEALTH)
        assert (await executor.health()).boot_id == "b1"

    with_executor(test)


@pytest.mark.parametrize("status", [200, 409])
def test_an_answer_that_is_nested_too_deeply_is_an_error_like_others(status: int) -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        body = b'{"news": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        scripted.default = Reply(raw=head + body)
        async with failing("http") as raised:
            await executor.health()
        assert raised.value.status == status

    with_executor(test)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_errors_are_repeated(status: int) -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.replies.extend([Reply(status=status)] * 3)
        scripted.default = Reply(body=HEALTH)
        assert (await executor.health()).generation == 3

    assert len(with_executor(test).requests) == 4


def test_cut_connections_and_silence_are_repeated() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.replies.extend([Reply(cut=True), Reply(hang=True), Reply(chunks=(b"{",), cut=True)])
        scripted.default = Reply(body=HEALTH)
        assert (await executor.health()).generation == 3

    assert len(with_executor(test).requests) == 4


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409, 422, 501])
def test_a_refusal_is_final_at_once(status: int) -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=status, body={"error": "no such thing", "reason": "why_not"})
        async with failing("http") as raised:
            await executor.health()
        error = raised.value
        assert (error.status, error.reason, error.attempt, error.max_attempts) == (status, "why_not", 1, 4)
        assert error.path == "/health"
        assert "no such thing" in str(error)

    assert len(with_executor(test).requests) == 1


@pytest.mark.parametrize(
    "document",
    [
        {"type": "urn:fleetlog:problem:conflict", "title": "Conflict with the present state"},
        {"type": "urn:fleetlog:problem:fenced", "title": "Conflict"},
    ],
    ids=["of this release", "of an executor that an earlier release started"],
)
def test_a_refusal_is_understood_whatever_release_the_executor_is_of(document: dict[str, str]) -> None:
    detail = "this executor serves generation 4"
    problem = {**document, "status": 409, "detail": detail, "error": detail, "reason": "fenced", "traceId": "t1"}

    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=409, body=problem)
        async with failing("http") as raised:
            await executor.health()
        assert (raised.value.status, raised.value.reason) == (409, "fenced")
        assert detail in str(raised.value)

    with_executor(test)


def test_a_4xx_is_final_even_when_the_configuration_names_it() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=404)
        async with failing("http"):
            await executor.health()

    assert len(with_executor(test, replace(QUICK, retry_statuses=frozenset({404, 503}))).requests) == 1


def test_a_502_that_no_retry_can_change_is_final_at_once() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=502, body={"error": "no such bucket", "reason": "bucket_missing"})
        async with failing("http") as raised:
            await executor.health()
        assert raised.value.is_refusal

    assert len(with_executor(test).requests) == 1


def test_which_statuses_are_repeated_can_be_configured() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=500)
        async with failing("http") as raised:
            await executor.health()
        assert raised.value.attempt == 1

    assert len(with_executor(test, replace(QUICK, retry_statuses=frozenset({503}))).requests) == 1


def test_after_the_last_attempt_the_last_error_is_raised() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.replies.extend([Reply(cut=True), Reply(status=503), Reply(cut=True)])
        scripted.default = Reply(status=502, body={"error": "behind", "reason": "storage"})
        async with failing("http") as raised:
            await executor.validate(ValidateRequest(session_id="s", container_id="c", generation=3))
        assert (raised.value.status, raised.value.attempt, raised.value.reason) == (502, 4, "storage")

    assert [request.path for request in with_executor(test).requests] == ["/workspace/validate"] * 4


def test_timeouts_and_lost_connections_have_their_kind() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(hang=True)
        async with failing("timeout") as raised:
            await executor.health()
        assert (raised.value.status, raised.value.attempt) == (None, 2)
        scripted.default = Reply(cut=True)
        async with failing("network"):
            await executor.health()

    with_executor(test, replace(QUICK, max_retries=1, timeout_s=0.1))


def test_pauses_grow_linearly(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        ours = asyncio.get_running_loop()

        async def note(seconds: float) -> None:
            if asyncio.get_running_loop() is ours:
                pauses.append(seconds)
            else:  # that of another test's server, in a thread of its own
                await sleep(seconds)

        scripted.default = Reply(status=503)
        monkeypatch.setattr("infrastructure.executor_client.calls.asyncio.sleep", note)
        async with failing("http"):
            await executor.health()
        monkeypatch.undo()

    with_executor(test, replace(QUICK, retry_delay_s=0.5))
    assert pauses == [0.5, 1.0, 1.5]


def test_an_answer_of_another_shape_is_an_error_with_a_reason() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(body={"bootId": 7})
        async with failing("http") as raised:
            await executor.health()
        assert (raised.value.status, raised.value.reason) == (200, "bad_answer")

    assert len(with_executor(test).requests) == 1


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_an_end_costs_bounded_memory(status: int) -> None:
    before = resident_bytes()

    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=status, endless=b" " * 1024 * 1024)
        async with failing("http") as raised:
            await executor.health()
        assert raised.value.reason == "bad_answer"
        assert "longer than 32 MiB" in str(raised.value)

    scripted = with_executor(test, replace(QUICK, timeout_s=30))

    assert len(scripted.requests) == 1
    assert resident_bytes() - before < 200 * 1024 * 1024


def test_an_answer_that_trickles_for_ever_is_a_timeout() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(endless=b" ", pause_s=0.02)
        async with failing("timeout"):
            await executor.health()

    with_executor(test, replace(QUICK, max_retries=0))


@pytest.mark.parametrize("garbage", [b"\0\xff" * 5000, b"HTTP/1.1 200 X\r\n" + b"x" * 300_000, b"SSH-2.0-x\r\n"])
def test_an_answer_that_is_no_http_is_a_network_error(garbage: bytes) -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(raw=garbage)
        async with failing("network"):
            await executor.health()

    with_executor(test, replace(QUICK, max_retries=0))


def test_an_unknown_protocol_is_refused() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(body={**HEALTH, "protocolVersion": 99})
        async with failing("http") as raised:
            await executor.health()
        assert raised.value.reason == "unsupported_protocol"

    with_executor(test)


def test_an_unknown_run_is_none() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=404, body={"reason": "unknown_run"})
        assert await executor.run_state("r1") is None
        assert await executor.stop_run("r1") is None
        async with failing("http"):
            await executor.reply("r1", ReplyRequest(question_id="q", answer="yes"))
        scripted.default = Reply(body=STATE)
        state = await executor.run_state("r1")
        assert state
        assert state.entries == 4

    with_executor(test)


def test_ids_are_quoted_in_paths() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(body=STATE)
        await executor.run_state("a/../b?c")

    assert with_executor(test).requests[0].path == "/provider-runs/a%2F..%2Fb%3Fc"


def test_each_call_carries_its_token_and_its_trace() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(body=STATE)
        with diagnostic_context(trace_id="0af7651916cd43dd8448eb211c80319c", effect_id="workspace.sync/session:s/7"):
            await executor.run_state("r1")

    headers = with_executor(test).requests[0].headers
    assert headers["authorization"] == f"Bearer {worker_token(SECRET, 's', 3, 'executor')}"
    assert headers["x-trace-id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (headers["x-trace-session-id"], headers["x-trace-run-id"]) == ("s", "r1")
    assert headers["x-trace-executor-id"].endswith("-g3")
    assert headers["x-trace-operation"] == "run.state"
    assert headers["x-trace-effect-id"] == "workspace.sync/session:s/7"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", headers["x-trace-ts"])
    assert re.fullmatch(r"00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01", headers["traceparent"])


def test_any_text_serves_as_a_trace_id() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(body=HEALTH)
        with diagnostic_context(trace_id="request 7\r\nx-evil: 1é"):
            await executor.health()

    headers = with_executor(test).requests[0].headers
    assert headers["x-trace-id"] == "request_7__x-evil:_1_"
    assert "x-evil" not in headers
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"])


def test_a_shared_executor_gets_its_own_token_at_its_own_address() -> None:
    async def scene() -> ScriptedExecutor:
        async with scripted_executor() as scripted:
            scripted.default = Reply(body=HEALTH)
            shared = SharedExecutor(base_url=f"{scripted.url}/", token="shared-token")
            async with HttpExecutorDirectory(SECRET, policy=QUICK, shared=shared) as directory:
                await executor_of(directory, "http://127.0.0.1:1").health()
            return scripted

    request = run(scene()).requests[0]
    assert (request.path, request.headers["authorization"]) == ("/health", "Bearer shared-token")


def test_an_executor_that_says_what_it_lacks_is_not_left_alone() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=503, body={"error": "no store", "reason": "object_store_unavailable"})
        async with failing("http"):
            await executor.validate(ValidateRequest(session_id="s", container_id="c", generation=3))
        scripted.default = Reply(body=HEALTH)
        assert (await executor.health()).boot_id == "b1"

    with_executor(test, replace(QUICK, failures_to_open=2))


def test_an_executor_that_fails_on_and_on_is_left_alone_for_a_while() -> None:
    async def scene() -> None:
        policy = replace(QUICK, max_retries=1, failures_to_open=3, open_pause_s=10)
        now = [100.0]
        directory = HttpExecutorDirectory(SECRET, policy=policy, clock=lambda: now[0])
        async with scripted_executor() as scripted, directory:
            executor = executor_of(directory, scripted.url)
            scripted.default = Reply(status=503)
            async with failing("http"):
                await executor.health()
            async with failing("http"):
                await executor.health()
            assert len(scripted.requests) == 3
            assert list(directory.circuit_states().values()) == ["open"]
            async with failing("network") as raised:
                await executor_of(directory, scripted.url).health()
            assert raised.value.reason == "circuit_open"
            assert len(scripted.requests) == 3
            scripted.default = Reply(body=HEALTH)
            now[0] += 10
            assert list(directory.circuit_states().values()) == ["half_open"]
            await executor.health()
            assert list(directory.circuit_states().values()) == ["closed"]

    run(scene())


def test_refusals_do_not_open_the_circuit_nor_that_of_others() -> None:
    async def scene() -> None:
        policy = replace(QUICK, max_retries=0, failures_to_open=2)
        async with (
            scripted_executor() as refusing,
            scripted_executor() as cutting,
            HttpExecutorDirectory(SECRET, policy=policy) as directory,
        ):
            refusing.default, cutting.default = Reply(status=409), Reply(cut=True)
            for _ in range(4):
                async with failing("http"):
                    await executor_of(directory, refusing.url).health()
                async with failing("network"):
                    await executor_of(directory, cutting.url).health()
            assert sorted(directory.circuit_states().values()) == ["closed", "open"]
            assert len(cutting.requests) == 2

    run(scene())


def test_a_cancelled_call_gives_its_connection_back() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(hang=True)
        call = asyncio.create_task(executor.health())
        await scripted.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(scripted.closed_by_peer.wait(), 5)

    with_executor(test, replace(QUICK, timeout_s=30))
